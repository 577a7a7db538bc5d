//! `aki train`: what a run leaves behind, and that it is the same each time.

use std::fs;

use serde_json::Value;

use crate::support::{Line, Workplace, asset, contents, finish, points};

/// A JSON file of the folder `run`.
fn json(place: &Workplace, name: &str) -> Value {
    let text = fs::read_to_string(place.path("run").join(name)).expect(name);
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn a_run_keeps_its_settings_and_its_curves() {
    let place = Workplace::new();
    place.train(&[]).good();
    let run = place.path("run");

    let config = fs::read_to_string(run.join("config.toml")).expect("a run file");
    let config: toml::Table = config.parse().expect("TOML");
    assert_eq!(config["seed"].as_integer(), Some(1));
    assert_eq!(config["data"]["valid_samples"].as_integer(), Some(8));

    let lines = place.metrics("run");
    let found: Vec<_> = lines.iter().map(Line::point).collect();
    assert_eq!(
        found,
        [points("captions", 6, 3), points("questions", 6, 3)].concat()
    );
    for line in &lines {
        assert!(line.loss.is_finite() && line.loss > 0.0, "{line:?}");
        assert!(line.seconds > 0.0, "{line:?}");
        if line.split == "train" {
            assert!(line.lr.is_some_and(|lr| lr > 0.0 && lr <= 1.0), "{line:?}");
            assert!(
                line.samples_per_second.is_some_and(|speed| speed > 0.0),
                "{line:?}"
            );
            assert_eq!(line.accuracy, None);
        } else {
            assert!(
                line.accuracy
                    .is_some_and(|share| (0.0..=1.0).contains(&share)),
                "{line:?}"
            );
            assert_eq!(line.lr, None);
        }
    }
    let in_order = lines
        .windows(2)
        .all(|pair| pair[0].seconds <= pair[1].seconds);
    assert!(in_order, "time does not go back");

    let names = place.names();
    let events = names
        .iter()
        .filter(|name| name.starts_with("run/events.out.tfevents."));
    assert!(events.count() >= 1, "{names:?}");
    let svg = fs::read_to_string(run.join("curves.svg")).expect("curves");
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
    let png = fs::read(run.join("curves.png")).expect("curves");
    assert!(png.starts_with(b"\x89PNG"));
    let csv = fs::read_to_string(run.join("metrics.csv")).expect("a table");
    assert_eq!(csv.lines().count(), lines.len() + 1);
    assert!(csv.starts_with("stage,step,split,loss,"), "{csv}");
    let torn = names.iter().filter(|name| name.contains("tmp"));
    assert_eq!(torn.count(), 0, "{names:?}");
}

#[test]
fn each_step_says_what_it_took() {
    let place = Workplace::new();
    place.train(&["stage.questions.steps=0"]).good();
    let first = place.metrics("run");
    let steps = first.iter().filter(|line| line.split == "train");
    for line in steps.clone() {
        let speed = line.tokens_per_second.expect("a speed");
        assert!(speed > 0.0 && speed.is_finite(), "{line:?}");
        // The time of a step of four pictures, which the run was longer than.
        let seconds = 4.0 / line.samples_per_second.expect("a speed");
        assert!(seconds > 1e-6 && seconds < line.seconds, "{line:?}");
        let norm = line.grad_norm.expect("a norm");
        assert!(norm > 0.0 && norm.is_finite(), "{line:?}");
        let wait = line.data_wait.expect("a wait");
        assert!((0.0..=1.0).contains(&wait), "{line:?}");
        if cfg!(target_os = "linux") {
            assert!(line.memory.is_some_and(|bytes| bytes > 1 << 20), "{line:?}");
        }
        // Nobody said what the machine computes at best.
        assert_eq!(line.mfu, None);
    }
    assert_eq!(steps.count(), 6);
    let valid = first
        .iter()
        .find(|line| line.split == "valid")
        .expect("measured");
    assert_eq!((valid.tokens_per_second, valid.data_wait), (None, None));

    let mut command = place.training(&["stage.questions.steps=0", "run_dir=other"]);
    command.args(["--tflops", "0.5"]);
    finish(command, "").good();
    let lines = place.metrics("other");
    let mut steps = lines.iter().filter(|line| line.split == "train");
    assert!(
        steps.all(|line| line.mfu.is_some_and(|mfu| mfu > 0.0 && mfu < 1.0)),
        "{lines:?}"
    );
}

#[test]
fn a_run_ends_with_a_report() {
    let place = Workplace::new();
    let ended = place.train(&[]).good();
    let run = place.path("run");

    let report = fs::read_to_string(run.join("report.md")).expect("a report");
    let head = "| question | asked | majority | untrained | trained |\n|---|---:|---:|---:|---:|\n";
    let table = report.find(head).expect("the table");
    let table = report[table..].split("\n\n").next().expect("a paragraph");
    assert!(table.contains("\n| **all**  |    81 |"), "{table}");
    assert!(ended.stdout.contains(table), "{}", ended.stdout);
    assert!(report.contains("![curves](curves.svg)"), "{report}");

    let json = json(&place, "report.json");
    assert_eq!(json["device"], "cpu");
    assert_eq!(json["stages"].as_array().map(Vec::len), Some(2));
    let last = &json["stages"][1];
    assert_eq!(
        (&last["name"], &last["steps"]),
        (&"questions".into(), &6.into())
    );
    let kinds: Vec<_> = json["trained"]["kinds"]
        .as_object()
        .expect("kinds")
        .keys()
        .collect();
    assert_eq!(kinds, ["color", "shape", "yes/no"]);
    let examples = json["examples"].as_array().expect("examples");
    assert_eq!(examples.len(), 2);
    for example in examples {
        let name = example["picture"].as_str().expect("a path");
        let picture = image::open(run.join(name)).expect("a picture");
        assert_eq!((picture.width(), picture.height()), (64, 64));
        assert!(report.contains(&format!("![]({name})")), "{report}");
    }
}

#[test]
fn a_run_leaves_a_model() {
    let place = Workplace::new();
    place.train(&[]).good();
    let tokenizer = json(&place, "model/tokenizer.json");
    let shipped = fs::read(asset("easy-vqa/tokenizer.json")).expect("the shipped tokenizer");
    let shipped: Value = serde_json::from_slice(&shipped).expect("JSON");
    // Not the whole: a failure would print it.
    for part in ["added_tokens", "normalizer", "pre_tokenizer"] {
        assert_eq!(tokenizer[part], shipped[part]);
    }
    assert!(tokenizer["model"]["vocab"] == shipped["model"]["vocab"]);
    assert!(tokenizer["model"]["merges"] == shipped["model"]["merges"]);
    let config = json(&place, "model/config.json");
    assert_eq!(config["num_vision_tokens"], 4);
    // What the published file takes for granted is not said.
    assert_eq!(config["attention"], Value::Null);
    let weights = place.weights("run");
    let header = u64::from_le_bytes(*weights.first_chunk().expect("a length"));
    let header: Value = serde_json::from_slice(&weights[8..8 + header as usize]).expect("a header");
    assert!(
        header.as_object().is_some_and(|names| names.len() > 20),
        "{header}"
    );
}

#[test]
fn progress_is_told_where_there_is_no_terminal() {
    let place = Workplace::new();
    let stderr = place.train(&[]).good().stderr;
    let done: Vec<&str> = stderr
        .lines()
        .filter_map(|line| line.split_once(" pictures, loss "))
        .map(|(done, _)| done)
        .collect();
    // Four pictures a step.
    let expected = ["captions: 12 of 24", "captions: 24 of 24"];
    assert_eq!(done[..2], expected, "{stderr}");
    let expected = ["questions: 12 of 24", "questions: 24 of 24"];
    assert_eq!(done[2..], expected, "{stderr}");
}

#[test]
#[cfg(unix)]
fn the_weights_are_as_readable_as_the_other_files() {
    use std::os::unix::fs::PermissionsExt;
    let place = Workplace::new();
    place.train(&[]).good();
    let mode = |name: &str| {
        let metadata = fs::metadata(place.path("run/model").join(name));
        format!("{:o}", metadata.expect("a file").permissions().mode())
    };
    assert_eq!(mode("model.safetensors"), mode("config.json"));
}

#[test]
fn a_seed_gives_one_model() {
    let place = Workplace::new();
    place.train(&["run_dir=first"]).good();
    place.train(&["run_dir=second"]).good();
    place.train(&["run_dir=other", "seed=2"]).good();
    assert!(place.weights("first") == place.weights("second"));
    assert!(place.weights("first") != place.weights("other"));
}

#[test]
fn a_complete_run_is_left_as_it_is() {
    let place = Workplace::new();
    let first = place.train(&[]).good();
    let before = contents(&place.path("run"));
    let second = place.train(&[]).good();
    assert!(
        second.stderr.contains("this run is complete"),
        "{}",
        second.stderr
    );
    assert!(
        second.stderr.contains("--fresh trains anew"),
        "{}",
        second.stderr
    );
    assert_eq!(first.stdout, second.stdout);
    assert!(
        before == contents(&place.path("run")),
        "{:?}",
        place.names()
    );
}

#[test]
fn the_run_file_that_is_kept_is_the_same_run() {
    let place = Workplace::new();
    place.train(&[]).good();
    fs::copy(place.path("run/config.toml"), place.path("mine.toml")).expect("a copy");
    for file in ["run/config.toml", "mine.toml"] {
        let ended = place.aki(&["train", file, "--device", "cpu"]).good();
        let told = "this run is complete";
        assert!(ended.stderr.contains(told), "{file}: {}", ended.stderr);
    }
}

#[test]
fn a_stage_without_steps_is_left_out() {
    let place = Workplace::new();
    place.train(&["stage.captions.steps=0"]).good();
    let found: Vec<_> = place.metrics("run").iter().map(Line::point).collect();
    assert_eq!(found, points("questions", 6, 3));
    assert!(!place.path("run/checkpoints/captions").exists());
    let json = json(&place, "report.json");
    assert_eq!(json["stages"].as_array().map(Vec::len), Some(1));
    assert_eq!(json["stages"][0]["name"], "questions");
}

#[test]
fn without_any_step_the_fresh_network_is_measured() {
    let place = Workplace::new();
    place
        .train(&["stage.captions.steps=0", "stage.questions.steps=0"])
        .good();
    let json = json(&place, "report.json");
    assert_eq!(json["trained"], json["untrained"]);
    assert_eq!(json["stages"].as_array().map(Vec::len), Some(0));
}

/// Weights without end: JSON has no NaN, and a complete run stays one.
#[test]
fn a_run_that_diverges_ends_too() {
    let settings = [
        "stage.questions.optimizer.weight_decay=1e20",
        "stage.questions.optimizer.lr=1",
        "training.max_bad_steps=2",
    ];
    let place = Workplace::new();
    for _ in 0..2 {
        let ended = place.train(&settings);
        let told = "error: 2 steps in a row had no finite gradient, up to step ";
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        assert!(ended.stderr.contains(told), "{}", ended.stderr);
        let metrics = fs::read_to_string(place.path("run/metrics.jsonl")).expect("metrics");
        assert!(metrics.contains("\"loss\":null"), "{metrics}");
    }
}
