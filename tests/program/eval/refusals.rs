//! Mistakes, each of which gives one message.

use super::{arguments, data, trained};
use crate::support::{Workplace, command, finish, text};

#[test]
fn names_folders_and_files_that_are_not_there_are_told() {
    let place = trained();
    let data = data();
    let refused = |args: &[&str]| place.without_path(&place.aki(args).refused());
    let message = refused(&arguments(&["mmbensch"], &data, &[]));
    assert!(
        message.contains("'mmbensch'") && message.contains("mmbench"),
        "{message}"
    );
    let message = refused(&["eval", "pope", "--model", "run"]);
    insta::assert_snapshot!(message, @"error: --data is missing: the folder with the file POPE.tsv");
    let message = refused(&arguments(&["pope"], "nowhere", &[]));
    assert!(
        message.contains("--data: there is no folder nowhere"),
        "{message}"
    );
    let message = refused(&arguments(&["all"], "run", &[]));
    assert!(
        message.contains("no benchmark's files are in --data: mme (MME.tsv)"),
        "{message}"
    );
    let message = refused(&[
        "eval", "pope", "--model", "nowhere", "--data", &data, "--device", "cpu",
    ]);
    assert!(
        message.contains("nowhere") && message.contains("no model is here"),
        "{message}"
    );
    let message = refused(&["eval", "--model", "run", "--data", &data]);
    assert!(message.contains("<NAME>..."), "{message}");
}

#[test]
fn half_a_judge_is_none() {
    let place = Workplace::new();
    let data = data();
    for (more, word) in [
        (&["--judge", "http://localhost:1"][..], "--judge-model"),
        (&["--judge-model", "gpt"], "--judge <URL>"),
        (
            &["--judge", "localhost", "--judge-model", "gpt"],
            "must be an address",
        ),
        (
            &[
                "--judge",
                "http://localhost:1",
                "--judge-model",
                "gpt",
                "--judge-price",
                "2.5",
            ],
            "two prices",
        ),
    ] {
        let message = place.aki(&arguments(&["mm-vet"], &data, more)).refused();
        assert!(message.contains(word), "{message}");
    }
}

#[test]
fn a_judge_that_cannot_be_asked_is_told_before_a_model_is_read() {
    let place = Workplace::new();
    let data = data();
    let refused = |url: &str| {
        let more = ["--judge", url, "--judge-model", "gpt"];
        let mut command = command(&place.path("."));
        command
            .args(arguments(&["mm-vet"], &data, &more))
            .env("AKI_JUDGE_KEY", "secret\nkey");
        finish(command, "").refused()
    };
    insta::assert_snapshot!(
        refused("http://127.0.0.1:99999/v1"),
        @"error: --judge must be an address as http://localhost:8000/v1: invalid port number"
    );
    insta::assert_snapshot!(
        refused("http://me:password@127.0.0.1/v1"),
        @"error: --judge must be an address as http://localhost:8000/v1: it must have no user and no password; a key is read from AKI_JUDGE_KEY"
    );
    insta::assert_snapshot!(
        refused("http://127.0.0.1/v1"),
        @"error: the key in AKI_JUDGE_KEY cannot be sent: it has a line break or a character beyond ASCII"
    );
}

#[test]
fn a_file_that_is_none_of_the_benchmarks_is_told() {
    let place = trained();
    std::fs::write(place.path("POPE.tsv"), "index\tquestion\n1\tis it?\n").expect("a file");
    let folder = text(&place.path("."));
    let message = place.aki(&arguments(&["pope"], &folder, &[])).refused();
    assert!(message.contains("POPE.tsv"), "{message}");
}
