//! Models, prompts and samples of the published layout that cannot be, and what is told.

use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::Value;

use crate::published::{case, fixture, json, tensors};
use crate::support::{Workplace, text};

/// File, key, value and what is told.
const UNFIT: [(&str, &str, &str, &str); 13] = [
    (
        "lang_model/config.json",
        "num_attention_heads",
        "0",
        "num_attention_heads is 0",
    ),
    (
        "lang_model/config.json",
        "num_key_value_heads",
        "0",
        "num_key_value_heads is 0",
    ),
    (
        "lang_model/config.json",
        "hidden_size",
        "1000000000000",
        "hidden_size is 1000000000000",
    ),
    (
        "lang_model/config.json",
        "num_hidden_layers",
        "1000000000000",
        "must be at most 1024",
    ),
    (
        "lang_model/config.json",
        "rms_norm_eps",
        "-1",
        "rms_norm_eps is -1",
    ),
    (
        "lang_model/config.json",
        "head_dim",
        "1152921504606846976",
        "must be even, from 2 to 65536",
    ),
    (
        "lang_model/config.json",
        "max_position_embeddings",
        "1000000000000",
        "from 1 to 2^30",
    ),
    (
        "vision_encoder/config.json",
        "patch_size",
        "0",
        "patch_size is 0",
    ),
    (
        "vision_encoder/config.json",
        "num_attention_heads",
        "0",
        "num_attention_heads is 0",
    ),
    (
        "vision_encoder/config.json",
        "num_hidden_layers",
        "1000000000000",
        "must be at most 1024",
    ),
    (
        "config.json",
        "num_vision_tokens",
        "1000000000000",
        "num_latents is 1000000000000",
    ),
    ("config.json", "norm_std", "0", "norm_std more than 0"),
    (
        "config.json",
        "initial_tokenizer_len",
        "1000000000000",
        "initial_tokenizer_len is 1000000000000",
    ),
];

#[test]
fn what_cannot_be_converted_is_told() {
    let place = Workplace::new();
    let model = text(&fixture());
    std::fs::create_dir(place.path("full")).expect("a folder");
    std::fs::write(place.path("full/file"), "mine").expect("a file");
    for (args, expected) in [
        (vec!["convert", &model, "full"], "full exists already"),
        (vec!["convert", "absent", "out"], "absent"),
        (vec!["convert", "out"], "what is to be converted?"),
        (
            vec!["convert", &model, "out", "--projector"],
            "are for a start from --vision",
        ),
        (
            vec!["convert", "--random", "aki-9b", "out"],
            "no preset aki-9b; there are aki-4b, aki-small, aki-medium, aki-tiny",
        ),
        (
            vec!["convert", &model, "out", "--shard-size", "500000"],
            "a whole number with its unit is expected, like 5GB",
        ),
        (
            vec!["convert", &model, "out", "--random", "aki-4b"],
            "--random draws all weights",
        ),
        (
            vec!["inspect", "model", "absent"],
            "absent: no model is here",
        ),
        (
            vec!["convert", &model, "out", "--vision", &model],
            "has this part already; leave --vision out",
        ),
    ] {
        let refused = place.aki(&args).refused();
        assert!(refused.contains(expected), "{refused}");
    }
    assert_eq!(place.names(), ["full/file"]);
}

#[test]
#[cfg(unix)]
fn a_folder_that_cannot_be_made_anew_is_named() {
    let place = Workplace::new();
    let convert = |out| {
        place
            .aki(&["convert", "--random", "aki-tiny", out])
            .refused()
    };
    insta::assert_snapshot!(convert("."), @"error: . is no name for a new folder; name another");
    std::fs::create_dir(place.path("empty")).expect("a folder");
    std::os::unix::fs::symlink("empty", place.path("out")).expect("a link");
    insta::assert_snapshot!(convert("out"), @"error: cannot replace out: Not a directory (os error 20)");
    assert!(place.names().is_empty(), "{:?}", place.names());
}

#[test]
fn prompts_and_samples_that_do_not_fit_are_told() {
    let place = Workplace::new();
    let (model, image) = (text(&fixture()), text(&case("red.png")));
    let ask = |more: &[&str]| {
        let args = ["generate", "--model", &model, "--device", "cpu"];
        place.aki(&[&args[..], more].concat()).refused()
    };
    let refused = ask(&[
        "--prompt",
        "<s><image><image>",
        "--raw-prompt",
        "--image",
        &image,
    ]);
    assert!(
        refused.contains("<image> stands 2 times in the prompt, and the pictures given are 1"),
        "{refused}"
    );
    let refused = ask(&["--prompt", "", "--raw-prompt"]);
    assert!(refused.contains("the prompt is empty"), "{refused}");
    let long = "a b ".repeat(400);
    let refused = ask(&["--prompt", &long]);
    assert!(refused.contains("and the model takes 384"), "{refused}");
    for (line, expected) in [
        ("{", "line 1"),
        (
            r#"{"image": null}"#,
            "either text, or prompt and answer, or caption",
        ),
        (r#"{"image": null, "caption": "a"}"#, "no picture is named"),
        (r#"{"image": "none.png", "caption": "a"}"#, "none.png"),
        (r#"{"imagine": null}"#, "unknown field"),
        ("", "no samples"),
    ] {
        std::fs::write(place.path("samples.jsonl"), line).expect("a file");
        let args = [
            "probe",
            "--model",
            &model,
            "--samples",
            "samples.jsonl",
            "--device",
            "cpu",
        ];
        let refused = place.aki(&args).refused();
        assert!(refused.contains(expected), "{refused}");
    }
}

/// Numbers that no model has are told with their file, by every command, and cost nothing before.
#[test]
fn configurations_that_cannot_be_are_told() {
    let place = Workplace::new();
    let folder = place.path("model");
    for part in ["", "vision_encoder", "lang_model"] {
        std::fs::create_dir(folder.join(part)).expect("a folder");
    }
    let files = [
        "config.json",
        "vision_encoder/config.json",
        "lang_model/config.json",
        "model.safetensors",
        "tokenizer.model",
        "added_tokens.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
    ];
    for file in files {
        std::fs::copy(fixture().join(file), folder.join(file)).expect("a file");
    }
    for (file, key, value, expected) in UNFIT {
        let path = folder.join(file);
        let was = std::fs::read(&path).expect("a file");
        let mut changed: Value = serde_json::from_slice(&was).expect("JSON");
        changed[key] = serde_json::from_str(value).expect("JSON");
        std::fs::write(&path, changed.to_string()).expect("a file");
        for args in [
            vec!["inspect", "model", "model"],
            vec!["convert", "model", "out"],
            vec![
                "generate", "--model", "model", "--prompt", "hi", "--device", "cpu",
            ],
        ] {
            let refused = place.aki(&args).refused();
            assert!(refused.contains(expected), "{refused}");
            assert!(refused.contains(file), "{refused}");
        }
        std::fs::write(&path, was).expect("a file");
    }
    assert!(!place.path("out").exists());
    // An answer may be as long as one likes.
    let mut whole: Value = json(folder.join("lang_model/config.json"));
    whole["max_position_embeddings"] = Value::Null;
    whole["rope_scaling"] = Value::Null;
    std::fs::write(folder.join("lang_model/config.json"), whole.to_string()).expect("a file");
    let args = [
        "generate",
        "--model",
        "model",
        "--prompt",
        "hi",
        "--device",
        "cpu",
        "--stop",
        "e",
        "--max-new-tokens",
        "18446744073709551615",
    ];
    place.aki(&args).good();
}

/// Weights that overflow are told, and so is what cannot be computed with them.
#[test]
fn numbers_that_are_too_large_are_told() {
    let place = Workplace::new();
    let mut all = tensors(&fixture());
    let (_, bytes) = all.get_mut("lang_model.model.norm.weight").expect("a norm");
    for number in bytes.chunks_exact_mut(4) {
        number.copy_from_slice(&1e6_f32.to_le_bytes());
    }
    place.aki(&["convert", &text(&fixture()), "large"]).good();
    let views = all.iter().map(|(name, (shape, bytes))| {
        (
            name,
            TensorView::new(Dtype::F32, shape.clone(), bytes).expect("a tensor"),
        )
    });
    let file = place.path("large/model.safetensors");
    safetensors::serialize_to_file(views, None, &file).expect("a file");
    let ended = place
        .aki(&["convert", "large", "half", "--dtype", "f16"])
        .good();
    let told = "warning: 24 numbers are too large for f16 and became infinite";
    assert!(ended.stderr.contains(told), "{}", ended.stderr);
    let args = [
        "generate", "--model", "half", "--prompt", "hi", "--device", "cpu",
    ];
    let refused = place.aki(&args);
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("the logits are not numbers"),
        "{}",
        refused.stderr
    );
}
