//! `aki data check`.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::{Run, SOURCES, run_file, stage};
use crate::support::{Workplace, asset};

#[test]
fn everything_is_counted() {
    let run = Run::new();
    let args = [
        "data",
        "check",
        "run.toml",
        "--set",
        "stage.tuning.max_text_len=49",
    ];
    let ended = run.place.aki(&args);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert_eq!(ended.stderr, "");
    insta::assert_snapshot!(run.place.without_path(&ended.stdout), @r#"
    stage tuning: batches of 2, texts of at most 49 tokens, packed into rows of 256 tokens

    vqa (vqa)
      samples     4: 1 good, 3 broken
      broken      1 broken picture; the first is "13" in [folder]/annotations.json: cannot decode picture [folder]/images/COCO_train2014_000000000004.jpg: it is cut off: its end marker is missing; is it a PNG, JPEG, WebP, GIF, BMP or TIFF, and whole?
      broken      1 missing picture; the first is "12" in [folder]/annotations.json: the picture [folder]/images/COCO_train2014_000000000003.jpg cannot be read: No such file or directory (os error 2)
      broken      1 nothing to learn; the first is "10" in [folder]/annotations.json: within the limit of its length there is nothing to learn; raise max_text_len
      left out    1: question and answer are not both there; the first is "14"
      pictures    1 in 1 sample
      text tokens 50 to 50, mean 50.0, median 50, 95 % up to 50
                      <= 64      1 ████████████████████████████████████████
      longer      1 than 49 tokens, and cut
      places      64 to 64, mean 64.0, median 64, 95 % up to 64
      padding     0.0 % in batches of 2; 0.0 % packed into rows of 256

    own (jsonl)
      samples     2: 2 good, 0 broken
      left out    1: it is not JSON; the first is "2"
      pictures    0 in 1 sample, 2 in 1 sample
      text tokens 32 to 44, mean 38.0, median 32, 95 % up to 44
                      <= 32      1 ████████████████████████████████████████
                      <= 64      1 ████████████████████████████████████████
      longer      0 than 49 tokens, and cut
      places      44 to 62, mean 53.0, median 44, 95 % up to 62
      padding     7.8 % in batches of 2; 9.7 % packed into rows of 256

    txt (webdataset, valid)
      shards      1
      samples     3: 2 good, 1 broken
      broken      1 no picture; the first is "2" in [folder]/captions.tar: no picture: a .jpg, .png, .webp, .gif, .bmp or .tif member
      pictures    1 in 2 samples
      text tokens 7 to 21, mean 14.0, median 7, 95 % up to 21
                       <= 8      1 ████████████████████████████████████████
                      <= 16      0
                      <= 32      1 ████████████████████████████████████████
      longer      0 than 49 tokens, and cut
      places      22 to 36, mean 29.0, median 22, 95 % up to 36
      padding     10.8 % in batches of 2

    padding of all in stage tuning: 6.2 % in batches of 2; 4.6 % packed into rows of 256
    bad: 4 of 5 samples of vqa are broken, more than the share of 0.01 that data.max_bad_share allows
    bad: 1 of 3 samples of own are broken, more than the share of 0.01 that data.max_bad_share allows
    bad: 1 of 3 samples of txt are broken, more than the share of 0.01 that data.max_bad_share allows
    "#);

    let args = [
        "data",
        "check",
        "run.toml",
        "--json",
        "--set",
        "data.max_bad_share=0.6",
    ];
    for more in [
        &[][..],
        &["--set", "data.workers=1"],
        &["--no-decode", "--set", "data.workers=3"],
    ] {
        let ended = run.place.aki(&[&args[..], more].concat()).good();
        let report: Value = serde_json::from_str(&ended.stdout).expect("JSON");
        assert_eq!(report["good"], true);
        let sources = report["sources"].as_array().expect("a list");
        let count = |source: &Value| ["samples", "good"].map(|key| source[key].as_u64());
        let counts: Vec<_> = sources.iter().map(count).collect();
        assert_eq!(
            counts,
            [[Some(4), Some(2)], [Some(2), Some(2)], [Some(3), Some(2)]]
        );
        let vqa = &sources[0];
        assert_eq!(vqa["broken"]["missing picture"]["count"], 1);
        assert_eq!(vqa["broken"]["missing picture"]["key"], "12");
        assert_eq!(vqa["broken"]["broken picture"]["key"], "13");
        assert_eq!(vqa["left_out"][0]["key"], "14");
        assert_eq!(sources[1]["pictures"], serde_json::json!({"0": 1, "2": 1}));
        assert_eq!(sources[2]["shards"], 1);
        assert_eq!(sources[2]["broken"]["no picture"]["key"], "2");
    }
}

#[test]
fn declared_samples_and_limits_are_compared() {
    let run = Run::new();
    fs::write(run.place.path("sizes.json"), r#"{"captions.tar": 4}"#).expect("a file");
    let args = ["data", "check", "run.toml", "--source", "txt", "--json"];
    let ended = run
        .place
        .aki(&[&args[..], &["--set", "data.max_bad_share=0.4"]].concat())
        .good();
    let report: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    let source = &report["sources"][0];
    assert_eq!(
        (source["declared"].as_u64(), source["samples"].as_u64()),
        (Some(4), Some(3))
    );
    assert_eq!(report["sources"].as_array().map(Vec::len), Some(1));
    let ended = run.place.aki(&args);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);

    // A text of 30 tokens fits no row of 40: the picture takes 16.
    let args = ["data", "check", "run.toml", "--source", "own", "--json"];
    let packing = ["--set", "stage.tuning.packing=40"];
    let ended = run.place.aki(&[&args[..], &packing].concat());
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let report: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!(report["sources"][0]["broken"]["too long"]["key"], "two");
}

#[test]
fn mistakes_in_a_data_command_are_told() {
    let run = Run::new();
    let refused = |args: &[&str]| {
        let message = run.place.aki(&[&["data"], args].concat()).refused();
        run.place.without_path(&message)
    };
    let message = refused(&["preview", "run.toml", "--source", "vqs"]);
    insta::assert_snapshot!(message, @r#"error: there is no source "vqs"; did you mean "vqa"? (there are: vqa, own, txt)"#);
    let message = refused(&[
        "check", "run.toml", "--source", "vqa", "--source", "captions",
    ]);
    insta::assert_snapshot!(message, @r#"error: there is no source "captions" (there are: vqa, own, txt)"#);
    let message = refused(&["check", "run.toml", "--stage", "tunning"]);
    insta::assert_snapshot!(message, @r#"error: there is no stage "tunning"; did you mean "tuning"? (there are: tuning)"#);
    let message = refused(&["check", &asset("configs/easy-vqa.toml")]);
    insta::assert_snapshot!(message, @"error: stage questions learns from data.train, which `aki train` reads whole before it begins, and from no [[data.source]]: there is nothing to check");
    let message = refused(&["check", "run.toml", "--limit", "3"]);
    assert!(
        message.contains("unexpected argument '--limit'"),
        "{message}"
    );

    let wrong = SOURCES.replace("annotations = \"own", "anotations = \"own");
    fs::write(
        run.place.path("wrong.toml"),
        run_file(&wrong, &stage("tuning")),
    )
    .expect("a file");
    insta::assert_snapshot!(refused(&["preview", "wrong.toml"]), @r#"error: unknown key "data.source.own.anotations" in wrong.toml line 19; did you mean "annotations"?"#);
    let stages = stage("first") + &stage("second");
    fs::write(run.place.path("two.toml"), run_file(SOURCES, &stages)).expect("a file");
    insta::assert_snapshot!(refused(&["preview", "two.toml"]), @"error: several stages learn from sources, and texts may differ in length; choose one with --stage: first, second");
    fs::remove_dir_all(run.place.path("images")).expect("a folder");
    insta::assert_snapshot!(refused(&["check", "run.toml"]), @"error: cannot use data source vqa: there is no folder [folder]/images");
    assert!(
        !run.place
            .names()
            .iter()
            .any(|name| Path::new(name).starts_with("run"))
    );
}

/// Standard input is a shard that never ends here.
#[cfg(target_os = "linux")]
#[test]
fn a_check_is_stopped_by_ctrl_c() {
    let place = Workplace::new();
    let sources = "[[data.source]]\nkind = \"webdataset\"\ncaption = \"txt\"\nshards = \"-\"\n";
    fs::write(place.path("run.toml"), run_file(sources, &stage("tuning"))).expect("a file");
    let mut running = place.start_waiting(&["data", "check", "run.toml"]);
    let status = format!("/proc/{}/status", running.id());
    // Bit 1 of the signals that are caught is that of signal 2.
    let caught = || {
        let status = fs::read_to_string(&status).unwrap_or_default();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let caught = caught.and_then(|caught| u64::from_str_radix(caught.trim(), 16).ok());
        caught.is_some_and(|caught| caught & 2 != 0)
    };
    running.until(caught);
    let ended = running.interrupt();
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
    assert_eq!(ended.stdout, "");
}
