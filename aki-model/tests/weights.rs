//! Weights keep the published checkpoint's names and survive a round trip.

mod common;

use aki_model::weights::{self, WeightsError};
use burn::store::ModuleSnapshot;
use burn::tensor::Device;

#[test]
fn the_names_are_the_checkpoints_and_a_round_trip_changes_nothing() {
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let aki = common::tiny().init(20, &device);
    weights::save(&aki, &path).unwrap();

    let bytes = std::fs::read(&path).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
    let shape = |name: &str| header[name]["shape"].to_string();
    // SPEC: names of the published AKI-4B; linear weights are [out, in].
    for (name, expected) in [
        (
            "vision_encoder.embeddings.patch_embedding.weight",
            "[16,3,4,4]",
        ),
        (
            "vision_encoder.embeddings.position_embedding.weight",
            "[9,16]",
        ),
        ("vision_encoder.encoder.layers.1.layer_norm1.bias", "[16]"),
        (
            "vision_encoder.encoder.layers.0.self_attn.out_proj.weight",
            "[16,16]",
        ),
        ("vision_encoder.encoder.layers.0.mlp.fc1.weight", "[24,16]"),
        ("vision_encoder.post_layernorm.weight", "[16]"),
        ("vision_tokenizer.latents", "[3,16]"),
        ("vision_tokenizer.layers.1.0.norm_media.weight", "[16]"),
        ("vision_tokenizer.layers.0.0.to_kv.weight", "[32,16]"),
        ("vision_tokenizer.layers.0.1.0.bias", "[16]"),
        ("vision_tokenizer.layers.0.1.1.weight", "[64,16]"),
        ("vision_tokenizer.layers.1.1.3.weight", "[16,64]"),
        ("vision_tokenizer.projection.weight", "[24,16]"),
        ("lang_model.model.embed_tokens.weight", "[22,24]"),
        (
            "lang_model.model.embed_tokens.additional_embedding.weight",
            "[2,24]",
        ),
        (
            "lang_model.model.layers.1.self_attn.qkv_proj.weight",
            "[48,24]",
        ),
        (
            "lang_model.model.layers.0.mlp.gate_up_proj.weight",
            "[64,24]",
        ),
        ("lang_model.model.layers.0.mlp.down_proj.weight", "[24,32]"),
        (
            "lang_model.model.layers.0.post_attention_layernorm.weight",
            "[24]",
        ),
        ("lang_model.model.norm.weight", "[24]"),
        ("lang_model.lm_head.weight", "[22,24]"),
        ("lang_model.lm_head.bias", "[22]"),
        ("lang_model.lm_head.additional_fc.weight", "[2,24]"),
        ("lang_model.lm_head.additional_fc.bias", "[2]"),
    ] {
        assert_eq!(shape(name), expected, "{name}; the file has {header}");
    }

    let mut other = common::tiny().init(20, &device);
    weights::load(&mut other, &path).unwrap();
    for (was, is) in aki
        .collect(None, None, false)
        .iter()
        .zip(other.collect(None, None, false))
    {
        assert_eq!(was.name, is.name);
        assert_eq!(
            was.to_bytes().unwrap(),
            is.to_bytes().unwrap(),
            "{}",
            is.name
        );
    }
}

#[test]
fn another_models_weights_are_refused_with_all_names() {
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    weights::save(&common::tiny().init(20, &device), &path).unwrap();
    let mut config = common::tiny();
    config.language.num_hidden_layers = 3;
    config.resampler.num_latents = 4;
    let Err(WeightsError::Mismatch {
        missing,
        unexpected,
        misshapen,
        ..
    }) = weights::load(&mut config.init(20, &device), &path)
    else {
        panic!("a mismatch was expected");
    };
    assert_eq!(missing.len(), 6, "{missing:?}");
    assert!(unexpected.is_empty());
    assert_eq!(misshapen.len(), 1, "{misshapen:?}");

    std::fs::write(&path, b"\xff\xff\xff\xff\xff\xff\xff\x7f{}").unwrap();
    let error = weights::load(&mut config.init(20, &device), &path).unwrap_err();
    assert!(matches!(error, WeightsError::File { .. }), "{error}");
}
