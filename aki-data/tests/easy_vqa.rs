//! The shipped easy-VQA shards and tokenizer, read as a run would read them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aki_data::{
    Amounts, Augmentation, Batcher, IGNORE, Order, Piece, ShardContents, Target, Template,
    Tokenizer, read_shards,
};

fn asset(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../assets/easy-vqa")
        .join(name)
}

fn shard(name: &str) -> ShardContents {
    read_shards(&[asset(name)]).expect("a shipped shard")
}

fn tokenizer() -> Tokenizer {
    Tokenizer::from_file(&asset("tokenizer.json")).expect("the shipped tokenizer")
}

#[test]
fn counts_are_as_published() {
    // Pictures, questions, captions; the captions are ours, see build.py.
    for (name, samples, turns, captions) in [
        ("train.tar", 4000, 38_575, 3542),
        ("test.tar", 1000, 9673, 880),
    ] {
        let contents = shard(name);
        assert_eq!(contents.skipped, []);
        assert_eq!(contents.samples.len(), samples);
        let all = || contents.samples.iter().flat_map(|sample| &sample.turns);
        assert_eq!(all().count(), turns);
        let with_caption = contents.samples.iter().filter(|s| s.caption.is_some());
        assert_eq!(with_caption.count(), captions);
        let answers: BTreeSet<_> = all().map(|turn| &turn.answer).collect();
        assert_eq!(answers.len(), 13);
        let kinds: BTreeSet<_> = all().map(|turn| turn.kind.as_str()).collect();
        assert_eq!(kinds, BTreeSet::from(["color", "shape", "yes/no"]));
    }
}

#[test]
fn every_answer_is_one_token_wherever_it_stands() {
    let tokenizer = tokenizer();
    let encode = |pieces: &[Piece]| tokenizer.encode(pieces).expect("ids");
    let contents = shard("test.tar");
    let turns = contents.samples.iter().flat_map(|sample| &sample.turns);
    let answers: BTreeSet<_> = turns.map(|turn| turn.answer.as_str()).collect();
    let assistant = tokenizer.special().roles.expect("roles").assistant;
    for answer in answers {
        let alone = encode(&[Piece::Text(answer)]);
        assert_eq!(alone.len(), 1, "{answer}");
        let after_tag = encode(&[
            Piece::Special(assistant),
            Piece::Text(&format!("\n{answer}")),
        ]);
        assert_eq!(after_tag[1..], alone, "{answer}");
        let within = encode(&[Piece::Text(&format!("is there a {answer} shape?"))]);
        assert!(within.contains(&alone[0]), "{answer}");
        assert_eq!(tokenizer.decode(&alone).expect("text").trim(), answer);
    }
}

/// Pinned: a change of the tokenizer or the template makes old checkpoints useless.
#[test]
fn one_training_text_has_these_ids() {
    let tokenizer = tokenizer();
    let template = Template {
        system: "Answer the question about the picture.".to_owned(),
        ..Template::default()
    };
    let sequence = template
        .training(&tokenizer, "what color is the circle?", "blue", Some(3))
        .expect("sequence");
    let system = [420, 423, 368, 259, 369, 411, 259, 415, 13, 424];
    let question = [425, 427, 427, 427, 291, 318, 263, 259, 312, 30, 424];
    let answer = [422, 341, 421];
    assert_eq!(
        sequence.input_ids,
        [&system[..], &question, &answer].concat()
    );
    assert_eq!((tokenizer.base_vocab(), tokenizer.vocab()), (427, 429));
}

#[test]
fn a_pass_in_batches_asks_every_question_once() {
    let contents = shard("test.tar");
    let batcher = Batcher {
        tokenizer: Arc::new(tokenizer()),
        template: Template::default(),
        image_size: 32,
        exif_orientation: false,
        mean: [0.5; 3],
        std: [0.5; 3],
        media_len: 16,
        target: Target::Questions { per_picture: None },
        augmentation: None,
        seed: 1,
    };
    let order = Order::new(1, contents.samples.len());
    let items: Vec<_> = (0..contents.samples.len())
        .map(|item| (item, &contents.samples[order.index(item)]))
        .collect();
    let mut rows = 0;
    for items in items.chunks(64) {
        let batch = batcher.batch(items).expect("batch");
        rows += batch.documents.len();
        for (document, labels) in batch
            .documents
            .iter()
            .zip(batch.labels.chunks(batch.seq_len))
        {
            // Every answer is one token, and <|endoftext|> ends it.
            let learned = labels.iter().filter(|&&label| label != IGNORE).count();
            assert_eq!(learned, 2, "{}: {}", document.key, document.answer);
        }
    }
    assert_eq!(rows, 9673);
}

/// Pinned: runs that were begun under an earlier version go on with the same pictures.
#[test]
fn the_varied_pictures_of_seed_three_are_pinned() {
    let contents = shard("test.tar");
    let batcher = Batcher {
        tokenizer: Arc::new(tokenizer()),
        template: Template::default(),
        image_size: 32,
        exif_orientation: false,
        mean: [0.5; 3],
        std: [0.5; 3],
        media_len: 16,
        target: Target::Questions {
            per_picture: Some(4),
        },
        augmentation: Some(Augmentation::Careful(Amounts {
            flip: 0.5,
            shift: 8,
            crop: None,
        })),
        seed: 3,
    };
    let items: Vec<_> = contents.samples.iter().take(64).enumerate().collect();
    let batch = batcher.batch(&items).expect("batch");
    // FNV-1a of the pixels' bits.
    let hash = batch
        .pictures
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, value| {
            (hash ^ u64::from(value.to_bits())).wrapping_mul(0x0100_0000_01b3)
        });
    assert_eq!(hash, 0xf779_e689_e00d_ec39);
}
