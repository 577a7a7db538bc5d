//! Runs that begin anew, at a checkpoint of the user's choice, or with a checkpoint's weights; and
//! checkpoints as models.

use std::fs;
#[cfg(unix)]
use std::process::Stdio;

use crate::checkpoints::{flip, names, stopped_at_the_end};
use crate::resume::went_on_as_one;
#[cfg(unix)]
use crate::resume::{LONG, whole};
use crate::support::{Running, Workplace, contents, text};

const FOUR: &str = "run/checkpoints/questions/step-000004";
const SIX: &str = "run/checkpoints/questions/step-000006";

#[test]
fn a_fresh_run_sets_the_old_one_aside() {
    let place = Workplace::new();
    let ended = place.train_with(&["--fresh"], &[]).good();
    assert!(!ended.stderr.contains("is now"), "{}", ended.stderr);
    let first = contents(&place.path("run"));
    let other = ["seed=2"];
    let ended = place.train_with(&["--fresh"], &other).good();
    assert!(
        ended.stderr.contains("run is now run.old-1\n"),
        "{}",
        ended.stderr
    );
    assert!(contents(&place.path("run.old-1")) == first);
    assert!(place.weights("run") != place.weights("run.old-1"));
    place.train_with(&["--fresh"], &[]).good();
    assert!(place.weights("run") == place.weights("run.old-1"));
    assert!(place.path("run.old-2/report.json").exists());
}

#[test]
fn a_run_that_another_process_trains_is_not_set_aside() {
    let endless = ["stage.captions.steps=1000000"];
    let place = Workplace::new();
    let mut running = place.start(&endless);
    running.until(|| place.path("run/metrics.jsonl").exists());
    let message = place.train_with(&["--fresh"], &endless).refused();
    insta::assert_snapshot!(message, @"error: run is in use by another process");
    assert!(!place.path("run.old-1").exists());
    running.kill();
}

#[test]
fn a_run_is_not_set_aside_with_what_it_needs() {
    let place = Workplace::new();
    place.train(&[]).good();
    let start = format!("start={}", text(&place.path("run")));
    let message = place.train_with(&["--fresh"], &[&start]).refused();
    let message = place.without_path(&message);
    insta::assert_snapshot!(message, @"error: run cannot be set aside, since the run needs [folder]/run; choose another folder with --set run_dir=...");
}

#[test]
fn an_earlier_checkpoint_of_a_stopped_run_goes_on() {
    let place = Workplace::new();
    place.train(&["run_dir=whole"]).good();
    let whole = stopped_at_the_end(&place, &[]);
    let ended = place.train_with(&["--from", FOUR], &[]).good();
    let told =
        format!("checkpoint {SIX} is now {SIX}.old\nresuming run at step 4 of stage questions\n");
    assert!(ended.stderr.contains(&told), "{}", ended.stderr);
    assert_eq!(
        names(&place),
        ["step-000004", "step-000006", "step-000006.old"]
    );
    went_on_as_one(&place, &whole);

    let aside = format!("{SIX}.old");
    let message = place.train_with(&["--from", &aside], &[]).refused();
    insta::assert_snapshot!(message, @"error: --from run/checkpoints/questions/step-000006.old: it was set aside; rename it to step-000006 to go on from it");

    stopped_at_the_end(&place, &[]);
    let captions = "run/checkpoints/captions/step-000004";
    let ended = place.train_with(&["--from", captions], &[]).good();
    let told = "resuming run at step 4 of stage captions\n";
    assert!(ended.stderr.contains(told), "{}", ended.stderr);
    went_on_as_one(&place, &whole);
}

#[test]
fn a_checkpoint_of_another_run_with_the_same_settings_goes_on() {
    let place = Workplace::new();
    place.train(&["run_dir=whole"]).good();
    let from = "whole/checkpoints/questions/step-000004";
    let ended = place.train_with(&["--from", from], &[]).good();
    let told = "resuming run at step 4 of stage questions\n";
    assert!(ended.stderr.contains(told), "{}", ended.stderr);
    went_on_as_one(&place, &place.weights("whole"));
}

#[test]
fn checkpoints_that_do_not_fit_are_refused() {
    let place = Workplace::new();
    place.train(&[]).good();
    let before = contents(&place.path("run"));
    let refused = |from: &str, settings: &[&str]| {
        let message = place.train_with(&["--from", from], settings).refused();
        place.without_path(&message)
    };
    insta::assert_snapshot!(refused(FOUR, &[]), @"error: --from run/checkpoints/questions/step-000004: this run is complete; go on from there in another folder with --set run_dir=...");
    insta::assert_snapshot!(refused(FOUR, &["run_dir=other", "seed=2"]), @"error: --from run/checkpoints/questions/step-000004: that run has other settings (seed); to begin with its weights alone, name it as the run file's `start`");
    insta::assert_snapshot!(refused("run", &["run_dir=other"]), @"error: --from run: this is a run's folder; name one of its checkpoints; a checkpoint is a folder RUN/checkpoints/STAGE/step-000000");
    assert!(!place.path("other").exists());
    place.train(&["run_dir=other"]).good();
    insta::assert_snapshot!(refused(FOUR, &["run_dir=other"]), @"error: --from run/checkpoints/questions/step-000004: other holds a run already; go on with it without --from, or choose another folder with --set run_dir=...");
    assert!(before == contents(&place.path("run")));
    flip(&place, "step-000004/optimizer.bpk");
    let message = refused(FOUR, &["run_dir=new"]);
    let told = format!("error: checkpoint {FOUR} cannot be used: optimizer.bpk has the checksum ");
    assert!(message.starts_with(&told), "{message}");
}

#[test]
fn what_is_no_checkpoint_is_told_as_what_it_is() {
    let place = Workplace::new();
    fs::write(place.path("file"), "garbage").expect("a file");
    fs::create_dir(place.path("empty")).expect("a folder");
    fs::create_dir_all(place.path("other/file.d")).expect("a folder");
    let refused = |from: &str| place.train_with(&["--from", from], &[]).refused();
    insta::assert_snapshot!(refused("file"), @"error: --from file: this is a file; a checkpoint is a folder RUN/checkpoints/STAGE/step-000000");
    insta::assert_snapshot!(refused("empty"), @"error: --from empty: this folder is empty; a checkpoint is a folder RUN/checkpoints/STAGE/step-000000");
    insta::assert_snapshot!(refused("other"), @"error: --from other: this folder is none; a checkpoint is a folder RUN/checkpoints/STAGE/step-000000");
    insta::assert_snapshot!(refused("nowhere"), @"error: --from nowhere: nothing is there; a checkpoint is a folder RUN/checkpoints/STAGE/step-000000");
    assert!(!place.path("run").exists());
}

#[test]
fn a_run_without_a_folder_of_its_own_is_refused() {
    let place = Workplace::new();
    let message = place.train(&["run_dir="]).refused();
    insta::assert_snapshot!(message, @"error: run_dir: is empty; name a folder of the run's own");
    assert!(place.names().is_empty());
}

#[test]
#[cfg(unix)]
fn what_was_begun_elsewhere_and_stopped_goes_on_without_the_flag() {
    let place = Workplace::new();
    let whole = whole(&place, &LONG);
    place.train(&["seed=2", "stage.captions.steps=0"]).good();
    let from = "whole/checkpoints/captions/step-000002";
    for (flags, without) in [
        (vec!["--fresh"], "--fresh"),
        (vec!["--from", from], "--from"),
    ] {
        let mut training = place.training(&LONG);
        training.args(&flags);
        let mut running = Running::start(training, Stdio::null());
        // The old run, if there is one, never came to that stage.
        running.until(|| !place.checkpoints("run", "captions").is_empty());
        running.until(|| !place.checkpoints("run", "questions").is_empty());
        let ended = running.interrupt();
        assert_eq!(ended.code, Some(130), "{}", ended.stderr);
        let told = format!(
            "\nstopped in questions; the same command without {without} goes on from here\n"
        );
        assert!(ended.stderr.contains(&told), "{}", ended.stderr);
        if without == "--from" {
            let message = place.train_with(&flags, &LONG).refused();
            let told = "run holds a run already; go on with it without --from, or ";
            assert!(message.contains(told), "{message}");
        }
        let ended = place.train(&LONG).good();
        assert!(
            ended.stderr.contains("resuming run at "),
            "{}",
            ended.stderr
        );
        went_on_as_one(&place, &whole);
        fs::remove_dir_all(place.path("run")).expect("a run");
    }
}

#[test]
fn a_run_begins_with_the_weights_of_a_checkpoint() {
    let place = Workplace::new();
    place.train(&[]).good();
    for (start, run_dir) in [("run", "of-run"), (SIX, "of-last"), (FOUR, "of-four")] {
        let start = format!("start={}", text(&place.path(start)));
        place.train(&[&start, &format!("run_dir={run_dir}")]).good();
    }
    assert!(place.weights("of-last") == place.weights("of-run"));
    assert!(place.weights("of-four") != place.weights("of-run"));
}

#[test]
fn a_checkpoint_becomes_a_model_folder() {
    let place = Workplace::new();
    place.train(&[]).good();
    place.aki(&["convert", SIX, "out"]).good();
    for file in ["model.safetensors", "config.json", "tokenizer.json"] {
        let [out, finished] = ["out", "run/model"].map(|folder| place.path(folder).join(file));
        assert!(
            fs::read(out).expect(file) == fs::read(finished).expect(file),
            "{file}"
        );
    }
    place
        .aki(&[
            "convert",
            FOUR,
            "half",
            "--dtype",
            "f16",
            "--shard-size",
            "100KB",
        ])
        .good();
    assert!(place.path("half/model.safetensors.index.json").exists());
    let question = ["generate", "--device", "cpu", "--prompt", "hi", "--model"];
    let answer = |model: &str| place.aki(&[&question[..], &[model]].concat()).good().stdout;
    assert_eq!(answer(SIX), answer("run"));
    answer("half");

    // It needs the run above it.
    fs::rename(place.path(FOUR), place.path("alone")).expect("a checkpoint");
    let message = place.without_path(&place.aki(&["convert", "alone", "other"]).refused());
    insta::assert_snapshot!(message, @"error: checkpoint alone cannot be used: it is not in its run's folder, as RUN/checkpoints/STAGE/STEP");
    let vision = ["convert", SIX, "other", "--vision", "run"];
    let message = place.aki(&vision).refused();
    insta::assert_snapshot!(message, @"error: run/checkpoints/questions/step-000006 has all parts already; leave --vision and --language out");
    flip(&place, "step-000006/model.bpk");
    let message = place.aki(&["convert", SIX, "other"]).refused();
    assert!(message.contains("model.bpk has the checksum "), "{message}");
    assert!(!place.path("other").exists());
}
