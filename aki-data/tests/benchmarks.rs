//! The benchmarks, read from small files in the forms they are published in. Files and expectations
//! are made by `tests/reference/benchmarks.py`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use aki_data::Picture;
use aki_data::benchmark::{
    Benchmark, Expected, Mark, PromptStyle, Question, Questions, Score, Scorer, cv_bench_csv,
    cv_bench_text,
};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Golden {
    id: String,
    text: String,
    right: Value,
    sizes: Vec<[u32; 2]>,
    kit_text: Option<String>,
    #[serde(default)]
    kit_at: usize,
    kit_sizes: Option<Vec<[u32; 2]>>,
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/benchmarks")
}

fn expected(benchmark: Benchmark) -> Vec<Golden> {
    let text = std::fs::read_to_string(fixtures().join("expected.json")).expect("expectations");
    let mut sets: BTreeMap<String, Vec<Golden>> = serde_json::from_str(&text).expect("JSON");
    let name = match benchmark {
        Benchmark::CvBench => "CV-Bench",
        _ => benchmark.files()[0][0].trim_end_matches(".tsv"),
    };
    sets.remove(name).expect("the set")
}

fn open(benchmark: Benchmark, style: PromptStyle) -> Questions {
    Questions::open(benchmark, &fixtures(), style).expect("questions")
}

fn right(question: &Question) -> Value {
    match &question.expected {
        Expected::Option { letter, .. } => json!(letter),
        Expected::Yes(yes) => json!(yes),
        Expected::Number(number) => json!(number),
        Expected::Text(text) | Expected::Graded(text) => json!(text),
        Expected::Compared { answer, .. } => json!(answer),
    }
}

fn sizes(questions: &Questions, index: usize) -> Vec<[u32; 2]> {
    let pictures = questions.pictures(index).expect("pictures");
    let size = |bytes: &Vec<u8>| Picture::size(bytes, "picture").map(|(w, h)| [w, h]);
    pictures
        .iter()
        .map(|it| size(it).expect("a picture"))
        .collect()
}

#[test]
fn every_set_is_read_with_its_pictures_under_both_prompts() {
    for benchmark in Benchmark::ALL {
        let golden = expected(benchmark);
        for style in [PromptStyle::Aki, PromptStyle::VlmEvalKit] {
            let questions = open(benchmark, style);
            assert_eq!(questions.len(), golden.len(), "{benchmark:?}");
            // Backwards too: CV-Bench's pictures are read from a cursor that only goes on.
            for index in (0..golden.len()).chain((0..golden.len()).rev()) {
                let (question, golden) = (questions.get(index), &golden[index]);
                assert_eq!(question.id, golden.id, "{benchmark:?}");
                assert_eq!(right(question), golden.right, "{benchmark:?} {}", golden.id);
                let kit = style == PromptStyle::VlmEvalKit;
                let text = golden.kit_text.as_ref().filter(|_| kit);
                assert_eq!(&question.text, text.unwrap_or(&golden.text));
                assert_eq!(question.at, if kit { golden.kit_at } else { 0 });
                let shown = golden.kit_sizes.as_ref().filter(|_| kit);
                let shown = shown.unwrap_or(&golden.sizes);
                assert_eq!(
                    &sizes(&questions, index),
                    shown,
                    "{benchmark:?} {}",
                    golden.id
                );
                assert_eq!(question.pictures, shown.len());
            }
        }
    }
}

#[test]
fn cv_bench_in_one_file_is_the_same() {
    let style = PromptStyle::Aki;
    let two = open(Benchmark::CvBench, style);
    let one = Questions::open(Benchmark::CvBench, &fixtures().join("one"), style).expect("one");
    assert!(two.iter().eq(one.iter()));
    for index in 0..two.len() {
        assert_eq!(sizes(&two, index), sizes(&one, index));
    }
}

/// Marks of answers by id, `other` where none is given.
fn marks(questions: &Questions, answers: &[(&str, &str)], other: &str) -> Vec<Mark> {
    let answer = |question: &Question| {
        let given = answers.iter().find(|(id, _)| *id == question.id);
        given.map_or(other, |(_, answer)| answer)
    };
    questions.iter().map(|it| it.mark(answer(it))).collect()
}

fn scores(benchmark: Benchmark, questions: &Questions, marks: &[Mark]) -> Score {
    let rows: Vec<_> = questions.iter().zip(marks).collect();
    Scorer::new(benchmark, &rows).score()
}

fn part(score: &Score, name: &str) -> (Option<f64>, usize) {
    let part = score.parts.iter().find(|it| it.name == name);
    let part = part.unwrap_or_else(|| panic!("no {name} in {score:?}"));
    (part.value, part.of)
}

#[test]
fn mme_adds_up_accuracies_and_pairs() {
    let benchmark = Benchmark::Mme;
    let questions = open(benchmark, PromptStyle::Aki);
    // Yes to all: half right, no pair; so 50 for each category.
    let score = scores(benchmark, &questions, &marks(&questions, &[], "Yes"));
    assert_eq!(
        score.columns,
        [("MMEp", Some(500.0)), ("MMEc", Some(200.0))]
    );
    assert_eq!(score.notes, Vec::<String>::new());
    // Of OCR both right: 200. Of artwork neither can be read: 0. Of code_reasoning (index 20) both.
    let answers = [
        ("1", "no."),
        ("2", "?"),
        ("3", "yes and no"),
        ("21", "No, there is none"),
    ];
    let marks = marks(&questions, &answers, "Yes");
    let score = scores(benchmark, &questions, &marks);
    assert_eq!(
        score.columns,
        [("MMEp", Some(600.0)), ("MMEc", Some(350.0))]
    );
    assert_eq!(part(&score, "OCR"), (Some(200.0), 2));
    assert_eq!(part(&score, "artwork"), (Some(0.0), 2));
    assert_eq!(part(&score, "accuracy"), (Some(100.0 * 15.0 / 28.0), 28));

    // Without the last row there is no whole text_translation.
    let rows: Vec<_> = questions.iter().zip(&marks).take(27).collect();
    let score = Scorer::new(benchmark, &rows).score();
    assert_eq!(score.columns, [("MMEp", Some(600.0)), ("MMEc", None)]);
    assert_eq!(
        score.notes,
        [
            "1 of 14 pictures lack one of their two questions, and count no pair",
            "no MMEc: too few rows of text_translation",
        ]
    );
}

#[test]
fn mmbench_wants_every_order() {
    let benchmark = Benchmark::MmBench;
    let questions = open(benchmark, PromptStyle::Aki);
    assert_eq!(questions.notes(), Vec::<String>::new());
    let clusters: Vec<_> = questions.iter().map(|it| it.cluster).collect();
    assert_eq!(clusters, [0, 1, 2, 0, 0, 0, 1, 1, 2]);
    // All right, one of them by its text; but one order of 252 is wrong, and one cannot be read.
    let right: Vec<_> = questions
        .iter()
        .map(|it| match &it.expected {
            Expected::Option { letter, .. } => letter.to_string(),
            _ => String::new(),
        })
        .collect();
    let mut marks: Vec<_> = questions
        .iter()
        .zip(&right)
        .map(|(it, a)| it.mark(a))
        .collect();
    let all = scores(benchmark, &questions, &marks);
    assert_eq!(all.columns, [("MMB", Some(100.0))]);
    marks[1] = questions.get(1).mark("It is green.");
    assert_eq!(scores(benchmark, &questions, &marks), all);
    marks[6] = questions.get(6).mark("A");
    marks[7] = questions.get(7).mark("I do not know");
    let score = scores(benchmark, &questions, &marks);
    assert_eq!(score.columns, [("MMB", Some(100.0 * 2.0 / 3.0))]);
    assert_eq!(
        part(&score, "every order by itself"),
        (Some(100.0 * 7.0 / 9.0), 9)
    );
    assert_eq!(part(&score, "coarse_perception"), (Some(50.0), 2));
    assert_eq!(part(&score, "attribute_reasoning_1"), (Some(100.0), 1));

    let some: Vec<_> = questions.iter().zip(&marks).take(8).collect();
    let score = Scorer::new(benchmark, &some).score();
    assert_eq!(score.columns, [("MMB", Some(50.0))]);
    assert_eq!(
        score.notes,
        ["1 of 3 questions lack some of their orders, and are left out"]
    );
    let first: Vec<_> = questions.iter().zip(&marks).take(3).collect();
    let score = Scorer::new(benchmark, &first).score();
    assert_eq!(score.columns, [("MMB", None)]);
    assert_eq!(score.of, [0]);
}

#[test]
fn the_first_questions_are_whole_groups() {
    let questions = open(Benchmark::MmBench, PromptStyle::Aki);
    let groups = |limit| {
        let first = questions.first(limit);
        assert!(first.is_sorted());
        let of = |group| {
            let is_it = |&&at: &&usize| questions.get(at).group == group;
            first.iter().filter(is_it).count()
        };
        [0, 1, 2].map(of)
    };
    assert_eq!(groups(1), [4, 0, 0]);
    assert_eq!(groups(6), [4, 0, 0]);
    assert_eq!(groups(7), [4, 3, 0]);
    assert_eq!(groups(usize::MAX), [4, 3, 2]);
    assert_eq!(open(Benchmark::Pope, PromptStyle::Aki).first(2), [0, 1]);
}

#[test]
fn other_pictures_have_another_hash() {
    let benchmark = Benchmark::SeedI;
    let file = benchmark.files()[0][0];
    let folder = tempfile::tempdir().expect("a folder");
    let hash = |text: &str| {
        std::fs::write(folder.path().join(file), text).expect("a file");
        let questions = Questions::open(benchmark, folder.path(), PromptStyle::Aki);
        questions.expect("questions").pictures_hash()
    };
    let text = std::fs::read_to_string(fixtures().join(file)).expect("a file");
    let known = open(benchmark, PromptStyle::Aki).pictures_hash();
    assert_eq!(hash(&text), known);
    // A character of the first picture's base64.
    let at = text.find("/9j/").expect("a JPEG") + 40;
    let other = if &text[at..=at] == "A" { "B" } else { "A" };
    let changed = format!("{}{other}{}", &text[..at], &text[at + 1..]);
    assert_ne!(hash(&changed), known);
}

#[test]
fn pope_counts_a_row_in_each_of_its_categories() {
    let benchmark = Benchmark::Pope;
    let questions = open(benchmark, PromptStyle::Aki);
    // Rows: yes (adversarial, popular, random), no (popular), no (random). To the first yes, to the
    // second yes, to the third nothing that can be read: 3 true yes, 1 false yes, 1 wrong.
    let answers = [("0", "Yes"), ("1", "yes"), ("2", "hm")];
    let score = scores(benchmark, &questions, &marks(&questions, &answers, ""));
    assert_eq!(score.columns, [("POPE", Some(100.0 * 6.0 / 7.0))]);
    assert_eq!(part(&score, "accuracy"), (Some(60.0), 5));
    assert_eq!(part(&score, "precision"), (Some(75.0), 5));
    assert_eq!(part(&score, "recall"), (Some(100.0), 5));
    assert_eq!(part(&score, "popular"), (Some(100.0 * 2.0 / 3.0), 2));
    assert_eq!(part(&score, "popular, accuracy"), (Some(50.0), 2));
    // What cannot be read is a "no", which is right here, but not for the accuracy.
    assert_eq!(part(&score, "random"), (Some(100.0), 2));
    assert_eq!(part(&score, "random, accuracy"), (Some(50.0), 2));
    let score = scores(benchmark, &questions, &marks(&questions, &[], "no"));
    assert_eq!(score.columns, [("POPE", Some(0.0))]);
    assert_eq!(part(&score, "precision"), (None, 5));
}

#[test]
fn mmmu_is_scored_by_split() {
    let benchmark = Benchmark::Mmmu;
    let questions = open(benchmark, PromptStyle::VlmEvalKit);
    assert_eq!(
        questions.notes(),
        ["1 of 4 rows lack the option that is right: every answer to them is wrong"]
    );
    let answers = [
        ("validation_Art_1", "B"),
        ("validation_Art_2", "There is 1."),
        ("validation_Math_3", "D"),
    ];
    let score = scores(benchmark, &questions, &marks(&questions, &answers, "B"));
    assert_eq!(score.columns, [("MMMU", Some(100.0 * 2.0 / 3.0))]);
    assert_eq!(part(&score, "validation"), (Some(100.0 * 2.0 / 3.0), 3));
    assert_eq!(part(&score, "validation, Art & Design"), (Some(100.0), 2));
    assert_eq!(part(&score, "dev"), (Some(0.0), 1));
    let dev: Vec<_> = marks(&questions, &[], "A");
    let dev: Vec<_> = questions.iter().zip(&dev).take(1).collect();
    let score = Scorer::new(benchmark, &dev).score();
    assert_eq!(score.columns, [("MMMU", None)]);
    assert_eq!(score.notes, ["no MMMU: too few rows of validation"]);
}

#[test]
fn what_waits_for_a_judge_has_no_score() {
    let benchmark = Benchmark::MathVista;
    let questions = open(benchmark, PromptStyle::Aki);
    let answers = [
        ("1", "B"),
        ("2", "14.0"),
        ("3", "0.7"),
        ("4", "From 2007 to 2008"),
    ];
    let mut marks = marks(&questions, &answers, "");
    let score = scores(benchmark, &questions, &marks);
    assert_eq!(score.columns, [("MathV-mini", None)]);
    assert_eq!(
        score.notes,
        ["1 of 4 answers have no mark: no judge has said, or not in the form asked for"]
    );
    let alone = part(&score, "rows with a mark alone");
    assert_eq!(alone, (Some(100.0 * 2.0 / 3.0), 3));
    let last = questions.get(3);
    assert!(last.judge_prompt("From 2007 to 2008").is_some());
    marks[3] = last.read_judgement("[2007, 2008]").expect("a mark");
    let score = scores(benchmark, &questions, &marks);
    assert_eq!(score.columns, [("MathV-mini", Some(75.0))]);
    assert_eq!(part(&score, "arithmetic reasoning"), (Some(100.0), 2));
    assert_eq!(part(&score, "statistical reasoning"), (Some(100.0), 2));

    let benchmark = Benchmark::LlavaW;
    let questions = open(benchmark, PromptStyle::Aki);
    let judged = |replies: [&str; 3]| -> Vec<_> {
        let marks = questions
            .iter()
            .zip(replies)
            .map(|(it, reply)| it.read_judgement(reply));
        marks.map(Option::unwrap_or_default).collect()
    };
    let score = scores(
        benchmark,
        &questions,
        &judged(["8 6", "10 5\nLong.", "9, 7"]),
    );
    assert_eq!(score.columns, [("LLaVA-W", Some(100.0 * 18.0 / 27.0))]);
    assert_eq!(part(&score, "conv"), (Some(75.0), 1));
    assert_eq!(part(&score, "points of GPT-4"), (Some(90.0), 3));
    let score = scores(benchmark, &questions, &judged(["8 6", "eight", "9 7"]));
    assert_eq!(score.columns, [("LLaVA-W", None)]);

    let benchmark = Benchmark::MmVet;
    let questions = open(benchmark, PromptStyle::Aki);
    let marks: Vec<_> = questions.iter().zip(["0.5", "1.0"]).collect();
    let marks: Vec<_> = marks
        .iter()
        .filter_map(|(it, reply)| it.read_judgement(reply))
        .collect();
    let score = scores(benchmark, &questions, &marks);
    assert_eq!(score.columns, [("MM-Vet", Some(75.0))]);
    assert_eq!(part(&score, "ocr"), (Some(50.0), 1));
    assert_eq!(part(&score, "rec"), (Some(100.0), 1));
}

#[test]
fn plain_accuracy() {
    for (benchmark, answers, value) in [
        (
            Benchmark::SeedI,
            [("101669", "A"), ("101670", "B. Two")],
            100.0 / 3.0,
        ),
        (Benchmark::RealWorldQa, [("0", "right"), ("1", "C")], 50.0),
    ] {
        let questions = open(benchmark, PromptStyle::VlmEvalKit);
        let score = scores(benchmark, &questions, &marks(&questions, &answers, ""));
        assert_eq!(score.columns, [(benchmark.columns()[0], Some(value))]);
    }
    // References to a reference are the same picture.
    let questions = open(Benchmark::SeedI, PromptStyle::Aki);
    assert!(questions.iter().all(|it| it.cluster == 0));
}

#[test]
fn cv_bench_is_scored_and_written_as_the_original_does() {
    let benchmark = Benchmark::CvBench;
    let questions = open(benchmark, PromptStyle::Aki);
    let clusters: Vec<_> = questions.iter().map(|it| it.cluster).collect();
    assert_eq!(clusters, [0, 1, 1, 2, 3]);
    let answers = ["B", "A", "Answer: A", "B", "(A)"];
    let marks: Vec<_> = questions
        .iter()
        .zip(answers)
        .map(|(it, a)| it.mark(a))
        .collect();
    let score = scores(benchmark, &questions, &marks);
    // ADE20K 1 of 1, COCO 1 of 2, Omni3D 1 of 2.
    assert_eq!(
        score.columns,
        [("CV-2D", Some(75.0)), ("CV-3D", Some(50.0))]
    );
    assert_eq!(part(&score, "combined"), (Some(62.5), 5));
    assert_eq!(part(&score, "Count"), (Some(50.0), 2));
    assert_eq!(
        cv_bench_text(&score),
        "CV-Bench Accuracy: 0.6250\n\nType Accuracies:\n2D Accuracy: 0.7500\n3D Accuracy: \
         0.5000\n\nSource Accuracies:\nADE20K Accuracy: 1.0000\nCOCO Accuracy: 0.5000\nOmni3D \
         Accuracy: 0.5000\n"
    );
    let rows: Vec<_> = questions.iter().zip(answers).zip(&marks).collect();
    let rows: Vec<_> = rows
        .into_iter()
        .map(|((it, a), mark)| (it, a, mark))
        .collect();
    assert_eq!(
        cv_bench_csv(&rows[1..3]),
        "question,path,answer,prediction,source,result\n\
         \"Answer with the option's letter from the given choices directly. Where is the object, \
         \"\"left\"\" or right?\nOptions:\nA. left\nB. right\n\",img/2D/relation/coco_1.png,A,A,COCO,1\n\
         \"Answer with the option's letter from the given choices directly. How many chairs are in \
         the image?\nOptions:\nA. 0\nB. 1\n\",img/2D/count/coco_2.png,A,Answer: A,COCO,0\n"
    );
    let some: Vec<_> = questions.iter().zip(&marks).take(3).collect();
    let score = Scorer::new(benchmark, &some).score();
    assert_eq!(score.columns, [("CV-2D", Some(75.0)), ("CV-3D", None)]);
    assert_eq!(score.notes, ["no CV-3D: too few rows of Omni3D"]);
    let text = cv_bench_text(&score);
    assert!(text.starts_with("CV-Bench Accuracy: nan\n"), "{text}");

    // The kit's prompt has the kit's reading.
    let questions = open(benchmark, PromptStyle::VlmEvalKit);
    assert_eq!(questions.get(1).mark("Answer: A").value, Some(1.0));
}
