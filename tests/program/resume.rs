//! A run that is stopped goes on as if nothing had happened.

use std::fs;
#[cfg(unix)]
use std::{process::Stdio, time::Duration};

use crate::sources;
use crate::support::{Line, Running, Workplace, contents, points};

/// Enough steps that a run is surely going on when its first checkpoint is seen. Evaluations are far
/// apart: what becomes of one that is cut off has a test of its own.
pub const LONG: [&str; 3] = [
    "stage.captions.steps=4",
    "stage.questions.steps=400",
    "stage.questions.evaluate_every=200",
];

/// Carries a run out in the folder `whole` and returns its weights.
pub fn whole(place: &Workplace, settings: &[&str]) -> Vec<u8> {
    place.train(&[settings, &["run_dir=whole"]].concat()).good();
    place.weights("whole")
}

/// Checks that the folder `run` ended as the folder `whole` did.
#[track_caller]
pub fn went_on_as_one(place: &Workplace, whole: &[u8]) {
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
    // What a checkpoint says was done is in the logs.
    let newest = place.checkpoints("run", "questions").pop().expect("one");
    let lines = place.metrics("run");
    let step = (String::from("questions"), newest, String::from("train"));
    assert!(lines.iter().any(|line| line.point() == step), "{newest}");
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
fn moments_in_8_bits_and_groups_of_parameters_go_on_to_the_same_weights() {
    let settings = [
        &LONG[..],
        &[
            "training.moments=8bit",
            "stage.captions.freeze=['vision_encoder.*', 'lang_model.*']",
            "stage.questions.freeze=['vision_encoder.*']",
            "stage.questions.optimizer.schedule=linear",
            "stage.questions.optimizer.no_decay=['*.bias', '*norm*']",
            "stage.questions.optimizer.rates=[{ params = ['vision_*'], factor = 0.1 }]",
        ],
    ]
    .concat();
    let place = Workplace::new();
    let whole = whole(&place, &settings);
    let mut running = place.start(&settings);
    running.until(|| !place.checkpoints("run", "questions").is_empty());
    running.kill();
    place.train(&settings).good();
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

/// As Slurm's pre-emption does it; here while a checkpoint is being written.
#[test]
#[cfg(unix)]
fn sigterm_leaves_a_checkpoint_to_go_on_from() {
    let settings = [&LONG[..], &["stage.questions.checkpoint_every=1"]].concat();
    let place = Workplace::new();
    let whole = whole(&place, &settings);
    let mut running = place.start(&settings);
    let writing = || {
        let entries = fs::read_dir(place.path("run/checkpoints/questions"));
        let mut entries = entries.into_iter().flatten().flatten();
        entries.any(|entry| {
            entry
                .path()
                .extension()
                .is_some_and(|ending| ending == "part")
        })
    };
    running.until(writing);
    // `timeout` sends it to the process and to its group, and a launcher may once more.
    running.send_repeatedly("TERM");
    let ended = running.ended();
    assert_eq!(ended.code, Some(143), "{}", ended.stderr);
    let told = "stopped in questions; the same command goes on from here";
    assert!(ended.stderr.contains(told), "{}", ended.stderr);
    assert!(!writing(), "a checkpoint is left half written");
    let steps = place.metrics("run");
    let steps = steps
        .iter()
        .filter(|line| line.stage == "questions")
        .count();
    assert_eq!(place.checkpoints("run", "questions").last(), Some(&steps));
    place.train(&settings).good();
    went_on_as_one(&place, &whole);
}

/// In a step that never ends, since its data do not come.
#[test]
#[cfg(unix)]
fn a_ctrl_c_a_second_later_ends_it_at_once() {
    let place = sources::place("");
    let piped = sources::run_file("sources = [\"captions\"]").replace("{a,b}.tar", "-");
    fs::write(place.path("run.toml"), piped).expect("run file");
    let mut running = place.start_waiting(&["train", "run.toml", "--device", "cpu"]);
    running.until(|| place.path("run/config.toml").exists());
    running.send("TERM");
    std::thread::sleep(Duration::from_millis(1500));
    running.send("TERM");
    running.send("INT");
    let ended = running.ended();
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
    let told = "stopping after this step (Ctrl-C a second later: at once)";
    assert_eq!(ended.stderr.matches(told).count(), 1, "{}", ended.stderr);
}

#[test]
#[cfg(unix)]
fn a_run_under_nohup_outlives_its_terminal() {
    let endless = [&LONG[..], &["stage.questions.steps=1000000"]].concat();
    let newest = |place: &Workplace| place.checkpoints("run", "questions").last().copied();
    for (ready, survives) in [("trap '' HUP", true), (":", false)] {
        let place = Workplace::new();
        let training = place.training_in_shell(&endless, ready);
        let mut running = Running::start(training, Stdio::null());
        running.until(|| newest(&place).is_some());
        running.send("HUP");
        if survives {
            let then = newest(&place).expect("a checkpoint") + 20;
            running.until(|| newest(&place) > Some(then));
            running.send("TERM");
        }
        let ended = running.ended();
        let code = if survives { 143 } else { 129 };
        assert_eq!(ended.code, Some(code), "{}", ended.stderr);
    }
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
        let ended = place.train(&settings).good();
        // Of no step is there a loss yet.
        let told = format!("questions: 8 of {} pictures, valid loss ", 4 * steps);
        assert!(ended.stderr.contains(&told), "{}", ended.stderr);
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
    insta::assert_snapshot!(message, @"error: run holds a run with other settings (seed); choose another folder with --set run_dir=..., or set this one aside with --fresh");
    assert!(before == contents(&place.path("run")));
    let message = place
        .train(&["seed=2", "stage.questions.optimizer.lr=1e-4"])
        .refused();
    insta::assert_snapshot!(message, @"error: run holds a run with other settings (seed, stage.questions.optimizer.lr); choose another folder with --set run_dir=..., or set this one aside with --fresh");
}

#[test]
fn a_folder_in_use_is_left_to_who_uses_it() {
    let endless = ["stage.captions.steps=1000000"];
    let place = Workplace::new();
    let mut running = place.start(&endless);
    running.until(|| place.path("run/metrics.jsonl").exists());
    let message = place.train(&endless).refused();
    insta::assert_snapshot!(message, @"error: run is in use by another process");
    running.kill();
}
