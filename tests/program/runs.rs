//! `aki runs`.

use std::fs;

use crate::support::Workplace;

/// Two runs in `runs`, of other seeds.
fn two() -> Workplace {
    let place = Workplace::new();
    place.train(&["run_dir=runs/one"]).good();
    let other = [
        "run_dir=runs/two",
        "seed=2",
        "stage.questions.optimizer.lr=1e-4",
    ];
    place.train(&other).good();
    place
}

fn listed(place: &Workplace) -> Vec<serde_json::Value> {
    let ended = place.aki(&["runs", "--json"]).good();
    assert_eq!(ended.stderr, "");
    serde_json::from_str(&ended.stdout).expect("JSON")
}

#[test]
fn runs_are_listed() {
    let place = two();
    fs::create_dir(place.path("runs/no-run")).expect("a folder");
    let runs = listed(&place);
    let names: Vec<_> = runs
        .iter()
        .map(|run| run["name"].as_str().expect("a name"))
        .collect();
    assert_eq!(names, ["one", "two"]);
    let metrics = place.metrics("runs/one");
    let valid = metrics
        .iter()
        .rfind(|line| line.split == "valid")
        .expect("it was measured");
    let run = &runs[0];
    assert_eq!(run["valid_loss"].as_f64(), Some(valid.loss));
    assert_eq!(run["accuracy"].as_f64(), valid.accuracy);
    assert_eq!(run["path"], "runs/one");
    assert_eq!(run["stage"], "questions");
    assert_eq!(
        (run["step"].as_u64(), run["steps"].as_u64()),
        (Some(6), Some(6))
    );
    // Measured at steps 3 and 6, with checkpoints at 4 and 6.
    assert_eq!(run["best"], "runs/one/checkpoints/questions/step-000006");
    assert_eq!(run["state"], "complete");
    let bytes: usize = crate::support::contents(&place.path("runs/one"))
        .values()
        .map(Vec::len)
        .sum();
    assert_eq!(run["bytes"].as_u64(), Some(bytes as u64));

    fs::remove_file(place.path("runs/one/report.json")).expect("a report");
    assert_eq!(listed(&place)[0]["state"], "stopped");
    let table = place.aki(&["runs"]).good().stdout;
    let lines: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split("  ").collect())
        .collect();
    assert_eq!(lines.len(), 3, "{table}");
    let words = |line: &str| {
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let head = words(table.lines().next().expect("a head"));
    assert_eq!(
        head.join(" "),
        "run state stage step loss valid loss accuracy best size"
    );
    let first = words(table.lines().nth(1).expect("a run"));
    assert_eq!(first[..6].join(" "), "one stopped questions 6 of 6");
    // A run's own folder is one run.
    let own = place.aki(&["runs", "runs/two"]).good().stdout;
    assert_eq!(own.lines().count(), 2, "{own}");
}

#[test]
fn a_run_that_cannot_be_read_hides_no_other() {
    let place = two();
    fs::write(place.path("runs/one/config.toml"), "seed = \"one\"").expect("a file");
    let ended = place.aki(&["runs"]).good();
    insta::assert_snapshot!(ended.stderr, @r#"warning: left out: bad value for "seed" in runs/one/config.toml line 1: expected a whole number, 0 or greater, found string "one""#);
    assert!(ended.stdout.contains("two"), "{}", ended.stdout);
    let message = place.aki(&["runs", "none"]).refused();
    insta::assert_snapshot!(message, @"error: cannot list none: No such file or directory (os error 2)");
    fs::create_dir(place.path("none")).expect("a folder");
    let ended = place.aki(&["runs", "none"]).good();
    assert_eq!(
        (ended.stdout.as_str(), ended.stderr.as_str()),
        ("", "there is no run in none\n")
    );
}

/// Logs and reports that are missing or broken, in a run that was trained.
#[test]
fn what_a_run_lacks_is_told() {
    let place = two();
    let (metrics, report) = (
        place.path("runs/one/metrics.jsonl"),
        place.path("runs/one/report.json"),
    );
    let compare = ["runs", "compare", "runs/one", "runs/two"];

    let lines = fs::read_to_string(&metrics).expect("metrics");
    fs::write(&metrics, lines.replacen('{', "", 1)).expect("metrics");
    let message = place.aki(&compare).refused();
    insta::assert_snapshot!(message, @r#"error: runs/one/metrics.jsonl line 1 is not a record of metrics (invalid type: string "stage", expected a JSON object at column 7); remove or mend the line"#);
    for args in [
        &["best", "runs/one"][..],
        &["prune", "runs/one", "--keep", "1"],
    ] {
        let other = place.aki(&[&["runs"][..], args].concat()).refused();
        assert_eq!(other, message);
    }
    let ended = place.aki(&["runs"]).good();
    assert!(
        ended
            .stderr
            .starts_with("warning: left out: runs/one/metrics.jsonl line 1 ")
    );

    fs::remove_file(&metrics).expect("metrics");
    let table = place.aki(&["runs"]).good().stdout;
    let words: Vec<&str> = table
        .lines()
        .nth(1)
        .expect("a run")
        .split_whitespace()
        .collect();
    assert_eq!(words[..7], ["one", "complete", "-", "-", "-", "-", "-"]);
    assert!(place.aki(&compare).good().stdout.contains("0 of 6"));
    let message = place.aki(&["runs", "best", "runs/one"]).refused();
    assert!(message.contains("has no checkpoint of a step that was measured"));

    let into = [&compare[..], &["--svg", "none/curves.svg"]].concat();
    insta::assert_snapshot!(place.aki(&into).refused(), @"error: cannot write none/curves.svg: No such file or directory (os error 2)");
    fs::write(&report, "{").expect("a report");
    insta::assert_snapshot!(place.aki(&compare).refused(), @"error: runs/one/report.json: EOF while parsing an object at line 1 column 1");
    fs::write(place.path("runs/one/config.toml"), "seed = ").expect("a file");
    insta::assert_snapshot!(place.aki(&compare).refused(), @"error: runs/one/config.toml line 1, column 8 is not TOML: string values must be quoted, expected literal string");
}

#[test]
fn runs_are_compared() {
    let place = two();
    let compare = [
        "runs",
        "compare",
        "runs/one",
        "runs/two",
        "--svg",
        "curves.svg",
    ];
    let table = place.aki(&compare).good().stdout;
    let (settings, results) = table.split_once("\n\n").expect("two tables");
    let squeezed = |text: &str| {
        let lines = text
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        lines.collect::<Vec<_>>()
    };
    let expected = [
        "setting runs/one runs/two",
        "seed 1 2",
        "stage.questions.optimizer.lr",
    ];
    let found = squeezed(settings);
    assert_eq!(found[..2], expected[..2]);
    assert!(
        found[2].starts_with(expected[2]) && found[2].ends_with(" 0.0001"),
        "{table}"
    );
    assert_eq!(found.len(), 3, "{table}");
    let results = squeezed(results);
    assert_eq!(results[0], "result runs/one runs/two");
    assert!(
        results.contains(&"questions: steps 6 of 6 6 of 6".to_owned()),
        "{table}"
    );
    let loss = results
        .iter()
        .find(|line| line.starts_with("questions: validation loss "));
    let metrics = place.metrics("runs/two");
    let last = metrics
        .iter()
        .rfind(|line| line.split == "valid")
        .expect("it was measured");
    assert!(
        loss.expect("a loss")
            .ends_with(&format!(" {:.4}", last.loss)),
        "{table}"
    );
    let svg = fs::read_to_string(place.path("curves.svg")).expect("a picture");
    assert!(svg.contains("runs/one") && svg.contains("runs/two"));

    let same = place
        .aki(&["runs", "compare", "runs/one", "runs/one"])
        .good()
        .stdout;
    assert!(same.starts_with("no setting differs\n"), "{same}");
    let message = place
        .aki(&["runs", "compare", "runs/one", "runs"])
        .refused();
    insta::assert_snapshot!(message, @"error: runs is no run's folder: it has no config.toml");
}

#[test]
fn the_best_checkpoint_is_found() {
    let place = Workplace::new();
    let settings = [
        "stage.questions.checkpoint_every=3",
        "stage.questions.optimizer.lr=0.05",
    ];
    place.train(&settings).good();
    let valid = place.metrics("run");
    let valid = valid
        .iter()
        .filter(|line| line.stage == "questions" && line.split == "valid");
    let best = valid
        .min_by(|a, b| a.loss.total_cmp(&b.loss))
        .expect("it was measured");
    let path = format!("run/checkpoints/questions/step-{:06}\n", best.step);
    assert_eq!(place.aki(&["runs", "best", "run"]).good().stdout, path);
    fs::remove_dir_all(place.path("run/checkpoints")).expect("checkpoints");
    let message = place.aki(&["runs", "best", "run"]).refused();
    insta::assert_snapshot!(message, @"error: run has no checkpoint of a step that was measured; let stage.NAME.checkpoint_every and evaluate_every meet");
}

#[test]
fn old_checkpoints_are_removed() {
    let place = Workplace::new();
    let settings = [
        "stage.captions.steps=0",
        "stage.questions.checkpoint_every=1",
        "training.keep_last=6",
    ];
    place.train(&settings).good();
    let stage = place.path("run/checkpoints/questions");
    fs::create_dir(stage.join("step-000005.damaged")).expect("a folder");
    let all = [1, 2, 3, 4, 5, 6];
    assert_eq!(place.checkpoints("run", "questions"), all);
    // So that 3 is the best.
    let metrics = place.path("run/metrics.jsonl");
    let lines = fs::read_to_string(&metrics).expect("metrics");
    let lines: Vec<String> = lines
        .lines()
        .map(
            |line| match line.contains("\"step\":3,\"split\":\"valid\"") {
                true => line.replacen("\"loss\":", "\"loss\":0.001,\"was\":", 1),
                false => line.to_owned(),
            },
        )
        .collect();
    fs::write(&metrics, lines.join("\n") + "\n").expect("metrics");

    let prune = ["runs", "prune", "run", "--keep", "2"];
    let dry = place.aki(&[&prune[..], &["--dry-run"]].concat()).good();
    assert_eq!(place.checkpoints("run", "questions"), all);
    assert!(
        dry.stderr.starts_with("4 would be removed, "),
        "{}",
        dry.stderr
    );
    let ended = place.aki(&prune).good();
    assert!(ended.stderr.starts_with("4 removed, "), "{}", ended.stderr);
    assert_eq!(dry.stdout, ended.stdout);
    assert!(
        ended.stdout.contains("step-000005.damaged"),
        "{}",
        ended.stdout
    );
    assert_eq!(place.checkpoints("run", "questions"), [3, 5, 6]);
    assert!(!stage.join("step-000005.damaged").exists());

    let none = ["runs", "prune", "run", "--keep", "0"];
    fs::rename(place.path("run/report.json"), place.path("report")).expect("a report");
    let message = place.aki(&none).refused();
    insta::assert_snapshot!(message, @"error: run is not complete, and could not go on without a checkpoint; keep one at least");
    fs::rename(place.path("report"), place.path("run/report.json")).expect("a report");
    place.aki(&none).good();
    assert_eq!(place.checkpoints("run", "questions"), [3]);
}

#[test]
fn a_running_run_is_told_and_left_alone() {
    let endless = ["stage.captions.steps=1000000", "run_dir=runs/one"];
    let place = Workplace::new();
    let mut running = place.start(&endless);
    running.until(|| !place.checkpoints("runs/one", "captions").is_empty());
    let runs = listed(&place);
    assert_eq!(runs[0]["state"], "running");
    assert_eq!(runs[0]["stage"], "captions");
    let message = place
        .aki(&["runs", "prune", "runs/one", "--keep", "1"])
        .refused();
    insta::assert_snapshot!(message, @"error: runs/one is in use by another process");
    running.kill();
    assert_eq!(listed(&place)[0]["state"], "stopped");
}
