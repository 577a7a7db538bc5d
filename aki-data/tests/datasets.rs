//! The instruction-tuning sets, read from small files in their makers' formats. Files and
//! expectations are made by `tests/reference/sft_sources.py`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use aki_data::datasets::SkipReason;
use aki_data::{DataError, Dataset, Message, Record, Region, Role, Template, Tokenizer};
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Expected {
    media_len: usize,
    sources: BTreeMap<String, Source>,
}

#[derive(Deserialize)]
struct Source {
    records: Vec<Golden>,
    /// Count and first key by the reason's name.
    skipped: BTreeMap<String, (usize, String)>,
}

#[derive(Deserialize)]
struct Golden {
    key: String,
    images: Vec<String>,
    messages: Vec<(String, String, usize)>,
    region: Option<[f64; 4]>,
    /// Question and letter in every order of the options.
    orders: Option<BTreeSet<(String, String)>>,
    ids: Vec<u32>,
    labels: Vec<i64>,
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn expected() -> Expected {
    let file = fixtures().join("datasets/expected.json");
    let text = std::fs::read_to_string(file).expect("expectations");
    serde_json::from_str(&text).expect("expectations")
}

/// Files of each source.
const FILES: [(&str, &[&str]); 12] = [
    ("vqa", &["vqa_questions.json", "vqa_annotations.json"]),
    ("gqa", &["gqa.json"]),
    ("vsr", &["vsr.jsonl"]),
    ("ocrvqa", &["ocrvqa.json"]),
    ("aokvqa", &["aokvqa.json"]),
    ("scienceqa", &["scienceqa.json"]),
    ("refcoco", &["refcoco.json"]),
    ("refcoco+", &["refcoco+.json"]),
    ("refcocog", &["refcocog.json"]),
    ("vg", &["vg_regions.json", "vg_image_data.json"]),
    ("llava150k", &["llava150k.json"]),
    ("jsonl", &["jsonl.jsonl"]),
];

fn read(source: &str, files: &[PathBuf]) -> Result<Dataset, DataError> {
    match source {
        "vqa" => Dataset::vqa(&files[0], &files[1]),
        "gqa" => Dataset::gqa(&files[0]),
        "vsr" => Dataset::vsr(&files[0]),
        "ocrvqa" => Dataset::ocrvqa(&files[0]),
        "aokvqa" => Dataset::aokvqa(&files[0]),
        "scienceqa" => Dataset::scienceqa(&files[0]),
        "vg" => Dataset::vg(&files[0], &files[1]),
        "llava150k" => Dataset::llava150k(&files[0]),
        "jsonl" => Dataset::jsonl(&files[0]),
        _ => Dataset::refcoco(&files[0]),
    }
}

fn paths(files: &[&str]) -> Vec<PathBuf> {
    let folder = fixtures().join("datasets");
    files.iter().map(|file| folder.join(file)).collect()
}

fn open(source: &str) -> Dataset {
    let (_, files) = FILES[FILES
        .iter()
        .position(|(name, _)| *name == source)
        .expect("known")];
    read(source, &paths(files)).expect("a good source")
}

fn message((role, text, pictures): &(String, String, usize)) -> Message {
    Message {
        role: match role.as_str() {
            "system" => Role::System,
            "user" => Role::User,
            _ => Role::Assistant,
        },
        text: text.clone(),
        pictures: *pictures,
    }
}

fn record(golden: &Golden) -> Record {
    Record {
        key: golden.key.clone(),
        images: golden.images.clone(),
        messages: golden.messages.iter().map(message).collect(),
        region: golden
            .region
            .map(|[x1, y1, x2, y2]| Region { x1, y1, x2, y2 }),
    }
}

#[test]
fn every_record_is_the_expected_one() {
    let tokenizer = Tokenizer::open(&fixtures().join("tokenizers/aki")).expect("a tokenizer");
    let expected = expected();
    assert_eq!(expected.sources.len(), FILES.len());
    for (name, source) in &expected.sources {
        let dataset = open(name);
        assert_eq!(dataset.len(), source.records.len(), "{name}");
        for (index, golden) in source.records.iter().enumerate() {
            let got = dataset.get(index);
            assert_eq!(got, record(golden), "{name}");
            let sequence = got
                .encode(&Template::default(), &tokenizer, expected.media_len)
                .expect("ids");
            assert_eq!(sequence.input_ids, golden.ids, "{name} {}", golden.key);
            assert_eq!(sequence.labels, golden.labels, "{name} {}", golden.key);
            let pictures = sequence.media.len();
            assert_eq!(pictures, golden.images.len(), "{name} {}", golden.key);
        }
    }
}

#[test]
fn what_is_left_out_is_counted_by_reason() {
    for (name, source) in expected().sources {
        let skipped: BTreeMap<_, _> = open(&name)
            .skipped()
            .iter()
            .map(|skipped| {
                let reason = format!("{:?}", skipped.reason);
                (reason, (skipped.count, skipped.first.clone()))
            })
            .collect();
        assert_eq!(skipped, source.skipped, "{name}");
    }
}

#[test]
fn options_come_in_any_order_and_all_else_stays() {
    for (name, source) in expected().sources {
        let dataset = open(&name);
        for (index, golden) in source.records.iter().enumerate() {
            let shuffled = |item| dataset.get_shuffled(index, 3, item);
            let Some(orders) = &golden.orders else {
                assert_eq!(shuffled(7), dataset.get(index), "{name}");
                continue;
            };
            let mut seen = BTreeSet::new();
            for item in 0..400 {
                let record = shuffled(item);
                assert_eq!(record, shuffled(item));
                let [question, answer] = &record.messages[..] else {
                    panic!("one turn: {record:?}");
                };
                seen.insert((question.text.clone(), answer.text.clone()));
            }
            assert_eq!(&seen, orders, "{name}");
        }
    }
}

#[test]
fn a_list_of_conversations_is_as_good_as_lines() {
    let list = Dataset::jsonl(&paths(&["jsonl.json"])[0]).expect("a list");
    let lines = open("jsonl");
    assert_eq!(list.len(), lines.len());
    for index in 0..list.len() {
        assert_eq!(list.get(index), lines.get(index));
    }
    assert_eq!(list.skipped(), lines.skipped());
}

/// Reads a source whose first file has other content.
fn read_with(source: &str, content: &[u8]) -> Result<Dataset, DataError> {
    let file = tempfile::NamedTempFile::new().expect("temporary file");
    std::fs::write(file.path(), content).expect("writing");
    let (_, files) = FILES[FILES
        .iter()
        .position(|(name, _)| *name == source)
        .expect("known")];
    let mut files = paths(files);
    file.path().clone_into(&mut files[0]);
    read(source, &files)
}

#[test]
fn wrong_json_is_told_with_its_place() {
    let cases = [
        (
            "vqa",
            "{\"questions\": [\n {\"question_id\": true}]}",
            (2, 23),
            "entry 1: invalid type: boolean `true`, expected u64",
        ),
        (
            "gqa",
            "{\"a\": 1, \"b\": 2}",
            (1, 16),
            "entry \"a\": invalid type",
        ),
        ("vqa", "{\"info\": 1}", (1, 11), "missing field `questions`"),
        ("gqa", "[]", (1, 1), "an object with an annotation a key"),
        ("aokvqa", "[{}", (1, 3), "EOF"),
        ("llava150k", "[] x", (1, 4), "trailing"),
        (
            "jsonl",
            "\n{\"conversations\": 1}\n{\n",
            (2, 19),
            "expected a sequence",
        ),
        (
            "jsonl",
            "{\"image\": 1}",
            (1, 12),
            "a path or a list of paths",
        ),
        ("vsr", "\n\n{\"label\"", (3, 8), "EOF"),
    ];
    for (source, text, place, expected) in cases {
        let error = read_with(source, text.as_bytes()).expect_err(source);
        let DataError::Annotations {
            path,
            line,
            column,
            reason,
        } = &error
        else {
            panic!("{source}: {error}");
        };
        assert_eq!((*line, *column), place, "{source}: {error}");
        assert!(reason.contains(expected), "{source}: {error}");
        assert!(error.to_string().contains(&path.display().to_string()));
    }
}

/// Reason, count and first key of what was left out.
fn skipped(dataset: &Dataset) -> Vec<(SkipReason, usize, &str)> {
    let skipped = dataset.skipped().iter();
    skipped
        .map(|it| (it.reason, it.count, it.first.as_str()))
        .collect()
}

#[test]
fn a_broken_line_leaves_the_others() {
    let good = r#"{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}"#;
    let lines = [
        b"{\"messages\": [",
        good.as_bytes(),
        b"",
        br#"{"messages": [{"role": 7}]}"#,
        b"\xff\xfe",
        b"7",
        good.as_bytes(),
        br#"{"image": "a.jpg"}"#,
    ];
    let dataset = read_with("jsonl", &lines.join(&b'\n')).expect("two good lines");
    assert_eq!(dataset.get(0).key, "2");
    assert_eq!(dataset.get(1).key, "7");
    assert_eq!(dataset.len(), 2);
    let expected = [
        (SkipReason::MissingField, 1, "8"),
        (SkipReason::Json, 2, "1"),
        (SkipReason::Fields, 2, "4"),
    ];
    assert_eq!(skipped(&dataset), expected);

    let mut lines = std::fs::read(&paths(&["vsr.jsonl"])[0]).expect("a fixture");
    lines.splice(0..0, *b"{\"image\":\n{\"label\": 300}\n");
    let broken = read_with("vsr", &lines).expect("good lines");
    assert_eq!(broken.len(), open("vsr").len());
    let first = |reason| {
        let skipped = skipped(&broken);
        skipped
            .iter()
            .find(|it| it.0 == reason)
            .map(|it| it.2.to_owned())
    };
    assert_eq!(first(SkipReason::Json).as_deref(), Some("1"));
    assert_eq!(first(SkipReason::Fields).as_deref(), Some("2"));
}

#[test]
fn a_wrong_entry_leaves_the_others() {
    for (source, opening, wrong, key) in [
        ("vqa", "\"questions\": [", r#"{"question_id": -1}, "#, "1"),
        ("gqa", "{", r#""x": [], "#, "x"),
        ("ocrvqa", "{", r#""x": {"questions": [0]}, "#, "x"),
        ("aokvqa", "[", r#"{"choices": {}}, "#, "1"),
        ("scienceqa", "{", r#""x": {"answer": "A"}, "#, "x"),
        ("vg", "[", r#"{"id": null}, "#, "1"),
        ("llava150k", "[", "null, ", "1"),
    ] {
        let (_, files) = FILES[FILES
            .iter()
            .position(|(name, _)| *name == source)
            .expect("known")];
        let text = std::fs::read_to_string(&paths(files)[0]).expect("a fixture");
        let at = text.find(opening).expect("its beginning") + opening.len();
        let damaged = format!("{}{wrong}{}", &text[..at], &text[at..]);
        let (dataset, whole) = (read_with(source, damaged.as_bytes()), open(source));
        let dataset = dataset.expect(source);
        assert_eq!(dataset.len(), whole.len(), "{source}");
        let more: Vec<_> = skipped(&dataset)
            .into_iter()
            .filter(|it| !skipped(&whole).contains(it))
            .collect();
        assert_eq!(more, [(SkipReason::Fields, 1, key)], "{source}");
    }
}

#[test]
fn an_annotation_that_cannot_be_read_keeps_its_place() {
    let text = std::fs::read_to_string(&paths(&["refcoco.json"])[0]).expect("a fixture");
    let mut json: serde_json::Value = serde_json::from_str(&text).expect("json");
    json["annotations"][0] = serde_json::json!({"image_id": "?"});
    let damaged = read_with("refcoco", json.to_string().as_bytes()).expect("good entries");
    let whole = open("refcoco");
    assert_eq!(damaged.len(), whole.len() - 1);
    assert_eq!(damaged.get(0), whole.get(1));
    assert!(
        skipped(&damaged)
            .iter()
            .any(|it| it.0 == SkipReason::Fields && it.1 == 1)
    );
}

#[test]
fn a_missing_file_is_named() {
    let error = Dataset::gqa(Path::new("no/such.json")).expect_err("missing");
    assert!(error.to_string().contains("no/such.json"), "{error}");
}

#[test]
fn a_source_may_be_empty() {
    assert!(read_with("jsonl", b" \n").expect("no lines").is_empty());
    assert!(read_with("aokvqa", b"[]").expect("no entries").is_empty());
}

/// Records of damaged files are as sound as those of others.
fn use_all(dataset: &Dataset) {
    for index in 0..dataset.len() {
        let record = dataset.get_shuffled(index, 0, index);
        let shown: usize = record.messages.iter().map(|message| message.pictures).sum();
        assert_eq!(shown, record.images.len(), "{record:?}");
        assert!(record.messages.iter().any(|m| m.role == Role::Assistant));
        assert!(
            record
                .images
                .iter()
                .all(|path| path.split('/').all(|part| part != ".."))
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn damaged_files_never_panic(
        source in 0..FILES.len(),
        at in any::<prop::sample::Index>(),
        len in 0_usize..40,
        with in "(null|[0-9]{1,20}|-1|1e400|\"|[\\[\\]{},:]|\"<image>\"|\\.\\./|\\PC){0,3}",
        cut: bool,
    ) {
        let (name, files) = FILES[source];
        let mut bytes = std::fs::read(&paths(files)[0]).expect("a fixture");
        let at = at.index(bytes.len());
        if cut {
            bytes.truncate(at);
        } else {
            let end = (at + len).min(bytes.len());
            bytes.splice(at..end, with.bytes());
        }
        if let Ok(dataset) = read_with(name, &bytes) {
            use_all(&dataset);
        }
    }

    #[test]
    fn random_bytes_never_panic(
        source in 0..FILES.len(), bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        if let Ok(dataset) = read_with(FILES[source].0, &bytes) {
            use_all(&dataset);
        }
    }
}
