//! `aki bench` and the rules that `aki mask` draws beside the three of the paper.

use serde_json::Value;

use crate::support::{Workplace, asset, command, finish};

const SMALL: [&str; 11] = [
    "bench",
    "attention",
    "--tokens=60",
    "--image-tokens=9",
    "--heads=4",
    "--kv-heads=2",
    "--head-dim=8",
    "--batch=2",
    "--runs=2",
    "--device=cpu",
    "--policy=cca",
];

#[test]
fn attention_is_timed() {
    let place = Workplace::new();
    let table = place.aki(&SMALL).good().stdout;
    for engine in ["fused ", "reference ", "burn "] {
        assert!(table.contains(engine), "{table}");
    }
    assert!(table.ends_with("medians of 2 rounds on cpu; GFLOP/s count the visible pairs only\n"));

    let lines = place.aki(&[&SMALL[..], &["--json", "--engines=fused,burn"]].concat());
    let lines: Vec<Value> = lines
        .good()
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines.len(), 2);
    for (line, engine) in lines.iter().zip(["fused", "burn"]) {
        assert_eq!(line["engine"], engine);
        for times in ["forward_ms", "forward_backward_ms"] {
            let times = line[times].as_array().expect("times");
            assert_eq!(times.len(), 2);
            assert!(
                times
                    .iter()
                    .all(|ms| ms.as_f64().is_some_and(|ms| ms > 0.0))
            );
        }
    }
}

#[test]
fn what_cannot_be_timed_is_told() {
    let place = Workplace::new();
    let refused = |changed: &str| {
        let flag = changed.split_inclusive('=').next().expect("a flag");
        let kept = SMALL.into_iter().filter(|arg| !arg.starts_with(flag));
        place
            .aki(&kept.chain([changed]).collect::<Vec<_>>())
            .refused()
    };
    let message = refused("--kv-heads=3");
    assert!(
        message.contains("3 key/value heads do not divide 4 heads"),
        "{message}"
    );
    let message = refused("--heads=0");
    assert!(
        message.contains("invalid value '0' for '--heads <N>'"),
        "{message}"
    );
    let message = refused("--image-tokens=8");
    assert!(message.contains("no square grid"), "{message}");
    let message = refused("--image-tokens=64");
    assert!(message.contains("60 tokens do not hold"), "{message}");
    let message = refused("--engines=plain");
    assert!(message.contains("these kernels are a GPU's"), "{message}");
}

/// Which engine computes, and why, is told to those who ask.
#[test]
fn the_engine_is_told_once() {
    let place = Workplace::new();
    let told = |log: &str| {
        let mut command = command(&place.path("."));
        command.args(SMALL).env("AKI_LOG", log);
        finish(command, "").good().stderr
    };
    let message = told("info");
    assert_eq!(
        message.matches("blocked CPU engine").count(),
        1,
        "{message}"
    );
    assert_eq!(told("aki_model=warn"), "");
    let message = told("=?=");
    assert!(message.contains("AKI_LOG is ignored"), "{message}");
}

#[test]
fn concentric_masks_want_squares() {
    let place = Workplace::new();
    let tokenizer = asset("easy-vqa/tokenizer.json");
    let args = |tokens| {
        [
            "mask",
            "--policy=cca",
            "--prompt=hi",
            "--tokenizer",
            &tokenizer,
            "--image-tokens",
            tokens,
        ]
        .map(str::to_owned)
    };
    let drawn = place.aki(&args("9")).good().stdout;
    // A corner sees its ring of eight, not the middle.
    assert!(
        drawn.contains("i ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ □ □ □ □ □ □ □ · · · · · · · ·"),
        "{drawn}"
    );
    let message = place.aki(&args("8")).refused();
    assert!(message.contains("8 tokens is no square grid"), "{message}");
}

#[test]
fn generation_is_timed() {
    let args = [
        "bench",
        "generate",
        "--device",
        "cpu",
        "--json",
        "--hidden",
        "32",
        "--intermediate",
        "48",
        "--layers",
        "1",
        "--heads",
        "2",
        "--vocab",
        "64",
        "--prompt",
        "9",
        "--new-tokens",
        "3",
        "--batch",
        "2",
        "--runs",
        "1",
    ];
    let timed = |more: &[&str]| -> Value {
        let said = Workplace::new().aki(&[&args[..], more].concat());
        serde_json::from_str(&said.good().stdout).expect("one JSON object")
    };
    let said = timed(&[]);
    assert!(said["bits"].is_null());
    // One block, norms and head: 32 x (96 + 32) + 3 x 32 x 48 + 3 x 32 + 64 x 32 + 64 + 2 x 32 + 2.
    assert_eq!(said["weights_read"], 4096 + 4608 + 96 + 2048 + 64 + 64 + 2);
    for key in [
        "prefill_seconds",
        "decode_seconds_per_token",
        "bytes_per_second",
    ] {
        assert!(said[key].as_f64().expect(key) > 0.0, "{key}");
    }
    let packed = timed(&["--bits", "4"]);
    assert_eq!(packed["bits"], 4);
    assert_eq!(packed["weights_read"], said["weights_read"]);
    // Rows of 32 numbers take 4 words and one of scales in 4 bits, and those of the head 8 and one in 8;
    // rows of 48 are filled up to two blocks.
    let words: u64 = (96 + 32 + 2 * 48) * 5 + 32 * 9 + 64 * 9;
    let bytes = |said: &Value| {
        let [rate, seconds] = ["bytes_per_second", "decode_seconds_per_token"]
            .map(|key| said[key].as_f64().expect(key));
        (rate * seconds).round() as u64
    };
    // Norms, biases and the head's added rows are plain.
    let plain = 96 + 64 + 64 + 2;
    assert_eq!(bytes(&packed), 4 * (words + plain));
    assert_eq!(
        bytes(&said),
        4 * said["weights_read"].as_u64().expect("a number")
    );
    let wrong = [&args[..4], &["--hidden", "30", "--heads", "4"]].concat();
    let refused = Workplace::new().aki(&wrong).refused();
    assert!(refused.contains("must be an even multiple"), "{refused}");
    let short = ["--prompt", "9", "--new-tokens", "3", "--runs", "1"];
    let preset = [
        "bench", "generate", "--device", "cpu", "--preset", "aki-tiny",
    ];
    let preset = [&preset[..], &short].concat();
    let said = Workplace::new().aki(&preset).good().stdout;
    assert!(said.contains("s to the first token"), "{said}");
}

#[test]
fn training_is_timed_from_weights_that_are_left_behind() {
    let place = Workplace::new();
    let timed = [
        "bench",
        "train",
        "--preset=aki-tiny",
        "--batch=2",
        "--text=60",
        "--steps=1",
    ];
    let timed = [&timed[..], &["--threads=2", "--device=cpu"]].concat();
    let table = place.aki(&timed).good().stdout;
    for part in ["step ", "forward ", "backward ", "optimizer "] {
        assert!(table.contains(part), "{table}");
    }

    let leaving = [&timed[..], &["--json", "--weights=drawn"]].concat();
    let measured: Value = serde_json::from_str(&place.aki(&leaving).good().stdout).expect("JSON");
    assert_eq!(measured["step_seconds"].as_array().map(Vec::len), Some(1));
    let losses = measured["losses"].as_array().expect("losses");
    assert!(losses[1].as_f64() < losses[0].as_f64(), "{losses:?}");
    assert!(place.path("drawn/model.safetensors").exists());

    let message = place.aki(&leaving).refused();
    insta::assert_snapshot!(message, @"error: drawn is not empty; name a new folder for the weights");
}
