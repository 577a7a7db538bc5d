//! `aki quantize`, and models in 8 and 4 bits wherever a model is asked for.

use safetensors::SafeTensors;
use serde_json::Value;

use crate::published::{case, fixture};
use crate::support::{Workplace, text};

/// What `aki generate --json` says of a picture, and the logits of the prompt.
fn asked(place: &Workplace, model: &str) -> (Value, Vec<f32>) {
    let (image, dump) = (
        text(&case("red.png")),
        text(&place.path("logits.safetensors")),
    );
    let args = [
        "generate",
        "--model",
        model,
        "--device",
        "cpu",
        "--json",
        "--max-new-tokens",
        "8",
        "--prompt",
        "what color is it?",
        "--image",
        &image,
        "--dump-logits",
        &dump,
    ];
    let ended = place.aki(&args).good();
    assert_eq!(ended.stderr, "");
    let file = std::fs::read(&dump).expect("logits");
    let file = SafeTensors::deserialize(&file).expect("safetensors");
    let logits = file.tensor("logits").expect("logits");
    let logits = logits.data().as_chunks::<4>().0.iter();
    let logits = logits.map(|bytes| f32::from_le_bytes(*bytes)).collect();
    let said = serde_json::from_str(&ended.stdout).expect("one JSON object");
    (said, logits)
}

/// The root of the squared differences over that of the squared numbers.
fn apart(ours: &[f32], theirs: &[f32]) -> f32 {
    assert_eq!(ours.len(), theirs.len());
    let squares = |it: &mut dyn Iterator<Item = f32>| it.map(|x| x * x).sum::<f32>();
    let off = squares(&mut ours.iter().zip(theirs).map(|(a, b)| a - b));
    (off / squares(&mut theirs.iter().copied())).sqrt()
}

#[test]
fn a_quantised_model_is_a_model_like_any_other() {
    let place = Workplace::new();
    let model = text(&fixture());
    let (_, plain) = asked(&place, &model);
    for (bits, tolerance) in [("8", 0.02), ("4", 0.3)] {
        let args = ["quantize", "--model", &model, "--bits", bits, "small"];
        let told = place.aki(&args).good().stdout;
        let line = format!("lang_model.model.layers  {bits:>5}");
        assert!(told.contains(&line), "{told}");
        assert!(told.contains("all else, as it was"), "{told}");
        let (said, logits) = asked(&place, "small");
        let off = apart(&logits, &plain);
        assert!(off > 0.0 && off < tolerance, "{bits} bits: {off}");

        let json = place.aki(&["inspect", "model", "small", "--json"]).good();
        let json: Value = serde_json::from_str(&json.stdout).expect("one JSON object");
        assert_eq!(json["parameters"], 135_486);
        let dtypes = &json["parts"]["lang_model"]["dtypes"];
        assert!(
            dtypes.to_string().contains(&format!("int{bits}")),
            "{dtypes}"
        );
        let stored = json["stored_bytes"].as_u64().expect("bytes");
        // Rows of 8 numbers, as the fixture has many, are filled up to whole blocks.
        assert!(stored < 4 * 135_486, "{stored}");
        let table = place.aki(&["inspect", "model", "small"]).good().stdout;
        assert!(table.contains(" as they are packed; unpacked "), "{table}");

        let samples = text(&case("samples.jsonl"));
        let probe = [
            "probe",
            "--model",
            "small",
            "--samples",
            &samples,
            "--grad-norms",
        ];
        for dtype in ["f32", "bf16"] {
            place
                .aki(&[&probe[..], &["--device", "cpu", "--dtype", dtype]].concat())
                .good();
        }

        // Unpacked it is the same model, and a plain one.
        place.aki(&["convert", "small", "dense"]).good();
        let (again, dense) = asked(&place, "dense");
        assert!(apart(&dense, &logits) < 1e-4);
        assert_eq!(again["token_ids"], said["token_ids"]);
        place.aki(&["quantize", "--model", "dense", "again"]).good();
        for folder in ["small", "dense", "again"] {
            std::fs::remove_dir_all(place.path(folder)).expect("a folder");
        }
    }
    place
        .aki(&[
            "quantize",
            "--model",
            &model,
            "--shard-size",
            "30KB",
            "shards",
        ])
        .good();
    assert!(place.path("shards/model.safetensors.index.json").is_file());
    asked(&place, "shards");
}

#[test]
fn what_cannot_be_is_told_and_leaves_nothing() {
    let place = Workplace::new();
    let model = text(&fixture());
    place.aki(&["quantize", "--model", &model, "small"]).good();
    let names = place.names();
    let refused = |args: &[&str]| place.without_path(&place.aki(args).refused());
    insta::assert_snapshot!(refused(&["quantize", "--model", &model, "small"]), @"error: small exists already; name another folder");
    insta::assert_snapshot!(refused(&["quantize", "--model", "small", "twice"]), @"error: small/model.safetensors: these weights are quantised, and plain ones are needed here; `aki convert FROM OUT` unpacks them");
    insta::assert_snapshot!(refused(&["quantize", "--model", &model, "--bits", "3", "three"]), @r#"
    error: invalid value '3' for '--bits <BITS>'
      [possible values: 8, 4]

    For more information, try '--help'.
    "#);
    insta::assert_snapshot!(refused(&["quantize", "--model", "none", "small2"]), @"error: none: no model is here: neither config.json nor model/config.json");
    assert_eq!(place.names(), names);

    let file = place.path("small/config.json");
    let config = std::fs::read_to_string(&file).expect("a configuration");
    let ask = [
        "generate", "--model", "small", "--prompt", "hi", "--device", "cpu",
    ];
    for (from, to, told) in [
        ("aki-blocks", "awq", "quant_method is \"awq\""),
        (
            "lang_model.lm_head\": 8",
            "lang_model.lm_head\": 4",
            "1 misshapen (lang_model.lm_head.weight_packed",
        ),
        (
            "\"block_size\": 32",
            "\"block_size\": 16",
            "block_size is 16",
        ),
    ] {
        std::fs::write(&file, config.replace(from, to)).expect("writing");
        let message = refused(&ask);
        assert!(message.contains(told), "{message}");
    }
    let mut silent: Value = serde_json::from_str(&config).expect("JSON");
    let object = silent.as_object_mut().expect("an object");
    object.remove("quantization_config").expect("the key");
    std::fs::write(&file, silent.to_string()).expect("writing");
    let message = refused(&ask);
    assert!(
        message.contains("config.json has no quantization_config"),
        "{message}"
    );
    std::fs::write(&file, &config).expect("writing");
    let weights = place.path("small/model.safetensors");
    let bytes = std::fs::read(&weights).expect("weights");
    std::fs::write(&weights, &bytes[..bytes.len() - 4]).expect("writing");
    let message = refused(&ask);
    assert!(
        message.contains("model.safetensors: no safetensors file, or damaged"),
        "{message}"
    );
}

#[test]
fn a_run_is_quantised_and_measured_and_no_run_starts_from_it() {
    let place = Workplace::new();
    place.train(&[]).good();
    place
        .aki(&["quantize", "--model", "run", "--bits", "4", "small"])
        .good();
    let [plain, small] = ["run", "small"].map(|model| {
        let tests = crate::support::repository();
        let mut command = crate::support::command(&tests);
        let model = text(&place.path(model));
        command.args(["eval", "easy-vqa", "--model", &model, "--limit", "3"]);
        command.args(["--device", "cpu", "--json"]);
        command.args(["--out", &format!("{model}-eval")]);
        let said = crate::support::finish(command, "").good().stdout;
        serde_json::from_str::<Value>(&said).expect("one JSON object")
    });
    assert_eq!(plain["benchmark"], "easy-vqa");
    let number = |said: &Value, name: &str| said["all"][name].as_f64().expect("a number");
    assert!(number(&plain, "asked") > 20.0, "{plain}");
    let [one, other] = [&plain, &small].map(|said| number(said, "perplexity").ln());
    assert!((one - other).abs() < 0.05 * one, "{one} {other}");

    let start = format!("start={}", text(&place.path("small")));
    let message = place.train(&["run_dir=other", &start]).refused();
    assert!(message.contains("these weights are quantised"), "{message}");
    assert!(message.contains("aki convert"), "{message}");
}
