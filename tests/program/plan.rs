//! What a run takes before it is begun.

use serde_json::Value;

use crate::support::{Ended, Workplace, asset};

fn planned(args: &[&str]) -> Ended {
    Workplace::new().aki(&[&["plan"], args].concat())
}

fn shipped(name: &str) -> String {
    asset(&format!("configs/{name}.toml"))
}

/// The plan as JSON, whether it fits or not.
fn json(args: &[&str]) -> (Option<i32>, Value) {
    let ended = planned(&[args, &["--json"]].concat());
    assert_eq!(ended.stderr, "");
    (
        ended.code,
        serde_json::from_str(&ended.stdout).expect("JSON"),
    )
}

#[test]
fn the_shipped_runs_fit_what_their_headers_claim() {
    let claims = [
        ("easy-vqa", "2GiB"),
        ("pretrain", "80GiB"),
        ("sft", "80GiB"),
        ("sft-lora", "24GiB"),
    ];
    for (name, gpu) in claims {
        let (code, plan) = json(&[&shipped(name), "--gpu", gpu]);
        assert_eq!(code, Some(0), "{name}: {plan}");
        assert_eq!(plan["fits"], true, "{name}: {plan}");
    }
}

#[test]
fn full_tuning_of_aki_4b_fits_80_gb_at_a_batch_of_4() {
    let sft = shipped("sft");
    let settings = [
        &sft,
        "--set",
        "stage.sft.batch=4",
        "--set",
        "training.recompute=true",
    ];
    let (code, plan) = json(&[&settings[..], &["--gpu", "80GiB"]].concat());
    assert_eq!(code, Some(0), "{plan}");
    let stage = &plan["stages"][0];
    assert_eq!(stage["row_tokens"], 656);
    assert_eq!(stage["rows"], 4);
    let part = |name: &str| {
        let parts = stage["parameters"].as_array().expect("parts");
        let part = parts.iter().find(|part| part["name"] == name);
        part.expect(name).clone()
    };
    assert_eq!(part("vision tower")["frozen"], 428_225_600);
    assert_eq!(part("resampler")["trained"], 81_608_448);
    let all = stage["parameters"].as_array().expect("parts").iter();
    let trained: u64 = all
        .map(|part| part["trained"].as_u64().expect("trained"))
        .sum();
    assert_eq!(trained, 4_330_957_954 - 428_225_600);

    let (code, plan) = json(&[&settings[..], &["--gpu", "24GiB"]].concat());
    assert_eq!(code, Some(1));
    assert_eq!(plan["fits"], false);
    let advice = &plan["stages"][0]["advice"];
    let saved: Vec<u64> = advice["changes"]
        .as_array()
        .expect("changes")
        .iter()
        .map(|change| change["saves"].as_u64().expect("bytes"))
        .collect();
    assert!(saved.is_sorted_by(|one, other| one >= other), "{saved:?}");
    let enough = advice["enough"].as_array().expect("it can be made to fit");
    assert!(
        enough
            .iter()
            .any(|it| it.as_str().is_some_and(|it| it.contains("lora"))),
        "{advice}"
    );
}

#[test]
fn what_does_not_fit_is_told_with_what_would_help() {
    let ended = planned(&[
        &shipped("sft"),
        "--set",
        "training.precision='f32'",
        "--set",
        "training.moments='f32'",
        "--set",
        "stage.sft.micro_batch=32",
        "--gpu",
        "80GiB",
    ]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let verdict: Vec<&str> = ended
        .stdout
        .lines()
        .skip_while(|line| !line.contains("does not fit"))
        .take_while(|line| !line.is_empty())
        .collect();
    insta::assert_snapshot!(verdict.join("\n"), @r#"
      does not fit: 257.56 GB of 85.90 GB, 5 % of which are kept back
        training.recompute = true                            saves 180.63 GB
        stage.sft.micro_batch = 1                            saves 177.59 GB
        training.precision = "bf16"                          saves 80.69 GB
        training.lora = { rank = 64, alpha = 128.0 }         saves 30.15 GB
        training.moments = "8bit"                            saves 23.29 GB
        enough, with 76.94 GB: training.recompute = true
    "#);
}

/// What to write for the changes that are enough.
fn enough(plan: &Value) -> Vec<String> {
    let settings = plan["stages"][0]["advice"]["enough"].as_array();
    let settings = settings.expect("it can be made to fit").iter();
    let settings = settings.map(|it| it.as_str().expect("a setting").to_owned());
    settings.collect()
}

#[test]
fn what_is_advised_can_be_set_and_is_enough() {
    let sft = shipped("sft");
    for (gpu, count) in [("40GiB", 1), ("24GiB", 2), ("9GiB", 3)] {
        let (code, plan) = json(&[&sft, "--gpu", gpu]);
        assert_eq!(code, Some(1), "{plan}");
        let settings = enough(&plan);
        assert_eq!(settings.len(), count, "{gpu}: {settings:?}");
        let mut args = vec![sft.as_str(), "--gpu", gpu];
        for setting in &settings {
            args.extend(["--set", setting]);
        }
        let (code, plan) = json(&args);
        assert_eq!(code, Some(0), "{args:?}: {plan}");
    }
    let ended = planned(&[&sft, "--gpu", "1GiB"]);
    assert_eq!(ended.code, Some(1));
    let told = "\n    nothing is enough: at best it takes ";
    assert!(ended.stdout.contains(told), "{}", ended.stdout);
}

#[test]
fn gradients_are_counted_as_they_are_kept() {
    let sft = shipped("sft");
    let gradients = |args: &[&str]| -> [u64; 2] {
        let whole = [&sft, "--set", "stage.sft.batch=4"];
        let (_, plan) = json(&[&whole[..], args].concat());
        let parts = plan["stages"][0]["memory"]["parts"].as_array();
        let mut parts = parts.expect("parts").iter();
        let part = parts
            .find(|part| part["name"] == "gradients")
            .expect("a part");
        ["gradients", "update"].map(|moment| part[moment].as_u64().expect("bytes"))
    };
    let trained = 4_330_957_954 - 428_225_600;
    assert_eq!(gradients(&[]), [2 * trained, 2 * trained]);
    for wide in [
        &["--ranks", "2"][..],
        &["--set", "training.precision='f16'"],
    ] {
        assert_eq!(gradients(wide), [2 * trained, 4 * trained], "{wide:?}");
    }
    // Each of two threads has its own, until they are summed.
    let threads = ["--set", "stage.sft.threads=2"];
    assert_eq!(gradients(&threads), [4 * trained, 4 * trained]);
    let single = [&threads[..], &["--set", "training.precision='f32'"]].concat();
    assert_eq!(gradients(&single), [8 * trained, 4 * trained]);
}

#[test]
fn the_built_in_run_is_planned() {
    let run = shipped("easy-vqa");
    let ended = planned(&[&run, "--tflops", "0.1", "--utilisation", "0.5"]).good();
    insta::assert_snapshot!(ended.stdout, @r#"
    stage captions: 1,400 steps of 32 rows, 80 tokens a row, 32 pictures
      assumed: 64 tokens of text to a picture (--text)
      weights                      trained          frozen
        vision tower               826,240               0
        resampler                  421,824               0
        embedding                   86,400               0
        decoder                  1,771,200               0
        head                        86,850               0
        all                      3,192,514               0
      memory               at the loss   gradients      update
        weights                12.8 MB     12.8 MB     12.8 MB
        moments                25.5 MB     25.5 MB     25.5 MB
        gradients             691.2 kB     25.5 MB     12.8 MB
        activations           337.7 MB    140.0 MB           -
        logits                  1.8 MB           -           -
        pictures                1.6 MB      1.6 MB           -
        in passing             15.9 MB     17.7 MB      2.4 MB
        all                   396.0 MB    223.1 MB     53.4 MB
      a step: 2,560 tokens, 42.18 GFLOP
      the stage: 3,584,000 tokens, 59.05 TFLOP
      time: 844 ms a step, 20 min in all, at 50 % of 100.00 GFLOP/s

    stage questions: 1,800 steps of 64 rows, 80 tokens a row, 16 pictures
      assumed: 64 tokens of text to a picture (--text)
      weights                      trained          frozen
        vision tower               826,240               0
        resampler                  421,824               0
        embedding                   86,400               0
        decoder                  1,771,200               0
        head                        86,850               0
        all                      3,192,514               0
      memory               at the loss   gradients      update
        weights                12.8 MB     12.8 MB     12.8 MB
        moments                25.5 MB     25.5 MB     25.5 MB
        gradients             691.2 kB     25.5 MB     12.8 MB
        activations           465.4 MB     70.0 MB           -
        logits                  1.8 MB           -           -
        pictures              786.4 kB    786.4 kB           -
        in passing             33.5 MB     35.4 MB      2.4 MB
        all                   540.6 MB    170.0 MB     53.4 MB
      a step: 5,120 tokens, 65.19 GFLOP
      the stage: 9,216,000 tokens, 117.34 TFLOP
      time: 1.3 s a step, 39 min in all, at 50 % of 100.00 GFLOP/s

    all stages: 59 min
    memory: measured on small models on a CPU, within 10 %; --gpu keeps 5 % back
    "#);
}

#[test]
fn less_recomputation_and_fewer_bits_are_seen() {
    let sft = shipped("sft");
    let peak = |settings: &[&str]| {
        let mut args = vec![sft.as_str()];
        for setting in settings {
            args.extend(["--set", setting]);
        }
        let (_, plan) = json(&args);
        plan["stages"][0]["memory"]["peak"].as_u64().expect("bytes")
    };
    let as_it_is = peak(&[]);
    for less in [
        &["training.recompute=true"][..],
        &["training.lora={rank=8,alpha=16.0}"],
        &["stage.sft.batch=4"],
    ] {
        assert!(peak(less) < as_it_is, "{less:?}");
    }
    for more in [
        &["training.moments='bf16'"][..],
        &["training.precision='f32'"],
        &["training.ema=0.999"],
        &["stage.sft.freeze=[]"],
        &["stage.sft.micro_batch=8"],
    ] {
        assert!(peak(more) > as_it_is, "{more:?}");
    }
    let lora = "training.lora={rank=8,alpha=16.0}";
    let four = "training.lora={rank=8,alpha=16.0,base='int4'}";
    assert!(peak(&[four]) < peak(&[lora]));
    let ranks = |count: &str| {
        let args = [
            &sft,
            "--set",
            "training.shard_optimizer=true",
            "--ranks",
            count,
        ];
        json(&args).1["stages"][0]["memory"]["peak"].as_u64()
    };
    assert!(ranks("8") < ranks("1"));
}

#[test]
fn sizes_and_shares_that_are_none() {
    let refused = |args: &[&str]| planned(args).refused();
    insta::assert_snapshot!(refused(&["--gpu", "80XB"]), @r#"
    error: invalid value '80XB' for '--gpu <SIZE>': a whole number with its unit is expected, like 80GiB or 24GB

    For more information, try '--help'.
    "#);
    // 80 bytes are no card.
    insta::assert_snapshot!(refused(&["--gpu", "80"]), @r#"
    error: invalid value '80' for '--gpu <SIZE>': a whole number with its unit is expected, like 80GiB or 24GB

    For more information, try '--help'.
    "#);
    let alone = "error: the following required arguments were not provided:\n  --tflops <N>\n";
    assert!(refused(&["--utilisation", "0.5"]).starts_with(alone));
    insta::assert_snapshot!(refused(&["--utilisation", "1.5"]), @r#"
    error: invalid value '1.5' for '--utilisation <SHARE>': a share more than 0 and at most 1 is expected

    For more information, try '--help'.
    "#);
    insta::assert_snapshot!(refused(&["--tflops", "0"]), @r#"
    error: invalid value '0' for '--tflops <N>': a number from 0.000001 to 1000000 is expected

    For more information, try '--help'.
    "#);
    insta::assert_snapshot!(refused(&["--ranks", "0"]), @r#"
    error: invalid value '0' for '--ranks <N>': 0 is not in 1..=65536

    For more information, try '--help'.
    "#);
    insta::assert_snapshot!(refused(&[&shipped("sft"), "--set", "stage.sft.max_text_len=9999999999"]), @"error: stage.sft: its rows have 10000000142 tokens, more than the 1048576 that any network takes; lower max_text_len or packing");
    assert!(
        refused(&[
            &shipped("sft"),
            "--set",
            "stage.sft.packing=9223372036854775807",
            "--set",
            "stage.sft.batch=1048576",
        ])
        .contains("its rows have 9223372036854775807 tokens")
    );
    insta::assert_snapshot!(refused(&[&shipped("sft"), "--set", "stage.sft.steps=0"]), @"error: stage: all have steps = 0, so there is nothing to plan");
    insta::assert_snapshot!(refused(&[&shipped("sft"), "--set", "stage.sft.freeze=['visoin*']"]), @r#"error: stage.sft.freeze: "visoin*" fits no parameter; the nearest is vision_encoder.embeddings.patch_embedding.weight"#);
}
