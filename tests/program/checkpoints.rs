//! Checkpoints that were damaged, that cannot be written, and which of them stay.

use std::fs;

use crate::resume::{LONG, went_on_as_one, whole};
use crate::support::{Line, Workplace, cut_in_half, points};

const STAGE: &str = "run/checkpoints/questions";

/// A run as if it had been stopped at its end, and the weights it ended with.
pub fn stopped_at_the_end(place: &Workplace, settings: &[&str]) -> Vec<u8> {
    place.train(settings).good();
    let weights = place.weights("run");
    fs::remove_file(place.path("run/report.json")).expect("a report");
    fs::remove_file(place.path("run/model/model.safetensors")).expect("weights");
    weights
}

/// The names in a run's folder of checkpoints.
pub fn names(place: &Workplace) -> Vec<String> {
    let entries = fs::read_dir(place.path(STAGE)).expect("checkpoints");
    let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
    let mut names: Vec<_> = entries.map(name).collect();
    names.sort();
    names
        .iter()
        .map(|name| name.to_string_lossy().into_owned())
        .collect()
}

/// Changes one byte in the middle of a file.
pub fn flip(place: &Workplace, file: &str) {
    let path = place.path(STAGE).join(file);
    let mut bytes = fs::read(&path).expect("a file");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).expect("a file");
}

/// Flips a bit of the digit 1 behind a key of the newest manifest.
fn flip_digit(place: &Workplace, key: &str) {
    let path = place.path(STAGE).join("step-000006/manifest.json");
    let text = fs::read_to_string(&path).expect("a manifest");
    let flipped = text.replace(&format!("{key}1"), &format!("{key}3"));
    assert_ne!(text, flipped);
    fs::write(path, flipped).expect("a manifest");
}

/// Makes the newest checkpoint one without what the strategy kept.
fn leave_state_out(place: &Workplace) {
    let folder = place.path(STAGE).join("step-000006");
    fs::remove_file(folder.join("state.json")).expect("a state");
    let path = folder.join("manifest.json");
    let manifest = fs::read(&path).expect("a manifest");
    let mut manifest: serde_json::Value = serde_json::from_slice(&manifest).expect("JSON");
    let manifest = manifest.as_object_mut().expect("an object");
    manifest.remove("sum").expect("a sum");
    let files = manifest["files"].as_array_mut().expect("files");
    files.retain(|file| file["name"] != "state.json");
    fs::write(path, serde_json::to_vec(manifest).expect("JSON")).expect("a manifest");
}

#[test]
fn the_one_before_a_damaged_checkpoint_goes_on() {
    type Damage = fn(&Workplace);
    let damages: [(Damage, &str); 7] = [
        (
            |place| flip(place, "step-000006/model.bpk"),
            "model.bpk has the checksum ",
        ),
        (
            |place| cut_in_half(&place.path(STAGE).join("step-000006/optimizer.bpk")),
            "optimizer.bpk has ",
        ),
        (
            |place| fs::remove_file(place.path(STAGE).join("step-000006/schedule.bpk")).unwrap(),
            "schedule.bpk is missing; ",
        ),
        (
            |place| cut_in_half(&place.path(STAGE).join("step-000006/manifest.json")),
            "manifest.json is broken: ",
        ),
        // A bit of a digit, which would ask for a newer program, or for more processes.
        (
            |place| flip_digit(place, "\"format\": "),
            "manifest.json has the checksum ",
        ),
        (
            |place| flip_digit(place, "\"world\": "),
            "manifest.json has the checksum ",
        ),
        (leave_state_out, "manifest.json does not name state.json; "),
    ];
    let place = Workplace::new();
    for (damage, told) in damages {
        let whole = stopped_at_the_end(&place, &[]);
        assert_eq!(place.checkpoints("run", "questions"), [4, 6]);
        damage(&place);
        let ended = place.train(&[]).good();
        let warning = format!("warning: checkpoint {STAGE}/step-000006 is damaged: {told}");
        assert!(ended.stderr.contains(&warning), "{}", ended.stderr);
        let aside =
            format!("; it is now {STAGE}/step-000006.damaged, and the one before is taken\n");
        assert!(ended.stderr.contains(&aside), "{}", ended.stderr);
        let resumed = "resuming run at step 4 of stage questions\n";
        assert!(ended.stderr.contains(resumed), "{}", ended.stderr);
        assert!(place.weights("run") == whole);
        let found: Vec<_> = place.metrics("run").iter().map(Line::point).collect();
        let expected = [points("captions", 6, 3), points("questions", 6, 3)].concat();
        assert_eq!(found, expected);
        let expected = ["step-000004", "step-000006", "step-000006.damaged"];
        assert_eq!(names(&place), expected);
        fs::remove_dir_all(place.path("run")).expect("a run");
    }
}

#[test]
fn a_stage_whose_checkpoints_are_damaged_begins_anew() {
    let place = Workplace::new();
    let whole = stopped_at_the_end(&place, &[]);
    for step in ["step-000004", "step-000006"] {
        flip(&place, &format!("{step}/optimizer.bpk"));
    }
    let ended = place.train(&[]).good();
    let resumed = "resuming run at step 6 of stage captions\n";
    assert!(ended.stderr.contains(resumed), "{}", ended.stderr);
    assert_eq!(
        ended
            .stderr
            .matches("is damaged: optimizer.bpk has")
            .count(),
        2
    );
    assert!(place.weights("run") == whole);
}

#[test]
fn a_run_whose_checkpoints_are_all_damaged_is_refused() {
    let place = Workplace::new();
    let settings = ["stage.captions.steps=0"];
    stopped_at_the_end(&place, &settings);
    for step in ["step-000004", "step-000006"] {
        cut_in_half(&place.path(STAGE).join(step).join("schedule.bpk"));
    }
    let before = names(&place);
    let message = place.train(&settings).refused();
    let told = "error: all checkpoints of run are damaged; of the newest, \
                run/checkpoints/questions/step-000006: schedule.bpk has ";
    assert!(message.starts_with(told), "{message}");
    let told = " expected; start anew with --fresh, which sets the run folder aside";
    assert!(message.ends_with(told), "{message}");
    assert_eq!(names(&place), before);
    let question = [
        "generate", "--model", "run", "--device", "cpu", "--prompt", "hi",
    ];
    place.aki(&question).good();
    flip(&place, "step-000006/model.bpk");
    let message = place.aki(&question).refused();
    let told = format!("error: checkpoint {STAGE}/step-000006 cannot be used: model.bpk has the ");
    assert!(message.starts_with(&told), "{message}");
}

#[test]
fn the_newest_and_the_best_are_kept() {
    let place = Workplace::new();
    let settings = [
        "stage.captions.steps=0",
        "stage.questions.steps=12",
        "stage.questions.evaluate_every=2",
        "stage.questions.checkpoint_every=1",
        "stage.questions.optimizer.lr=0.05",
        "training.keep_last=1",
        "training.keep_best=2",
    ];
    place.train(&settings).good();
    let mut losses: Vec<(f64, usize)> = Vec::new();
    for line in place
        .metrics("run")
        .iter()
        .filter(|line| line.split == "valid")
    {
        losses.push((line.loss, line.step));
    }
    assert_eq!(losses.len(), 6);
    losses.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut kept = vec![losses[0].1, losses[1].1, 12];
    kept.sort_unstable();
    kept.dedup();
    assert_eq!(place.checkpoints("run", "questions"), kept);
}

/// A file size limit stands in for a full disk: the system refuses writes beyond it just so.
#[test]
#[cfg(unix)]
fn a_full_disk_is_told_and_costs_nothing_but_the_steps_since() {
    let place = Workplace::new();
    let whole = whole(&place, &LONG);
    let mut running = place.start(&LONG);
    running.until(|| !place.checkpoints("run", "questions").is_empty());
    running.kill();
    let before = names(&place);
    let newest = place
        .checkpoints("run", "questions")
        .last()
        .copied()
        .expect("one");

    // The optimizer's state alone is larger.
    let ended = place.train_limited(&LONG, 400 * 1024);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let errors: Vec<&str> = ended
        .stderr
        .lines()
        .filter(|line| line.starts_with("error: "))
        .collect();
    let [error] = errors[..] else {
        panic!("not one error in {}", ended.stderr);
    };
    let told = format!("error: cannot write checkpoint {STAGE}/step-");
    assert!(
        error.starts_with(&told) && error.contains("File too large (os error 27)"),
        "{error}"
    );
    let told = "; those before it are whole: mend that (is the disk full?), and the same command, without --fresh or --from, goes on from them";
    assert!(error.ends_with(told), "{error}");
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    let whole_before = before.iter().filter(|name| !name.contains('.'));
    let whole_before: Vec<_> = whole_before.cloned().collect();
    assert_eq!(names(&place), whole_before);

    let ended = place.train(&LONG).good();
    let told = format!("resuming run at step {newest} of stage questions\n");
    assert!(ended.stderr.contains(&told), "{}", ended.stderr);
    went_on_as_one(&place, &whole);
}

#[test]
#[cfg(unix)]
fn a_model_that_finds_no_room_is_told_and_written_later() {
    let place = Workplace::new();
    let whole = stopped_at_the_end(&place, &[]);
    let ended = place.train_limited(&[], 100 * 1024);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let told = "error: cannot write the finished model to run/model: File too large (os error 27); \
                the run's checkpoints are whole: mend that (is the disk full?), and the same \
                command, without --fresh or --from, writes it without training again";
    assert_eq!(ended.stderr.lines().last(), Some(told), "{}", ended.stderr);
    assert_eq!(place.checkpoints("run", "questions"), [4, 6]);
    let left = fs::read_dir(place.path("run/model")).expect("a folder");
    let mut left = left.map(|entry| entry.expect("an entry").file_name());
    assert!(!left.any(|name| name.to_string_lossy().contains("safetensors")));
    place.train(&[]).good();
    assert!(place.weights("run") == whole);
}
