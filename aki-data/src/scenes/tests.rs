use std::collections::{BTreeMap, HashSet};

use super::*;
use crate::text::Tokenizer;

const ALL: Scenes = Scenes {
    seed: 1,
    split: Split::Train,
    questions: MOST_QUESTIONS,
};

/// Of texts that are not ours alone: read word by word, and looked up in the cells.
fn answer(scene: &Scene, question: &str) -> Option<String> {
    let words: Vec<&str> = question.trim_end_matches('?').split(' ').collect();
    let colour = |word: &str| Colour::ALL.into_iter().find(|it| it.name() == word);
    let shape = |word: &str| {
        let named = |it: &Shape| it.name() == word || it.plural() == word;
        Shape::ALL.into_iter().find(named)
    };
    let number = |such: &dyn Fn(Object) -> bool| scene.count(such);
    let only = |such: &dyn Fn(Object) -> bool| {
        let mut found = scene.objects().filter(|&(object, ..)| such(object));
        let first = found.next()?;
        found.next().is_none().then_some(first)
    };
    let named = |at: usize| {
        let (colour, shape) = (colour(words[at])?, shape(words[at + 1])?);
        only(&|it| it == Object { colour, shape })
    };
    let truth = |it: bool| Some(if it { "yes" } else { "no" }.to_owned());
    match words[..] {
        ["how", "many", which, "shapes", ..] => {
            let which = colour(which)?;
            Some(number(&|it| it.colour == which).to_string())
        }
        ["how", "many", which, ..] => {
            let which = shape(which)?;
            Some(number(&|it| it.shape == which).to_string())
        }
        ["is", "there", "a", c, s] => {
            let thing = Object {
                colour: colour(c)?,
                shape: shape(s)?,
            };
            truth(number(&|it| it == thing) > 0)
        }
        ["what", "color", "is", "the", which] => {
            let which = shape(which)?;
            Some(only(&|it| it.shape == which)?.0.colour.name().to_owned())
        }
        ["what", "is", "the", which, "shape"] => {
            let which = colour(which)?;
            Some(only(&|it| it.colour == which)?.0.shape.name().to_owned())
        }
        ["what", "color", "is", "the", "shape", "directly", way, ..] => {
            let (_, row, column) = named(words.len() - 2)?;
            let (row, column) = match way {
                "left" => (row, column.checked_sub(1)?),
                "right" => (row, column + 1),
                "above" => (row.checked_sub(1)?, column),
                _ => (row + 1, column),
            };
            let inside = row < SIDE && column < SIDE;
            let beside = inside.then(|| scene.cells[row * SIDE + column])??;
            Some(beside.colour.name().to_owned())
        }
        ["is", "the", _, _, way, ..] => {
            let (a, b) = (named(2)?, named(words.len() - 2)?);
            let (first, second) = match way {
                "left" => (a.2, b.2),
                "right" => (b.2, a.2),
                "above" => (a.1, b.1),
                _ => (b.1, a.1),
            };
            (first != second).then(|| truth(first < second))?
        }
        _ => None,
    }
}

#[test]
fn every_question_has_the_answer_that_the_scene_gives() {
    let mut kinds = BTreeMap::new();
    for index in 0..500 {
        let (scene, turns, _) = ALL.made(index);
        assert_eq!(turns.len(), MOST_QUESTIONS);
        for turn in turns {
            let expected = answer(&scene, &turn.question);
            assert_eq!(expected.as_ref(), Some(&turn.answer), "{turn:?}\n{scene:?}");
            *kinds.entry(turn.kind).or_insert(0) += 1;
        }
    }
    let expected = ["beside", "color", "count", "existence", "relation", "shape"];
    let expected = expected.map(|kind| (kind.to_owned(), if kind == "count" { 1000 } else { 500 }));
    assert_eq!(kinds, BTreeMap::from(expected));
}

/// Shares of the answers to each question, against what chance gives: with `n` questions and a share of
/// `p` they scatter by `sqrt(p (1 - p) / n)`.
#[test]
fn a_question_says_nothing_of_its_answer() {
    let mut asked: BTreeMap<String, BTreeMap<String, f64>> = BTreeMap::new();
    let mut of_kind: BTreeMap<String, HashSet<String>> = BTreeMap::new();
    for index in 0..20_000 {
        let scenes = Scenes {
            questions: 3,
            ..ALL
        };
        for turn in scenes.made(index).1 {
            // The direction and the things for themselves: 2,208 questions are too many to be counted.
            let questions = match turn.kind.as_str() {
                "relation" => {
                    let words: Vec<&str> = turn.question.split(' ').collect();
                    vec![
                        words[4].to_owned(),
                        words[2..4].concat(),
                        words[words.len() - 2..].concat(),
                    ]
                }
                _ => vec![turn.question],
            };
            for question in questions {
                let question = format!("{}: {question}", turn.kind);
                let answers = asked.entry(question).or_default();
                *answers.entry(turn.answer.clone()).or_default() += 1.0;
            }
            of_kind.entry(turn.kind).or_default().insert(turn.answer);
        }
    }
    // 10 counts, 24 things there, 4 + 24 + 24 of relations, 4 shapes, 6 colours, 4 x 24 things beside.
    assert_eq!(asked.len(), 10 + 24 + 52 + 4 + 6 + 96);
    for (question, answers) in asked {
        let kind = question.split(':').next().expect("a kind");
        let share = 1.0 / of_kind[kind].len() as f64;
        let sum: f64 = answers.values().sum();
        for (answer, count) in answers {
            let away = (count / sum - share).abs();
            let scatter = (share * (1.0 - share) / sum).sqrt();
            // Some 600 numbers: one in 16,000 is 4 away, one in 1,700,000 is 5.
            assert!(
                away < 4.7 * scatter,
                "{question} {answer}: {count} of {sum}"
            );
        }
    }
}

#[test]
fn no_scene_is_trained_on_and_tested() {
    let of = |seed, split| {
        let scenes = Scenes {
            seed,
            split,
            questions: 1,
        };
        (0..3000)
            .map(move |index| scenes.made(index).0)
            .collect::<HashSet<_>>()
    };
    let train = of(1, Split::Train);
    for seed in [1, 2] {
        assert!(train.is_disjoint(&of(seed, Split::Test)));
    }
    // Most are seen once: there are more than can be learned by heart.
    assert!(train.len() > 2900, "{}", train.len());
}

#[test]
fn objects_stand_in_their_cells_in_their_colours() {
    for index in 0..200 {
        let (scene, _, pixels) = ALL.made(index);
        let ground = &pixels[..3];
        let cell = |at: usize| at * SIDE / PIXELS;
        for (at, pixel) in pixels.chunks(3).enumerate() {
            let (y, x) = (at / PIXELS, at % PIXELS);
            let empty = scene.cells[cell(y) * SIDE + cell(x)].is_none();
            assert!(!empty || pixel == ground, "{index}: {x}, {y}");
        }
        for (object, row, column) in scene.objects() {
            let mut seen: BTreeMap<&[u8], usize> = BTreeMap::new();
            for (at, pixel) in pixels.chunks(3).enumerate() {
                let here = cell(at / PIXELS) == row && cell(at % PIXELS) == column;
                if here && pixel != ground {
                    *seen.entry(pixel).or_default() += 1;
                }
            }
            let most = seen.into_iter().max_by_key(|&(_, count)| count);
            let (shade, _) = most.expect("an object");
            let [r, g, b] = [0, 1, 2].map(|channel| i32::from(shade[channel]));
            let seen = match (r > 180, g > 100, b > 180) {
                (true, true, false) => Colour::Yellow,
                (true, false, false) => Colour::Red,
                (false, true, false) if r < 90 => Colour::Green,
                (false, _, true) => Colour::Blue,
                (false, true, false) => Colour::Gray,
                _ => Colour::Black,
            };
            assert_eq!(seen, object.colour, "{index}: {r} {g} {b}");
        }
    }
}

#[test]
fn all_words_are_tokens() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("tokenizer.json");
    std::fs::write(&file, TOKENIZER).expect("a file");
    let tokenizer = Tokenizer::from_file(&file).expect("a tokenizer");
    let mut words = HashSet::new();
    for index in 0..2000 {
        let (scene, turns, _) = ALL.made(index);
        let texts = turns
            .into_iter()
            .flat_map(|turn| [turn.question, turn.answer]);
        for text in texts.chain([scene.caption()]) {
            words.extend(
                text.split(' ')
                    .map(|word| word.trim_end_matches(['?', ',']).to_owned()),
            );
        }
    }
    assert_eq!(words.len(), 38);
    for word in words {
        let ids = tokenizer.encode(&[crate::Piece::Text(&word)]).expect("ids");
        assert_eq!(ids.len(), 1, "{word}");
    }
}

/// Pinned: another machine, or an update of `rand` or `image`, must make the same files.
#[test]
fn the_first_samples_of_seed_one_are_pinned() {
    let sample = ALL.sample(0);
    assert_eq!(sample, ALL.sample(0));
    assert_ne!(sample.picture, ALL.sample(1).picture);
    assert_ne!(sample.picture, Scenes { seed: 2, ..ALL }.sample(0).picture);
    assert_eq!(
        sample.caption.as_deref(),
        Some("a blue triangle, a black circle, a black cross, a red circle and a blue cross")
    );
    let first = &sample.turns[0];
    assert_eq!(
        (first.question.as_str(), first.answer.as_str()),
        ("is there a black circle?", "yes")
    );
    let bytes = (0..100).flat_map(|index| ALL.sample(index).picture);
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    assert_eq!(hash, 0xecd9_f915_280a_ee49);
}

#[test]
fn shards_are_read_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let shards = folder.path().join("train");
    let mut told = Vec::new();
    let written =
        write_scenes(&ALL, 300, &shards, &mut |sample| told.push(sample)).expect("shards");
    assert_eq!(written.shards, 1);
    let read = crate::read_shards(&[shards.join("00000.tar")]).expect("samples");
    assert!(read.skipped.is_empty());
    assert_eq!(read.samples.len(), 300);
    for ((read, told), index) in read.samples.into_iter().zip(told).zip(0..) {
        let shard = told.shard.clone();
        assert_eq!(Sample { shard, ..read }, told);
        assert_eq!(told, ALL.sample(index));
    }
}
