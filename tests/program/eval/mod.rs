//! `aki eval` of published benchmarks, on files in their formats with pictures of our own.

mod compare;
mod judge;
mod refusals;
mod resume;

use std::path::Path;

use serde_json::Value;

use crate::support::{Ended, Workplace, command, finish, repository, text};

/// The folder with the benchmarks' files.
pub fn data() -> String {
    text(&repository().join("tests/fixtures/benchmarks"))
}

/// A tiny model in `run`.
pub fn trained() -> Workplace {
    let place = Workplace::new();
    place.train(&[]).good();
    place
}

/// What is typed to measure the model in `run` on the CPU.
pub fn arguments<'a>(names: &[&'a str], data: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let common = ["--model", "run", "--device", "cpu", "--data", data];
    [&["eval"], names, &common, more].concat()
}

/// Measures it.
pub fn eval(place: &Workplace, names: &[&str], more: &[&str]) -> Ended {
    place.aki(&arguments(names, &data(), more))
}

/// Measures it on easy-VQA, which is found from the repository, writing to a folder of the place.
pub fn eval_easy_vqa(place: &Workplace, limit: &str, out: Option<&str>) -> Ended {
    let mut command = command(&repository());
    command.args(["eval", "easy-vqa", "--device", "cpu", "--json"]);
    command.args(["--limit", limit, "--model", &text(&place.path("run"))]);
    if let Some(out) = out {
        command.args(["--out", &text(&place.path(out))]);
    }
    finish(command, "")
}

/// The lines of a file of answers.
#[track_caller]
pub fn rows(folder: &Path, benchmark: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join(format!("{benchmark}.jsonl")));
    let text = text.expect("answers");
    text.lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect()
}

/// What was answered to each question, in order.
pub fn answers(folder: &Path, benchmark: &str) -> Vec<(String, String)> {
    let word = |row: &Value, name: &str| row[name].as_str().expect("a text").to_owned();
    let rows = rows(folder, benchmark);
    rows.iter()
        .map(|row| (word(row, "id"), word(row, "answer")))
        .collect()
}

#[track_caller]
pub fn json(path: &Path) -> Value {
    let bytes = std::fs::read(path).expect("a file");
    serde_json::from_slice(&bytes).expect("JSON")
}

const NAMES: [&str; 10] = [
    "mme",
    "mmbench",
    "seed-i",
    "llava-w",
    "mmmu",
    "mathvista",
    "pope",
    "mm-vet",
    "realworldqa",
    "cv-bench",
];

#[test]
fn all_are_asked_and_neither_batches_nor_devices_change_an_answer() {
    let place = trained();
    let ended = eval(&place, &["all"], &["--batch", "1", "--out", "one"]).good();
    let told = &ended.stdout;
    assert_eq!(
        told.matches("needs a judge (--judge URL").count(),
        3,
        "{told}"
    );
    assert!(told.contains("| AKI-4B "), "{told}");
    assert!(told.contains("| **run** "), "{told}");
    assert!(ended.stderr.contains("written to one"), "{}", ended.stderr);
    let folder = data();
    let several = ["--batch", "4", "--out", "two", "--json"];
    let mut args = arguments(&["all"], &folder, &several);
    let device = args.iter().position(|it| *it == "cpu").expect("a device");
    args[device] = "cpu,cpu";
    let lines = place.aki(&args).good().stdout;
    let objects = lines
        .lines()
        .map(|it| serde_json::from_str(it).expect("JSON"));
    let objects: Vec<Value> = objects.collect();
    let (one, two) = (place.path("one"), place.path("two"));
    let scores = [&one, &two].map(|it| json(&it.join("scores.json")));
    for (name, object) in NAMES.iter().zip(&objects) {
        assert_eq!(object["benchmark"], **name);
        assert_eq!(object["columns"], scores[0][name]["columns"], "{name}");
        assert_eq!(object["intervals"], scores[0][name]["intervals"], "{name}");
        assert_eq!(scores[0][name]["columns"], scores[1][name]["columns"]);
        assert_eq!(object["errors"], 0, "{object}");
        assert_eq!(answers(&one, name), answers(&two, name), "{name}");
    }
    for name in ["llava-w", "mm-vet"] {
        assert!(scores[0][name]["columns"][0][1].is_null(), "{name}");
    }
    let csv = std::fs::read_to_string(one.join("cv_bench_results.csv")).expect("a table");
    let asked = scores[0]["cv-bench"]["asked"].as_u64().expect("a count");
    assert!(csv.lines().count() as u64 > asked);
    assert!(one.join("cv_bench_results.txt").exists());
}

#[test]
fn the_kits_prompts_are_others_and_are_said() {
    let place = trained();
    let limit = ["--limit", "2"];
    eval(&place, &["realworldqa"], &limit).good();
    let kit = [&limit[..], &["--prompt", "vlmevalkit"]].concat();
    let ended = eval(&place, &["realworldqa"], &kit).good();
    assert!(
        ended.stdout.contains("prompt vlmevalkit"),
        "{}",
        ended.stdout
    );
    let meta = |folder: &str| json(&place.path(folder).join("realworldqa.meta.json"));
    let (own, kit) = (meta("run/eval"), meta("run/eval-vlmevalkit"));
    assert_eq!([&own["prompt"], &kit["prompt"]], ["aki", "vlmevalkit"]);
}

#[test]
fn what_cannot_be_asked_is_told_and_counts_as_wrong() {
    let place = trained();
    let folder = place.path("data");
    std::fs::create_dir(&folder).expect("a folder");
    let tsv = repository().join("tests/fixtures/benchmarks/SEEDBench_IMG.tsv");
    let tsv = std::fs::read_to_string(tsv).expect("a file");
    let (head, rows) = tsv.split_once('\n').expect("rows");
    let mut lines: Vec<String> = rows.lines().map(str::to_owned).collect();
    let cells: Vec<&str> = lines[0].split('\t').collect();
    // Base64 of no picture.
    let damaged = cells[1].replace(['/', '9'], "A");
    lines[0] = lines[0].replace(cells[1], &damaged);
    let tsv = format!("{head}\n{}\n", lines.join("\n"));
    std::fs::write(folder.join("SEEDBench_IMG.tsv"), tsv).expect("a file");
    let folder = text(&folder);
    let ended = place
        .aki(&arguments(&["seed-i"], &folder, &["--out", "out"]))
        .good();
    assert!(
        ended.stdout.contains("questions could not be asked"),
        "{}",
        ended.stdout
    );
    let damaged = rows_with_errors(&place, "out", "seed-i");
    assert!(damaged[0].contains("cannot decode picture"), "{damaged:?}");

    let path = place.path("run/model/lang_model/config.json");
    let mut config = json(&path);
    config["max_position_embeddings"] = 24.into();
    std::fs::write(&path, config.to_string()).expect("a file");
    let ended = eval(&place, &["realworldqa"], &["--out", "short"]).good();
    let too_long = rows_with_errors(&place, "short", "realworldqa");
    assert_eq!(too_long.len(), 2);
    assert!(
        too_long[0].contains("and the model takes 24"),
        "{too_long:?}"
    );
    let scores = json(&place.path("short/scores.json"));
    assert_eq!(
        scores["realworldqa"]["columns"][0][1], 0.0,
        "{}",
        ended.stdout
    );
}

fn rows_with_errors(place: &Workplace, out: &str, benchmark: &str) -> Vec<String> {
    let rows = rows(&place.path(out), benchmark);
    let errors = rows.iter().filter_map(|row| {
        let error = row["error"].as_str()?;
        assert!(row["answer"].is_null(), "{row}");
        assert_eq!(row["mark"]["value"], 0.0, "{row}");
        Some(error.to_owned())
    });
    errors.collect()
}

#[test]
fn they_are_listed() {
    let list = Workplace::new().aki(&["eval", "--list"]).good().stdout;
    for name in NAMES.iter().chain(&["easy-vqa", "DOT", "AKI-4B"]) {
        assert!(list.contains(name), "{name}: {list}");
    }
    assert_eq!(list.matches("needs a judge").count(), 3, "{list}");
    let objects = Workplace::new().aki(&["eval", "--list", "--json"]).good();
    assert_eq!(objects.stdout.lines().count(), NAMES.len());
}
