//! `aki data bench`: batches of a tiny set, timed.

use serde_json::Value;

use crate::support::{Workplace, asset, text};

const WORK: [&str; 6] = ["read", "text", "decode", "resize", "collate", "waiting"];

/// A run on captions of the built-in test pictures, over and over.
fn run_file(place: &Workplace) -> String {
    let built_in = std::fs::read_to_string(asset("configs/easy-vqa.toml")).expect("the run file");
    let tokenizer = asset("easy-vqa/tokenizer.json");
    let source = format!(
        "[[data.source]]\nkind = \"webdataset\"\nshards = \"{}\"\ncaption = \"txt\"\nbuffer = 50\n\n[model.vision]",
        asset("easy-vqa/test.tar")
    );
    let (head, stage) = built_in.split_once("[[stage]]").expect("stages");
    let (captions, questions) = stage.split_once("[[stage]]").expect("two stages");
    let mixed = captions
        .replace("\"captions\"", "\"sources\"")
        .replace("name = \"sources\"", "name = \"mixed\"")
        .replace("questions_per_picture = 0\n", "");
    let run = format!("{head}[[stage]]{questions}\n[[stage]]{mixed}");
    // What stands behind the stages came with the second one.
    let run = run
        .replace("../easy-vqa/tokenizer.json", &tokenizer)
        // Few pictures have no caption, which is more than the usual bound of broken samples.
        .replace(
            "[model.vision]",
            &format!("max_bad_share = 1.0\n\n{source}"),
        );
    let file = place.path("run.toml");
    std::fs::write(&file, run).expect("the run file");
    text(&file)
}

#[test]
fn batches_are_timed() {
    let place = Workplace::new();
    let file = run_file(&place);
    let args = ["data", "bench", &file, "--batches", "9", "--workers", "3"];
    let table = place.aki(&args).good().stdout;
    assert!(table.contains("288 samples in "), "{table}");
    assert!(table.contains(" skipped; 3 workers; "), "{table}");
    for name in WORK {
        assert!(table.contains(&format!("\n{name} ")), "{table}");
    }

    let said = place.aki(&[&args[..], &["--json"]].concat()).good().stdout;
    let said: Value = serde_json::from_str(&said).expect("one JSON object");
    let number = |key: &str| said[key].as_f64().expect(key);
    assert_eq!(said["batches"], 9);
    assert_eq!(said["samples"], 288);
    assert_eq!(said["pictures"], 288);
    assert!(number("skipped") < 100.0);
    assert_eq!(said["workers"], 3);
    for key in [
        "first_batch_seconds",
        "seconds",
        "samples_per_second",
        "tokens_per_second",
    ] {
        assert!(number(key) > 0.0, "{key}");
    }
    let expected = number("samples") / number("seconds");
    assert!((number("pictures_per_second") - expected).abs() < 1e-6 * expected);
    // A picture of 16 tokens and some words each; captions differ in length.
    assert!(number("tokens") > 288.0 * 18.0);
    assert!((0.0..0.5).contains(&number("padding")));
    let time = said["thread_time"].as_object().expect("an object");
    assert!(time.keys().eq(WORK), "{time:?}");
    let sum = |key: &str| -> f64 { time.values().map(|row| row[key].as_f64().expect(key)).sum() };
    assert!((sum("share") - 1.0).abs() < 1e-9);
    // Three workers, the reader and who makes the batches. What was worked ahead of the last
    // batch can be more than that.
    assert!(sum("seconds") > 4.9 * number("seconds"));
    for name in ["read", "text", "decode", "resize", "collate"] {
        assert!(
            time[name]["ms_per_sample"].as_f64().expect(name) > 0.0,
            "{name}"
        );
    }
}

#[test]
fn only_stages_of_sources_are_timed() {
    let place = Workplace::new();
    let file = run_file(&place);
    let message = place
        .aki(&["data", "bench", &file, "--stage", "questions"])
        .refused();
    assert!(
        message.contains("stage questions learns samples that are held in memory"),
        "{message}"
    );
    let message = place
        .aki(&["data", "bench", &file, "--stage", "none"])
        .refused();
    assert!(message.contains("there are: questions, mixed"), "{message}");
    let message = place
        .aki(&["data", "bench", &asset("configs/easy-vqa.toml")])
        .refused();
    assert!(
        message.contains("stage questions learns samples"),
        "{message}"
    );
    let args = ["data", "bench", &file, "--batches", "1", "--seconds", "1"];
    let message = place.aki(&args).refused();
    assert!(message.contains("cannot be used with"), "{message}");
}
