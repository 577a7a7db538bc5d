//! `aki data pack-shards`.

use std::fmt::Write;
use std::fs;

use serde_json::Value;

use super::{Run, run_file, stage};

#[test]
fn data_of_which_too_much_cannot_be_packed() {
    let run = Run::new();
    let args = [
        "data",
        "pack-shards",
        "own.jsonl",
        "out",
        "--images",
        "images",
    ];
    let ended = run.place.aki(&[&args[..], &["--samples", "1"]].concat());
    // One of three lines is more than the tenth that may be unusable.
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    let message = run.place.without_path(ended.stderr.trim_end());
    insta::assert_snapshot!(message, @r#"error: 1 of 3 entries cannot be used (not JSON 1), more than the share of 0.1 allowed; the last was "2" in own.jsonl: its record cannot be used: it is not JSON; mend the data, or raise the share"#);
}

#[test]
fn own_data_are_packed_and_read_back() {
    let run = Run::new();
    let mut lines = String::new();
    for number in 0..20 {
        let image = if number == 7 { "b.png" } else { "a.png" };
        writeln!(
            lines,
            "{{\"image\": \"{image}\", \"caption\": \"circle {number}\"}}"
        )
        .expect("text");
    }
    fs::write(run.place.path("captions.jsonl"), lines).expect("a file");
    let args = [
        "data",
        "pack-shards",
        "captions.jsonl",
        "out",
        "--images",
        "images",
    ];
    let ended = run
        .place
        .aki(&[&args[..], &["--samples", "10"]].concat())
        .good();
    assert_eq!(ended.stderr, "");
    insta::assert_snapshot!(ended.stdout, @r#"
    19 samples of 20 in 2 shards, 0.0 MB, in out
    left out 1: missing picture; the first is number 8: the picture images/b.png cannot be read: No such file or directory (os error 2)
    "#);
    let sources = "[[data.source]]\nkind = \"webdataset\"\ncaption = \"txt\"\n\
                   shards = \"out/{00000..00001}.tar\"\n";
    fs::write(
        run.place.path("run.toml"),
        run_file(sources, &stage("tuning")),
    )
    .expect("a file");
    let ended = run
        .place
        .aki(&["data", "check", "run.toml", "--json"])
        .good();
    let report: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    let source = &report["sources"][0];
    let counts = ["shards", "declared", "good"].map(|key| source[key].as_u64());
    assert_eq!(counts, [Some(2), Some(19), Some(19)]);
    let (shown, _) = run.preview(&["--limit", "1"]);
    assert_eq!(
        shown[0]["text"],
        "<s><image> circle 0<|endofchunk|><|endoftext|>"
    );

    let message = run.place.aki(&args).refused();
    insta::assert_snapshot!(message, @"error: cannot pack shards: out: the folder is not empty; name a new one, or remove what is in it");
    let message = run
        .place
        .aki(&[&args[..4], &["--bytes", "5 apples"]].concat())
        .refused();
    assert!(
        message.contains("a whole number with its unit is expected, like 5GB or 500MB"),
        "{message}"
    );
}
