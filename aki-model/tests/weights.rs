//! Weights keep the published checkpoint's names and survive a round trip.

mod common;

use std::path::{Path, PathBuf};

use aki_model::AkiConfig;
use aki_model::language::{LanguageConfig, LanguageType};
use aki_model::projector::ProjectorConfig;
use aki_model::resampler::ResamplerConfig;
use aki_model::vision::{VisionConfig, VisionType};
use aki_model::weights::{self, Checkpoint, Conversion, WeightsError};
use burn::store::ModuleSnapshot;
use burn::tensor::{DType, Device, Tensor};
use proptest::prelude::*;
use safetensors::SafeTensors;

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

    let other = common::tiny().undrawn(20, &device);
    let other = weights::load(other, &Checkpoint::open(&path).unwrap(), None).unwrap();
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
    config.vision.intermediate_size = 25;
    let checkpoint = Checkpoint::open(&path).unwrap();
    let Err(WeightsError::Mismatch { faults, .. }) =
        weights::load(config.undrawn(20, &device), &checkpoint, None)
    else {
        panic!("a mismatch was expected");
    };
    assert_eq!(faults.missing.len(), 6, "{faults}");
    assert!(faults.unexpected.is_empty(), "{faults}");
    assert_eq!(faults.misshapen.len(), 6, "{faults}");

    std::fs::write(&path, b"\xff\xff\xff\xff\xff\xff\xff\x7f{}").unwrap();
    let error = Checkpoint::open(&path).unwrap_err();
    assert!(matches!(error, WeightsError::File { .. }), "{error}");
}

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/aki-tiny")
}

/// The shape of the tiny AKI that `tests/reference/aki_tiny.py` writes.
fn fixture_config() -> AkiConfig {
    let read = |part: &str| {
        let bytes = std::fs::read(fixture().join(part).join("config.json")).unwrap();
        serde_json::from_slice::<serde_json::Value>(&bytes).unwrap()
    };
    AkiConfig {
        vision: VisionConfig::from_hugging_face(&read("vision_encoder")).unwrap(),
        resampler: Some(ResamplerConfig {
            num_latents: 10,
            ..ResamplerConfig::default()
        }),
        projector: None,
        language: LanguageConfig {
            added_tokens: 2,
            ..LanguageConfig::from_hugging_face(&read("lang_model")).unwrap()
        },
    }
}

fn conversion<'a>(config: &'a AkiConfig, source: Option<&'a Checkpoint>) -> Conversion<'a> {
    Conversion {
        config,
        source,
        new_parts: false,
        dtype: None,
        shard_size: None,
        seed: 0,
    }
}

/// Whether two folders hold the same tensors, byte for byte.
fn assert_same(one: &Path, two: &Path) {
    let (one, two) = (
        Checkpoint::open(one).unwrap(),
        Checkpoint::open(two).unwrap(),
    );
    let names = |it: &Checkpoint| it.tensors().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&one), names(&two));
    let config = fixture_config();
    let bytes = |source: &Checkpoint| {
        let folder = tempfile::tempdir().unwrap();
        conversion(&config, Some(source))
            .write(folder.path())
            .unwrap();
        std::fs::read(folder.path().join("model.safetensors")).unwrap()
    };
    assert!(bytes(&one) == bytes(&two));
}

#[test]
fn converting_there_and_back_gives_the_same_bytes() {
    let config = fixture_config();
    let source = Checkpoint::open(&fixture()).unwrap();
    let original = std::fs::read(fixture().join("model.safetensors")).unwrap();
    let original = SafeTensors::deserialize(&original).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let drawn = conversion(&config, Some(&source))
        .write(folder.path())
        .unwrap()
        .drawn;
    assert!(drawn.is_empty());
    let written = std::fs::read(folder.path().join("model.safetensors")).unwrap();
    let written = SafeTensors::deserialize(&written).unwrap();
    assert_eq!(written.len(), original.len());
    for (name, tensor) in original.tensors() {
        let ours = written.tensor(&name).unwrap();
        assert_eq!(
            (ours.shape(), ours.data()),
            (tensor.shape(), tensor.data()),
            "{name}"
        );
    }

    // Through shards, and through the network.
    let shards = tempfile::tempdir().unwrap();
    let sharded = Conversion {
        shard_size: Some(100_000),
        ..conversion(&config, Some(&source))
    };
    sharded.write(shards.path()).unwrap();
    assert!(shards.path().join("model.safetensors.index.json").is_file());
    assert!(std::fs::read_dir(shards.path()).unwrap().count() > 4);
    assert_same(&fixture(), shards.path());
    let network = tempfile::tempdir().unwrap();
    let aki = weights::load(config.undrawn(392, &Device::flex()), &source, None).unwrap();
    weights::save(&aki, &network.path().join("model.safetensors")).unwrap();
    assert_same(&fixture(), network.path());
}

#[test]
fn the_originals_training_checkpoint_lacks_the_frozen_tower_alone() {
    let config = fixture_config();
    let training = Checkpoint::open(&fixture().join("checkpoint_0.pt")).unwrap();
    let error = conversion(&config, Some(&training))
        .write(Path::new("nowhere"))
        .unwrap_err();
    let WeightsError::Mismatch { faults, .. } = error else {
        panic!("{error}");
    };
    assert!(
        faults.unexpected.is_empty() && faults.misshapen.is_empty(),
        "{faults}"
    );
    assert!(
        faults
            .missing
            .iter()
            .all(|name| name.starts_with("vision_encoder.")),
        "{faults}"
    );
    let tower = Checkpoint::open(&fixture())
        .unwrap()
        .part("vision_encoder.", "vision_encoder.");
    let folder = tempfile::tempdir().unwrap();
    let whole = training.or(tower);
    conversion(&config, Some(&whole))
        .write(folder.path())
        .unwrap();
    assert_same(&fixture(), folder.path());
}

#[test]
fn a_pre_training_starts_from_a_tower_and_a_language_model() {
    let mut config = fixture_config();
    // The tokenizer has more words than the pretrained table has rows.
    config.language.vocab_size = 410;
    let whole = Checkpoint::open(&fixture()).unwrap();
    let tower = whole.part("vision_encoder.", "vision_encoder.");
    let language = whole
        .part("lang_model.model.layers", "lang_model.model.layers")
        .or(whole.part("lang_model.model.norm", "lang_model.model.norm"))
        .or(whole.part(
            "lang_model.model.embed_tokens.weight",
            "lang_model.model.embed_tokens.weight",
        ))
        .or(whole.part("lang_model.lm_head.weight", "lang_model.lm_head.weight"));
    let source = tower.or(language);
    assert!(
        conversion(&config, Some(&source))
            .write(Path::new("nowhere"))
            .is_err()
    );
    let folder = tempfile::tempdir().unwrap();
    let start = Conversion {
        new_parts: true,
        dtype: Some(DType::BF16),
        ..conversion(&config, Some(&source))
    };
    let drawn = start.write(folder.path()).unwrap().drawn;
    assert!(drawn.contains(&"lang_model.model.embed_tokens.weight".to_owned()));
    assert!(!drawn.contains(&"lang_model.model.norm.weight".to_owned()));
    let written = Checkpoint::open(folder.path()).unwrap();
    let table = &written.tensors()["lang_model.model.embed_tokens.weight"];
    assert_eq!(
        (table.dtype, table.shape.as_slice()),
        (Some(DType::BF16), &[410, 24][..])
    );
    let aki = weights::load(
        config.undrawn(392, &Device::flex()),
        &written,
        Some(DType::F32),
    );
    aki.unwrap();
}

/// CLIP, a projector and a Llama with a tied head: other names, other cuts, the same round trip.
#[test]
fn other_families_keep_their_names_too() {
    let mut config = common::tiny();
    config.resampler = None;
    config.projector = Some(ProjectorConfig { hidden_size: 20 });
    config.vision.model_type = VisionType::Clip;
    config.language.model_type = LanguageType::Llama;
    config.language.tie_word_embeddings = true;
    config.validate(20, 22).unwrap();
    assert_eq!(config.media_len(), 10);
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let aki = config.init(20, &device);
    weights::save(&aki, &path).unwrap();
    let checkpoint = Checkpoint::open(&path).unwrap();
    let shape = |name: &str| checkpoint.tensors()[name].shape.clone();
    assert_eq!(shape("vision_encoder.embeddings.class_embedding"), [16]);
    assert_eq!(
        shape("vision_encoder.embeddings.position_embedding.weight"),
        [10, 16]
    );
    assert_eq!(shape("vision_encoder.pre_layrnorm.weight"), [16]);
    assert_eq!(shape("vision_tokenizer.linear_2.weight"), [24, 20]);
    assert_eq!(
        shape("lang_model.model.layers.1.self_attn.k_proj.weight"),
        [12, 24]
    );
    assert_eq!(
        shape("lang_model.model.layers.0.mlp.up_proj.weight"),
        [32, 24]
    );
    assert!(
        !checkpoint
            .tensors()
            .contains_key("lang_model.lm_head.weight")
    );
    let other = weights::load(config.undrawn(20, &device), &checkpoint, None).unwrap();
    let again = folder.path().join("again.safetensors");
    weights::save(&other, &again).unwrap();
    assert!(std::fs::read(path).unwrap() == std::fs::read(again).unwrap());
    let pixels = Tensor::<4>::ones([1, 3, 12, 12], &device);
    let (one, two) = (aki.encode(pixels.clone()), other.encode(pixels));
    assert_eq!(one.dims(), [1, 10, 24]);
    one.into_data().assert_eq(&two.into_data(), true);
}

#[test]
fn latents_of_another_number_are_drawn_anew() {
    let mut config = fixture_config();
    config.resampler.as_mut().unwrap().num_latents = 7;
    let source = Checkpoint::open(&fixture()).unwrap();
    weights::load(config.undrawn(392, &Device::flex()), &source, None).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let drawn = conversion(&config, Some(&source))
        .write(folder.path())
        .unwrap();
    assert_eq!(drawn.drawn, ["vision_tokenizer.latents"]);
}

#[test]
fn a_pooling_head_may_be_left_out() {
    let config = fixture_config();
    let whole = Checkpoint::open(&fixture()).unwrap();
    let parts = [
        "vision_encoder.e",
        "vision_encoder.p",
        "vision_tokenizer.",
        "lang_model.",
    ];
    let parts = parts.into_iter().map(|part| whole.part(part, part));
    let headless = parts.reduce(Checkpoint::or).unwrap();
    assert!(headless.tensors().len() < whole.tensors().len());
    weights::load(config.undrawn(392, &Device::flex()), &headless, None).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let written = conversion(&config, Some(&headless))
        .write(folder.path())
        .unwrap();
    assert!(
        written
            .drawn
            .iter()
            .all(|name| name.starts_with("vision_encoder.head."))
    );
    assert_eq!(
        written.drawn.len(),
        whole.tensors().len() - headless.tensors().len()
    );
}

#[test]
fn an_index_is_held_against_its_shards() {
    let config = fixture_config();
    let source = Checkpoint::open(&fixture()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let sharded = Conversion {
        shard_size: Some(200_000),
        ..conversion(&config, Some(&source))
    };
    sharded.write(folder.path()).unwrap();
    let index = folder.path().join("model.safetensors.index.json");
    let text = std::fs::read_to_string(&index).unwrap();
    for (from, to, expected) in [
        ("model-00001-of", "model-00009-of", "model-00009-of"),
        ("\"model-00001-of", "\"../model-00001-of", "no file name"),
        (
            "vision_tokenizer.latents",
            "vision_tokenizer.lattice",
            "vision_tokenizer.lattice of",
        ),
        ("weight_map", "wait_map", "missing field"),
    ] {
        std::fs::write(&index, text.replace(from, to)).unwrap();
        let error = Checkpoint::open(folder.path()).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A damaged file is refused, or opens and is then refused or read: it never panics, and no length
    /// in it is believed before it was checked.
    #[test]
    fn damaged_files_never_panic(
        kind in 0_usize..2, cut in 0_usize..600_000, at in 0_usize..30_000, with: [u8; 4],
    ) {
        let name = ["model.safetensors", "checkpoint_0.pt"][kind];
        let mut bytes = std::fs::read(fixture().join(name)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        let read = || if let Ok(checkpoint) = Checkpoint::open(&path) {
            let config = fixture_config();
            let out = tempfile::tempdir().unwrap();
            let _refused_or_read = conversion(&config, Some(&checkpoint)).write(out.path());
        };
        std::fs::write(&path, &bytes[..cut % bytes.len()]).unwrap();
        read();
        // In the header, at the end (where a .pt has its directory), or anywhere.
        let len = bytes.len();
        let at = [at % len, len - 1 - at % len, at * 17 % len][at % 3].min(len - 4);
        bytes[at..at + 4].copy_from_slice(&with);
        std::fs::write(&path, &bytes).unwrap();
        read();
    }
}
