//! Mistakes: each is told in one message, and nothing is left half-done.

use std::fs;
use std::process::{Child, Stdio};

use crate::support::{self, Workplace, asset, contents, cut_in_half, text};

#[test]
fn a_wrong_flag() {
    let place = Workplace::new();
    let message = place.aki(&["train", "--sett", "seed=2"]).refused();
    insta::assert_snapshot!(message, @r#"
    error: unexpected argument '--sett' found

      tip: a similar argument exists: '--set'

    Usage: aki train --set <KEY=VALUE> [FILE]

    For more information, try '--help'.
    "#);
    let message = place.aki(&["trian"]).refused();
    insta::assert_snapshot!(message, @r#"
    error: unrecognized subcommand 'trian'

      tip: a similar subcommand exists: 'train'

    Usage: aki <COMMAND>

    For more information, try '--help'.
    "#);
    let message = place.aki(&["generate", "--prompt", "hi"]).refused();
    insta::assert_snapshot!(message, @r#"
    error: the following required arguments were not provided:
      --model <DIR>

    Usage: aki generate --model <DIR> --prompt <TEXT>

    For more information, try '--help'.
    "#);
    let message = place.aki(&["train", "--device", "gpu"]).refused();
    insta::assert_snapshot!(message, @r#"
    error: invalid value 'gpu' for '--device <DEVICE>': auto, cpu, wgpu, wgpu:0, cuda or cuda:0 is expected

    For more information, try '--help'.
    "#);
    assert!(place.names().is_empty());
}

#[test]
fn keys_that_no_run_has() {
    let place = Workplace::new();
    let message = place
        .train(&["sed=3", "stage.questions.optimizer.learning_rate=1"])
        .refused();
    insta::assert_snapshot!(message, @r#"
    error: unknown key "sed" in --set sed=3; did you mean "seed"?
    unknown key "stage.questions.optimizer.learning_rate" in --set stage.questions.optimizer.learning_rate=1; the keys here are "lr", "min_lr", "warmup_steps", "schedule", "weight_decay", "no_decay", "clip_norm", "rates"
    "#);
    let shipped = fs::read_to_string(asset("configs/easy-vqa.toml")).expect("the run file");
    let wrong = shipped.replacen("\nsteps = ", "\nstpes = ", 1);
    let line = wrong
        .lines()
        .position(|line| line.starts_with("stpes"))
        .expect("a line")
        + 1;
    fs::write(place.path("run.toml"), wrong).expect("a run file");
    for command in [&["train"][..], &["config", "show"]] {
        let message = place.aki(&[command, &["run.toml"]].concat()).refused();
        let message = message.replace(&format!("line {line};"), "line [n];");
        insta::allow_duplicates! { insta::assert_snapshot!(message, @r#"error: unknown key "stage.captions.stpes" in run.toml line [n]; did you mean "steps"?"#); }
    }
    assert_eq!(place.names(), ["run.toml"]);
}

#[test]
fn patterns_are_held_against_the_network_before_the_first_stage() {
    let place = Workplace::new();
    let message = place
        .train(&["stage.questions.freeze=['vision_encodr.*']"])
        .refused();
    insta::assert_snapshot!(message, @r#"error: stage.questions.freeze: "vision_encodr.*" fits no parameter; the nearest is vision_encoder.embeddings.patch_embedding.weight"#);
    let message = place.train(&["stage.questions.freeze=['*']"]).refused();
    insta::assert_snapshot!(message, @"error: stage.questions.freeze: leaves no parameter to train");
    assert!(!place.path("run").exists());
}

#[test]
fn values_that_make_no_sense() {
    let place = Workplace::new();
    let message = place.train(&["stage.questions.steps=-1"]).refused();
    insta::assert_snapshot!(message, @r#"error: bad value for "stage.questions.steps" in --set stage.questions.steps=-1: expected a whole number, 0 or greater, found integer `-1`"#);
    let message = place.train(&["stage.qestions.steps=1"]).refused();
    insta::assert_snapshot!(message, @r#"error: --set stage.qestions.steps=1: "stage" has no element "qestions"; its elements are "captions", "questions""#);
    let message = place.train(&["stage.questions.steps=1"]).refused();
    insta::assert_snapshot!(message, @"error: stage.questions.optimizer.warmup_steps: must be less than the stage's steps");
    let message = place
        .train(&["stage.questions.attention='bidirectional'"])
        .refused();
    insta::assert_snapshot!(message, @"error: stage.questions.attention: cannot be bidirectional: each token would see the one it has to predict");
    let rings = [
        "stage.questions.attention='cca'",
        "model.resampler.num_latents=8",
    ];
    let message = place.train(&rings).refused();
    insta::assert_snapshot!(message, @"error: stage.questions.attention: cca needs a square number of media tokens (model.resampler.num_latents)");
    let message = place.train(&["data.valid_samples=4000"]).refused();
    insta::assert_snapshot!(message, @"error: data.valid_samples: must be at least 1 and less than the 4000 samples");
    let message = place.train(&["model.language.vocab_size=10"]).refused();
    insta::assert_snapshot!(message, @"error: model.language: vocab_size 10 and added_tokens 2 do not fit the tokenizer, which has 427 ids and 2 added ones");
    assert!(place.names().is_empty(), "{:?}", place.names());
}

#[test]
fn a_run_file_that_is_not_there() {
    let place = Workplace::new();
    let message = place.aki(&["train", "nowhere.toml"]).refused();
    insta::assert_snapshot!(message, @"error: cannot read the run file nowhere.toml; check that it is there and is UTF-8 text: No such file or directory (os error 2)");
    assert!(place.names().is_empty());
}

/// Far from its repository the program says what it misses.
#[test]
#[cfg(unix)]
fn assets_that_are_not_there() {
    let place = Workplace::new();
    // Not `fs::copy`: a program that was started by another test just then would inherit the file,
    // and one that is open for writing cannot be run.
    let mut copy = std::process::Command::new("cp");
    copy.arg(env!("CARGO_BIN_EXE_aki")).arg(place.path("aki"));
    assert!(copy.status().expect("cp").success());
    let mut command = std::process::Command::new(place.path("aki"));
    command.current_dir(place.path("")).arg("train");
    insta::assert_snapshot!(support::finish(command, "").refused(), @"error: assets/configs/easy-vqa.toml is neither in this folder, nor above it, nor beside the program; run aki in its repository, or name the file");
    assert_eq!(place.names(), ["aki"]);
}

#[test]
fn a_model_folder_that_is_none() {
    let place = Workplace::new();
    let question = |model| {
        [
            "generate", "--model", model, "--device", "cpu", "--prompt", "hi",
        ]
    };
    let message = place.aki(&question("nowhere")).refused();
    insta::assert_snapshot!(message, @"error: nowhere: no model is here: neither config.json nor model/config.json");
    fs::create_dir(place.path("empty")).expect("a folder");
    let message = place.aki(&question("empty")).refused();
    insta::assert_snapshot!(message, @"error: empty: no model is here: neither config.json nor model/config.json");
    fs::write(place.path("empty/config.json"), "{\"model\": 3}").expect("a file");
    let message = place.aki(&question("empty")).refused();
    insta::assert_snapshot!(message, @"error: empty/config.json: missing field `initial_tokenizer_len` at line 1 column 12");
    assert_eq!(place.names(), ["empty/config.json"]);
}

#[test]
fn a_picture_that_is_none() {
    let place = Workplace::new();
    fs::write(place.path("notes.png"), "no picture at all").expect("a file");
    let question = |picture| {
        [
            "generate", "--model", "nowhere", "--prompt", "hi", "--image", picture,
        ]
    };
    let message = place.aki(&question("notes.png")).refused();
    insta::assert_snapshot!(message, @"error: cannot decode picture notes.png: The image format could not be determined; is it a PNG, JPEG, WebP, GIF, BMP or TIFF, and whole?");
    let message = place.aki(&question("missing.png")).refused();
    insta::assert_snapshot!(message, @"error: cannot read missing.png: No such file or directory (os error 2)");
}

#[test]
fn weights_that_are_cut_in_half() {
    let place = Workplace::new();
    place.train(&[]).good();
    cut_in_half(&place.path("run/model/model.safetensors"));
    let before = contents(&place.path("run"));
    let question = [
        "generate", "--model", "run", "--device", "cpu", "--prompt", "hi",
    ];
    let message = place.aki(&question).refused();
    let told = "error: run/model/model.safetensors: ";
    assert!(
        message.starts_with(told) && message.lines().count() == 1,
        "{message}"
    );
    insta::assert_snapshot!(message, @"error: run/model/model.safetensors: no safetensors file, or damaged: incomplete metadata, file not fully covered; copy or download it again");
    assert!(before == contents(&place.path("run")));
}

#[test]
fn weights_of_another_model() {
    let place = Workplace::new();
    place.train(&["stage.questions.steps=0"]).good();
    place
        .train(&[
            "stage.questions.steps=0",
            "run_dir=wide",
            "model.language.intermediate_size=96",
        ])
        .good();
    let weights = "model/model.safetensors";
    fs::copy(
        place.path("wide").join(weights),
        place.path("run").join(weights),
    )
    .expect("weights");
    let question = [
        "generate", "--model", "run", "--device", "cpu", "--prompt", "hi",
    ];
    let message = place.aki(&question).refused();
    insta::assert_snapshot!(message, @"error: run/model/model.safetensors: these weights are not this model's: 2 misshapen (lang_model.model.layers.0.mlp.gate_up_proj.weight: [192, 32], not [128, 32], lang_model.model.layers.0.mlp.down_proj.weight: [32, 96], not [32, 64])");
}

#[test]
fn a_shard_that_is_cut_off() {
    let place = Workplace::new();
    let cut = place.path("cut.tar");
    fs::copy(asset("easy-vqa/test.tar"), &cut).expect("a copy of the shard");
    cut_in_half(&cut);
    let message = place
        .train(&[&format!("data.test=[{:?}]", text(&cut))])
        .refused();
    insta::assert_snapshot!(place.without_path(&message), @"error: damaged tar shard [folder]/cut.tar (last good sample: 00497): the blocks of zeros that end an archive are missing; copy or download it again");
    let missing = text(&place.path("missing.tar"));
    let message = place
        .train(&[&format!("data.train=[{missing:?}]")])
        .refused();
    insta::assert_snapshot!(place.without_path(&message), @"error: cannot read [folder]/missing.tar: No such file or directory (os error 2)");
    assert_eq!(place.names(), ["cut.tar"]);
}

#[test]
fn a_shard_of_which_too_much_is_broken() {
    let place = Workplace::new();
    let shard = fs::read(asset("easy-vqa/test.tar")).expect("a shard");
    let mut left = 15;
    let broken: Vec<u8> = (0..shard.len())
        .map(|at| {
            let breaks = left > 0 && shard[at..].starts_with(b"{\"conversations\"");
            left -= usize::from(breaks);
            if breaks { b'?' } else { shard[at] }
        })
        .collect();
    fs::write(place.path("broken.tar"), broken).expect("a shard");
    let test = format!("data.test=[{:?}]", text(&place.path("broken.tar")));
    let ended = place.train(&[&test]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let told = "15 of 1000 samples of data.test cannot be used";
    assert!(ended.stderr.contains(told), "{}", ended.stderr);
    assert_eq!(place.names(), ["broken.tar"]);
    // The run goes on without them if it may, and they are written down.
    place.train(&[&test, "data.max_bad_share=0.02"]).good();
    let skipped = fs::read_to_string(place.path("run/skipped.jsonl")).expect("skipped samples");
    assert_eq!(skipped.lines().count(), 15);
    assert!(skipped.contains("\"source\":\"data.test\""), "{skipped}");
}

#[test]
fn nobody_listens_to_stderr() {
    let place = Workplace::new();
    for args in [
        &["inspect", "model", "nowhere"][..],
        &["runs", "nowhere"],
        &["train", "nowhere.toml"],
        &["eval", "easy-vqa", "--model", "nowhere"],
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = support::command(&place.path(""));
        let status = command.args(args).stderr(writer).status();
        assert_eq!(
            status.expect("the program starts").code(),
            Some(2),
            "{args:?}"
        );
    }
}

#[test]
#[cfg(unix)]
fn a_run_folder_that_cannot_be_written() {
    let place = Workplace::new();
    fs::write(place.path("file"), "in the way").expect("a file");
    let message = place.train(&["run_dir=file/run"]).refused();
    insta::assert_snapshot!(message, @"error: cannot create file/run: Not a directory (os error 20)");
    assert_eq!(place.names(), ["file"]);
    assert_eq!(fs::read(place.path("file")).expect("a file"), b"in the way");
}

#[test]
#[cfg(not(feature = "cuda"))]
fn a_device_that_was_not_built_in() {
    let place = Workplace::new();
    let question = [
        "generate", "--model", "nowhere", "--prompt", "hi", "--device", "cuda",
    ];
    let message = place.aki(&question).refused();
    insta::assert_snapshot!(message, @"error: this aki was built without CUDA; build it with --features cuda");
    let train = [
        "train",
        &asset("configs/easy-vqa.toml"),
        "--device",
        "cuda:1",
    ];
    let message = place.aki(&train).refused();
    insta::assert_snapshot!(message, @"error: this aki was built without CUDA; build it with --features cuda");
    assert!(place.names().is_empty());
}

#[test]
fn an_answer_of_no_tokens() {
    let place = Workplace::new();
    let question = [
        "generate",
        "--model",
        "nowhere",
        "--prompt",
        "hi",
        "--max-new-tokens",
        "0",
    ];
    let message = place.aki(&question).refused();
    insta::assert_snapshot!(message, @"error: --max-new-tokens must be at least 1");
}

#[test]
fn a_tokenizer_that_is_none() {
    let place = Workplace::new();
    fs::write(place.path("tokenizer.json"), "{").expect("a file");
    let message = place
        .aki(&["mask", "--tokenizer", "tokenizer.json"])
        .refused();
    insta::assert_snapshot!(message, @"error: cannot use tokenizer tokenizer.json: EOF while parsing an object at line 1 column 1");
    let message = place
        .aki(&["mask", "--tokenizer", "missing.json"])
        .refused();
    insta::assert_snapshot!(message, @"error: cannot use tokenizer missing.json: it is missing");
}

/// `aki ... | head` may stop reading at any time.
#[test]
fn a_closed_pipe_is_no_mistake() {
    let place = Workplace::new();
    place.train(&[]).good();
    let (shipped, tokenizer) = (
        asset("configs/easy-vqa.toml"),
        asset("easy-vqa/tokenizer.json"),
    );
    let commands = [
        &["mask", "--tokenizer", &tokenizer][..],
        &["config", "show", &shipped],
        &[
            "generate", "--model", "run", "--device", "cpu", "--prompt", "hi",
        ],
        &["completions", "bash"],
        // A complete run prints its report.
        &["train", "run/config.toml", "--device", "cpu"],
    ];
    for args in commands {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = support::command(&place.path(""));
        let child = command
            .args(args)
            .stdin(Stdio::null())
            .stdout(writer)
            .stderr(Stdio::piped());
        let output = child.spawn().and_then(Child::wait_with_output);
        let output = output.expect("the program starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!stderr.contains("panicked"), "{args:?}: {stderr}");
        assert!(output.status.success(), "{args:?}: {stderr}");
    }
}
