//! A run that is stopped goes on as if nothing had happened.

use std::fs;

use crate::support::{Line, Workplace, contents, cut_in_half, points};

/// Enough steps that a run is surely going on when its first checkpoint is seen. Evaluations are far
/// apart: what becomes of one that is cut off has a test of its own.
const LONG: [&str; 3] = [
    "stage.captions.steps=4",
    "stage.questions.steps=400",
    "stage.questions.evaluate_every=200",
];

/// Carries a run out in the folder `whole` and returns its weights.
fn whole(place: &Workplace, settings: &[&str]) -> Vec<u8> {
    place.train(&[settings, &["run_dir=whole"]].concat()).good();
    place.weights("whole")
}

/// Checks that the folder `run` ended as the folder `whole` did.
#[track_caller]
fn went_on_as_one(place: &Workplace, whole: &[u8]) {
    assert!(place.weights("run") == whole, "the weights differ");
    let lines = place.metrics("run");
    let expected = place.metrics("whole");
    let points: Vec<_> = lines.iter().map(Line::point).collect();
    let expected_points: Vec<_> = expected.iter().map(Line::point).collect();
    assert_eq!(points, expected_points);
    for (here, there) in lines.iter().zip(&expected) {
        assert_eq!((here.loss, here.lr), (there.loss, there.lr), "{here:?}");
    }
}

#[test]
fn a_killed_run_goes_on_to_the_same_weights() {
    let place = Workplace::new();
    let whole = whole(&place, &LONG);
    let mut running = place.start(&LONG);
    running.until(|| !place.checkpoints("run", "questions").is_empty());
    running.kill();
    assert!(!place.path("run/report.json").exists());
    let ended = place.train(&LONG).good();
    let (from, of) = ("resuming run at step ", " of stage questions\n");
    assert!(
        ended.stderr.contains(from) && ended.stderr.contains(of),
        "{}",
        ended.stderr
    );
    went_on_as_one(&place, &whole);
}

#[test]
fn a_run_killed_in_its_first_stage_goes_on_to_the_same_weights() {
    let settings = [
        "stage.captions.steps=400",
        "stage.captions.evaluate_every=200",
    ];
    let place = Workplace::new();
    let whole = whole(&place, &settings);
    let mut running = place.start(&settings);
    running.until(|| !place.checkpoints("run", "captions").is_empty());
    running.kill();
    let ended = place.train(&settings).good();
    let of = " of stage captions\n";
    assert!(ended.stderr.contains(of), "{}", ended.stderr);
    went_on_as_one(&place, &whole);
}

#[test]
fn a_run_killed_before_its_first_checkpoint_begins_anew() {
    let settings = [
        "stage.captions.steps=400",
        "stage.captions.evaluate_every=200",
        "stage.captions.checkpoint_every=1000",
    ];
    let place = Workplace::new();
    let whole = whole(&place, &settings);
    let mut running = place.start(&settings);
    running.until(|| {
        let metrics = fs::metadata(place.path("run/metrics.jsonl"));
        metrics.is_ok_and(|metrics| metrics.len() > 0)
    });
    running.kill();
    let ended = place.train(&settings).good();
    assert!(!ended.stderr.contains("resuming"), "{}", ended.stderr);
    went_on_as_one(&place, &whole);
}

#[test]
#[cfg(unix)]
fn ctrl_c_leaves_a_checkpoint_to_go_on_from() {
    let place = Workplace::new();
    let whole = whole(&place, &LONG);
    let mut running = place.start(&LONG);
    running.until(|| !place.checkpoints("run", "questions").is_empty());
    let ended = running.interrupt();
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
    assert_eq!(ended.stdout, "");
    let told = "stopped in questions; the same command goes on from here";
    assert!(ended.stderr.contains(told), "{}", ended.stderr);
    let steps = place
        .metrics("run")
        .iter()
        .filter(|line| line.stage == "questions")
        .count();
    let kept = place.checkpoints("run", "questions");
    assert_eq!(kept.last(), Some(&steps), "the last step is kept");

    // The model can be asked meanwhile.
    assert!(!place.path("run/model/model.safetensors").exists());
    let question = [
        "generate", "--model", "run", "--device", "cpu", "--prompt", "hi",
    ];
    let answer = place.aki(&question).good().stdout;
    assert!(answer.ends_with('\n'), "{answer:?}");

    let ended = place.train(&LONG).good();
    let told = format!("resuming run at step {steps} of stage questions\n");
    assert!(ended.stderr.contains(&told), "{}", ended.stderr);
    went_on_as_one(&place, &whole);
}

/// A checkpoint is taken right before an evaluation where both fall on one step, as they do at a
/// stage's end.
#[test]
fn an_evaluation_that_was_cut_off_is_made_up_for() {
    for steps in [4, 2] {
        let settings = [
            "stage.captions.steps=0",
            &format!("stage.questions.steps={steps}"),
            "stage.questions.optimizer.warmup_steps=1",
            "stage.questions.evaluate_every=2",
            // About half a second.
            "data.valid_samples=1000",
        ];
        let place = Workplace::new();
        let mut running = place.start(&settings);
        running.until(|| place.checkpoints("run", "questions") == [2]);
        running.kill();
        let points_of = || -> Vec<_> { place.metrics("run").iter().map(Line::point).collect() };
        let measured = points_of().iter().any(|(_, _, split)| split == "valid");
        assert!(!measured, "killed too late");
        place.train(&settings).good();
        assert_eq!(points_of(), points("questions", steps, 2));
        // Its report can be read.
        let again = place.train(&settings).good();
        assert!(again.stderr.contains("complete"), "{}", again.stderr);
    }
}

#[test]
fn other_settings_are_not_mixed_into_a_run() {
    let place = Workplace::new();
    place.train(&[]).good();
    let before = contents(&place.path("run"));
    let message = place.train(&["seed=2"]).refused();
    insta::assert_snapshot!(message, @"error: run holds a run with other settings (seed); choose another folder with --set run_dir=..., or delete it");
    assert!(before == contents(&place.path("run")));
    let message = place
        .train(&["seed=2", "stage.questions.optimizer.lr=1e-4"])
        .refused();
    insta::assert_snapshot!(message, @"error: run holds a run with other settings (seed, stage.1.optimizer.lr); choose another folder with --set run_dir=..., or delete it");
}

#[test]
fn a_damaged_checkpoint_is_named_and_the_one_before_goes_on() {
    let place = Workplace::new();
    place.train(&[]).good();
    let whole = place.weights("run");
    // As if it had been stopped at its end.
    fs::remove_file(place.path("run/report.json")).expect("a report");
    fs::remove_file(place.path("run/model/model.safetensors")).expect("weights");
    assert_eq!(place.checkpoints("run", "questions"), [4, 6]);

    let newest = "run/checkpoints/questions/step-000006";
    for file in ["model.bpk", "optimizer.bpk", "schedule.bpk"] {
        let path = place.path(newest).join(file);
        let bytes = fs::read(&path).expect("a checkpoint");
        cut_in_half(&path);
        if file == "schedule.bpk" {
            // Its second half is padding.
            cut_in_half(&path);
        }
        let message = place.train(&[]).refused();
        let told = format!("error: checkpoint {newest} cannot be resumed: {file}: ");
        assert!(message.starts_with(&told), "{message}");
        let told = "; delete that folder to go on from the one before";
        assert!(message.ends_with(told), "{message}");
        if file == "model.bpk" {
            let question = [
                "generate", "--model", "run", "--device", "cpu", "--prompt", "hi",
            ];
            let message = place.aki(&question).refused();
            assert!(message.contains(newest), "{message}");
        }
        fs::write(&path, bytes).expect("a checkpoint");
    }

    fs::remove_dir_all(place.path(newest)).expect("a checkpoint");
    let ended = place.train(&[]).good();
    let told = "resuming run at step 4 of stage questions\n";
    assert!(ended.stderr.contains(told), "{}", ended.stderr);
    assert!(place.weights("run") == whole);
    let found: Vec<_> = place.metrics("run").iter().map(Line::point).collect();
    assert_eq!(
        found,
        [points("captions", 6, 3), points("questions", 6, 3)].concat()
    );
}

#[test]
fn a_folder_in_use_is_left_to_who_uses_it() {
    let endless = ["stage.captions.steps=1000000"];
    let place = Workplace::new();
    let mut running = place.start(&endless);
    running.until(|| place.path("run/metrics.jsonl").exists());
    let message = place.train(&endless).refused();
    insta::assert_snapshot!(message, @"error: run is in use by another training process");
    running.kill();
}
