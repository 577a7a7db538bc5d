//! `aki data scenes`: a data set made of a seed.

use std::fs;

use serde_json::Value;

use crate::support::{Workplace, contents, text};

#[test]
fn a_set_is_made_and_learned() {
    let place = Workplace::new();
    let make = |out: &str, seed: &str| {
        let args = ["data", "scenes", out, "--samples", "40", "--test", "12"];
        place.aki(&[&args[..], &["--seed", seed]].concat())
    };
    let told = make("set", "1").good().stdout;
    assert!(
        told.starts_with("40 scenes to train on and 12 to test on, "),
        "{told}"
    );
    assert_eq!(told.lines().count(), 9, "{told}");
    let set = contents(&place.path("set"));
    let names: Vec<String> = set.keys().map(|name| text(name)).collect();
    let expected = [
        "sheet.svg",
        "test/00000.tar",
        "test/sizes.json",
        "tokenizer.json",
        "train/00000.tar",
        "train/sizes.json",
    ];
    assert_eq!(names, expected);
    make("again", "1").good();
    assert_eq!(contents(&place.path("again")), set);
    make("other", "2").good();
    assert_ne!(contents(&place.path("other")), set);
    let ended = make("set", "1");
    assert_eq!(ended.code, Some(2));
    insta::assert_snapshot!(ended.stderr, @"error: set exists already; name another folder");

    let file = |name: &str| text(&place.path("set").join(name));
    place
        .train(&[
            &format!("text.tokenizer={:?}", file("tokenizer.json")),
            &format!("data.train=[{:?}]", file("train/00000.tar")),
            &format!("data.test=[{:?}]", file("test/00000.tar")),
            "evaluation.samples=0",
        ])
        .good();
    let report = fs::read_to_string(place.path("run/report.json")).expect("a report");
    let report: Value = serde_json::from_str(&report).expect("JSON");
    let kinds = report["trained"]["kinds"].as_object().expect("kinds");
    let asked = kinds
        .values()
        .map(|tally| tally["asked"].as_u64().expect("a number"));
    assert_eq!(asked.sum::<u64>(), 12 * 4);
}
