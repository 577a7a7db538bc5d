//! `aki eval compare`, and easy-VQA's answers.

use super::judge::{Stub, judged, says};
use super::{eval, eval_easy_vqa, rows, trained};
use crate::support::Workplace;

fn compare(place: &Workplace, more: &[&str]) -> crate::support::Ended {
    place.aki(&[&["eval", "compare"], more].concat())
}

#[test]
fn two_models_are_compared_on_what_both_were_asked() {
    let place = trained();
    let out = ["--limit", "7", "--out", "a"];
    eval(&place, &["mmbench", "pope"], &out).good();
    eval_easy_vqa(&place, "6", Some("a")).good();
    eval_easy_vqa(&place, "4", Some("b")).good();
    eval(&place, &["mmbench"], &["--out", "b", "--limit", "4"]).good();
    let ended = compare(&place, &["a", "b"]).good();
    assert!(
        ended.stderr.contains("left out: pope, which only a has"),
        "{}",
        ended.stderr
    );
    let told = "mmbench: left out are 3 questions that only a has answers to";
    assert!(ended.stderr.contains(told), "{}", ended.stderr);
    assert!(ended.stdout.contains("| accuracy "), "{}", ended.stdout);
    let objects = compare(&place, &["a", "b", "--json"]).good().stdout;
    let objects = objects
        .lines()
        .map(|it| serde_json::from_str(it).expect("JSON"));
    for object in objects.collect::<Vec<serde_json::Value>>() {
        let column = &object["columns"][0];
        assert_eq!(column["scores"][0], column["scores"][1], "{object}");
        assert_eq!(column["p"], 1.0, "{object}");
    }
}

#[test]
fn easy_vqas_answers_add_up_to_its_table() {
    let place = trained();
    let ended = eval_easy_vqa(&place, "4", Some("out")).good();
    let object: serde_json::Value = serde_json::from_str(&ended.stdout).expect("JSON");
    let rows = rows(&place.path("out"), "easy-vqa");
    assert_eq!(object["all"]["asked"], rows.len());
    let right = rows.iter().filter(|row| row["mark"]["value"] == 1.0);
    assert_eq!(object["all"]["right"], right.count());
    let scores = super::json(&place.path("out/scores.json"));
    assert_eq!(scores["easy-vqa"]["all"], object["all"]);
    let accuracy = object["all"]["accuracy"].as_f64().expect("a share");
    let bound = |at: usize| object["all"]["interval"][at].as_f64().expect("a bound");
    assert!(
        bound(0) <= 100.0 * accuracy && 100.0 * accuracy <= bound(1),
        "{object}"
    );
    // As without.
    let plain = eval_easy_vqa(&place, "4", None).good();
    let plain: serde_json::Value = serde_json::from_str(&plain.stdout).expect("JSON");
    assert_eq!(plain["all"], object["all"]);
}

#[test]
fn what_was_asked_in_another_way_is_not_compared() {
    let place = trained();
    eval(&place, &["realworldqa"], &["--out", "a"]).good();
    let kit = ["--out", "b", "--prompt", "vlmevalkit"];
    eval(&place, &["realworldqa"], &kit).good();
    let message = compare(&place, &["a", "b"]).refused();
    assert!(
        message.contains(
            "was not asked in the same way in a and in b (prompt: aki here, vlmevalkit there"
        ),
        "{message}"
    );
    eval(&place, &["pope"], &["--out", "c", "--limit", "1"]).good();
    let message = compare(&place, &["a", "c"]);
    assert_eq!(message.code, Some(2));
    assert!(
        message.stderr.contains("no benchmark in common"),
        "{}",
        message.stderr
    );
    let message = compare(&place, &["a", "run"]).refused();
    assert!(message.contains("there are no answers in run"), "{message}");
    let message = compare(&place, &["a", "nowhere"]).refused();
    assert!(message.contains("nowhere"), "{message}");
}

#[test]
fn what_was_judged_by_others_is_not_compared() {
    let place = trained();
    let stub = Stub::start(|_, _| says("1"));
    judged(&place, &["mm-vet"], &stub.url).good();
    std::fs::rename(place.path("out"), place.path("a")).expect("a folder");
    compare(&place, &["a", "a"]).good();

    std::fs::create_dir(place.path("b")).expect("a folder");
    for name in ["mm-vet.jsonl", "mm-vet.meta.json"] {
        let text = std::fs::read_to_string(place.path("a").join(name)).expect("a file");
        let text = text.replace("\"wise\"", "\"clever\"");
        std::fs::write(place.path("b").join(name), text).expect("a file");
    }
    insta::assert_snapshot!(
        compare(&place, &["a", "b"]).refused(),
        @"error: mm-vet was judged by wise in a and by clever in b; have both judged by one model: `aki eval mm-vet` with --judge and --judge-model asks the judge alone, where the answers are there"
    );
    eval(&place, &["mm-vet"], &["--out", "c"]).good();
    compare(&place, &["c", "c"]).good();
    let message = compare(&place, &["c", "a"]).refused();
    let told = "mm-vet was judged by no judge in c and by wise in a; have";
    assert!(message.contains(told), "{message}");
}
