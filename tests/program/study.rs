//! Studies: the rows of Table 1, tiny.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::process::{Ended, Running, finish};
use crate::support::{Workplace, command, repository, tiny};

/// A study of two rows and two seeds in a folder, with some more arguments.
fn study(place: &Workplace, out: &str, more: &[&str]) -> Command {
    // The files that come with aki are found from here.
    let mut command = command(&repository());
    let what = "study table1 --rows mma,causal --seeds 2 --data easy-vqa --device cpu --out";
    command.args(what.split(' ')).arg(place.path(out));
    for setting in tiny() {
        command.args(["--set", &setting]);
    }
    command.args(more);
    command
}

/// Carries it out.
fn studied(place: &Workplace, out: &str, more: &[&str]) -> Ended {
    finish(study(place, out, more), "")
}

/// Begins it.
fn begun(place: &Workplace, out: &str, more: &[&str]) -> Running {
    Running::start(study(place, out, more), Stdio::null())
}

/// Long enough to be stopped.
const LONG: [&str; 4] = [
    "--set",
    "stage.questions.steps=200",
    "--set",
    "stage.questions.evaluate_every=100",
];

/// What a study found, without how long it took.
fn found(place: &Workplace, out: &str) -> Value {
    fn without_time(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields.remove("seconds");
                fields.values_mut().for_each(without_time);
            }
            Value::Array(values) => values.iter_mut().for_each(without_time),
            _ => {}
        }
    }
    let json = fs::read(place.path(out).join("table1.json")).expect("a table");
    let mut table = serde_json::from_slice(&json).expect("JSON");
    without_time(&mut table);
    table
}

fn until_begun(running: &mut Running, place: &Workplace, run: &str) {
    let run = Path::new("stopped/runs/easy-vqa").join(run);
    let run = run.to_str().expect("UTF-8");
    running.until(|| !place.checkpoints(run, "questions").is_empty());
}

#[test]
#[cfg(unix)]
fn a_stopped_study_goes_on_to_the_same_table() {
    let place = Workplace::new();
    let whole = studied(&place, "whole", &LONG).good();
    let table = found(&place, "whole");
    assert_eq!(table["data"][0]["rows"][1]["row"], "mma");
    assert_eq!(table["data"][0]["rows"][1]["curve"][1]["step"], 200);
    for name in [
        "table1.md",
        "table1.csv",
        "accuracy-steps.svg",
        "accuracy-steps.png",
    ] {
        assert!(place.path("whole").join(name).exists(), "{name}");
    }
    assert!(whole.stdout.contains("| mma "), "{}", whole.stdout);
    assert!(
        whole.stderr.contains("6 runs, 0 of them done"),
        "{}",
        whole.stderr
    );
    // One pre-training for both rows, and no checkpoints are left.
    let of_seed = fs::read_dir(place.path("whole/runs/easy-vqa/seed-1")).expect("runs");
    assert_eq!(of_seed.count(), 3);
    assert!(
        !place
            .path("whole/runs/easy-vqa/seed-1/mma/checkpoints")
            .exists()
    );

    let mut running = begun(&place, "stopped", &LONG);
    until_begun(&mut running, &place, "seed-1/mma");
    running.kill();
    let mut running = begun(&place, "stopped", &LONG);
    until_begun(&mut running, &place, "seed-2/causal");
    let Ended { code, stderr, .. } = running.interrupt();
    assert_eq!(code, Some(130), "{stderr}");
    assert!(stderr.contains("6 runs, 2 of them done"), "{stderr}");
    assert!(
        stderr.contains("stopped in easy-vqa/seed-2/causal; the same command goes on from here"),
        "{stderr}"
    );
    assert!(!place.path("stopped/table1.md").exists());
    studied(&place, "stopped", &LONG).good();
    assert_eq!(found(&place, "stopped"), table);
    let last = "runs/easy-vqa/seed-2/mma";
    let weights = |out: &str| place.weights(&format!("{out}/{last}"));
    assert!(weights("whole") == weights("stopped"), "the weights differ");

    // Complete, it is told again; a row more is trained, the others are not.
    let more = [&LONG[..], &["--rows", "dot"]].concat();
    let more = studied(&place, "stopped", &more).good();
    assert!(
        more.stderr.contains("10 runs, 6 of them done"),
        "{}",
        more.stderr
    );
    let rows = found(&place, "stopped")["data"][0]["rows"].clone();
    assert_eq!(rows[1]["row"], "dot");
    assert_eq!(rows[1]["scores"][1]["order"], "image-text");
    // What was trained otherwise is not mixed in.
    let other = [&LONG[..], &["--set", "model.resampler.num_latents=9"]].concat();
    let message = studied(&place, "stopped", &other).refused();
    let message = place.without_path(&message);
    insta::assert_snapshot!(message, @"error: [folder]/stopped/runs/easy-vqa/seed-1/pretraining-causal was trained with other settings (model.resampler.num_latents); give the study another folder with --out, or remove this one");

    // Elsewhere, what is done still counts.
    fs::rename(place.path("whole"), place.path("moved")).expect("a folder");
    let moved = studied(&place, "moved", &LONG).good();
    let told = "6 runs, 6 of them done";
    assert!(moved.stderr.contains(told), "{}", moved.stderr);
    assert_eq!(found(&place, "moved"), table);
}

#[test]
fn a_study_of_scenes() {
    let place = Workplace::new();
    studied(&place, "scenes", &["--data", "scenes", "--rows", "cca"]).good();
    let rows = found(&place, "scenes")["data"][1]["rows"].clone();
    assert_eq!(rows[1]["row"], "cca");
    assert!(
        rows[1]["scores"][0]["kinds"]["relation"].is_object(),
        "{rows}"
    );
}

#[test]
fn mistakes_are_told_before_anything_is_done() {
    let place = Workplace::new();
    let message = place
        .aki(&["study", "table1", "--rows", "mma,casual"])
        .refused();
    insta::assert_snapshot!(message, @r#"
    error: invalid value 'casual' for '--rows <ROW,..>': no row "casual"; did you mean "causal"? There are causal, cca, dot-no-ti-pt, dot-no-it-pt, dot-no-ti-sft, dot-no-it-sft, dot, mma

    For more information, try '--help'.
    "#);
    let message = place.aki(&["study", "table1", "--data", "coco"]).refused();
    insta::assert_snapshot!(message, @r#"
    error: invalid value 'coco' for '--data <NAME,..>': no data set "coco"; there are easy-vqa, scenes

    For more information, try '--help'.
    "#);
    let message = studied(&place, "out", &["--set", "seed=3"]).refused();
    assert!(
        message.contains("--set cannot change what the study itself decides"),
        "{message}"
    );
    assert!(place.names().is_empty());
}
