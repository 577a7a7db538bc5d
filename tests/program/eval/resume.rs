//! Runs that are killed or stopped.

use std::collections::BTreeSet;
use std::fs;

use super::{arguments, data, eval, rows, trained};

#[test]
fn what_is_answered_is_not_asked_again() {
    let place = trained();
    let data = data();
    let one = ["--batch", "1", "--out", "out"];
    let mut running = place.start_aki(&arguments(&["mme"], &data, &one));
    let path = place.path("out/mme.jsonl");
    let lines = || fs::read_to_string(&path).map_or(0, |it| it.matches('\n').count());
    running.until(|| lines() >= 3);
    running.kill();
    let mut before = fs::read_to_string(&path).expect("answers");
    // As a kill in the midst of a write leaves it.
    before.truncate(before.len() - 5);
    fs::write(&path, &before).expect("a file");
    let whole = before.rfind('\n').map_or("", |last| &before[..=last]);
    let already = whole.matches('\n').count();
    let ended = eval(&place, &["mme"], &["--batch", "4", "--out", "out"]).good();
    let told = format!("mme: {already} of 28 questions are answered already");
    assert!(ended.stderr.contains(&told), "{}", ended.stderr);
    let after = fs::read_to_string(&path).expect("answers");
    for line in whole.lines() {
        assert!(after.contains(line), "asked again: {line}");
    }
    let rows = rows(&place.path("out"), "mme");
    let ids: BTreeSet<String> = rows.iter().map(|it| it["id"].to_string()).collect();
    assert_eq!((rows.len(), ids.len()), (28, 28));
    // All of it is there: nothing is asked, and all is scored as in one go.
    let again = eval(&place, &["mme"], &["--out", "out"]).good();
    assert_eq!(again.stdout, ended.stdout);
    let whole = eval(&place, &["mme"], &["--out", "whole"]).good();
    assert_eq!(whole.stdout, ended.stdout);
    assert_eq!(fs::read_to_string(&path).expect("answers"), after);
}

#[cfg(unix)]
#[test]
fn a_signal_ends_it_after_the_running_batch() {
    let place = trained();
    let data = data();
    let one = ["--batch", "1", "--out", "out"];
    let mut running = place.start_aki(&arguments(&["mme"], &data, &one));
    let path = place.path("out/mme.jsonl");
    running.until(|| fs::read_to_string(&path).is_ok_and(|it| it.contains('\n')));
    let ended = running.interrupt();
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
    let there = rows(&place.path("out"), "mme").len();
    let told = format!("mme: {there} of 28 questions are answered");
    assert!(ended.stderr.contains(&told), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("the same command goes on"),
        "{}",
        ended.stderr
    );
    assert!(!place.path("out/scores.json").exists());
}

#[test]
fn answers_of_another_model_or_prompt_are_not_mixed_in() {
    let place = trained();
    let out = ["--limit", "1", "--out", "out"];
    eval(&place, &["pope"], &out).good();
    let kit = [&out[..], &["--prompt", "vlmevalkit"]].concat();
    let message = eval(&place, &["pope"], &kit).refused();
    assert!(
        message.contains("prompt: vlmevalkit here, aki there"),
        "{message}"
    );
    assert!(
        message.contains("--out") && message.contains("--fresh"),
        "{message}"
    );
    place.train(&["run_dir=other", "seed=2"]).good();
    let data = data();
    let mut args = arguments(&["pope"], &data, &out);
    let model = args.iter().position(|it| *it == "run").expect("a model");
    args[model] = "other";
    let message = place.aki(&args).refused();
    assert!(message.contains("(model: "), "{message}");
    args.push("--fresh");
    let ended = place.aki(&args).good();
    assert!(
        ended.stderr.contains("pope.jsonl is now"),
        "{}",
        ended.stderr
    );
    assert!(place.path("out/pope.old-1.jsonl").exists());
}
