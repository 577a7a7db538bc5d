//! Adapters: beside the network, worked into it, on disk, and against what PEFT computes (a fixture by
//! `tests/reference/lora.py`).

mod common;
#[path = "common/hidden.rs"]
mod hidden;
#[path = "common/redraw.rs"]
mod redraw;

use std::path::{Path, PathBuf};

use aki_model::adapters::{AdapterConfig, Base};
use aki_model::language::{LanguageConfig, LanguageModel, LanguageType};
use aki_model::weights::{
    self, Checkpoint, WeightsError, gradient_norms, load_adapters, load_module, parameters,
    save_adapters,
};
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Distribution, Int, Tensor, TensorData};
use common::tiny;
use hidden::hidden;
use redraw::redrawn;
use safetensors::SafeTensors;

const IDS: [i32; 9] = [3, 21, 7, 20, 1, 1, 4, 9, 11];

fn config(base: Base) -> AdapterConfig {
    AdapterConfig {
        rank: 3,
        alpha: 5.0,
        targets: AdapterConfig::TARGETS.map(str::to_owned).to_vec(),
        base,
    }
}

/// A model whose matrices have whole blocks of inputs.
fn shape(model_type: LanguageType) -> LanguageConfig {
    LanguageConfig {
        model_type,
        hidden_size: 32,
        ..tiny().language
    }
}

fn logits(model: &LanguageModel, device: &Device) -> Vec<f32> {
    let logits = model.logits(hidden(model, &IDS, device));
    logits.into_data().iter().collect()
}

#[track_caller]
fn assert_near(ours: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(ours.len(), expected.len());
    let largest = expected.iter().fold(0.0_f32, |a, b| a.max(b.abs()));
    let off = ours.iter().zip(expected).map(|(a, b)| (a - b).abs());
    let off = off.fold(0.0, f32::max);
    assert!(off <= tolerance * largest, "{off} of {largest}");
}

/// Gives every `B`, which begins as 0, numbers.
fn moved(model: LanguageModel) -> LanguageModel {
    struct Move(Vec<String>);
    impl ModuleMapper for Move {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.0.push(name.to_owned());
        }

        fn exit_module(&mut self, _: &str, _: &str) {
            self.0.pop();
        }

        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            if !self.0.join(".").ends_with("adapter.b") {
                return param;
            }
            let moved = param.map(|b| b.random_like(Distribution::Normal(0.0, 0.3)));
            moved.set_require_grad(true)
        }
    }
    model.map(&mut Move(Vec::new()))
}

#[test]
fn fresh_adapters_change_nothing() {
    let device = Device::flex();
    let plain = shape(LanguageType::Phi3).init(20, &device);
    let before = logits(&plain, &device);
    let adapted = plain.with_adapters(&config(Base::Same));
    assert!(adapted.has_adapters());
    assert_eq!(logits(&adapted, &device), before);
    assert_ne!(logits(&moved(adapted), &device), before);
}

#[test]
fn adapters_stand_beside_the_targets_alone() {
    let device = Device::flex();
    let some = AdapterConfig {
        targets: vec!["o_proj".to_owned()],
        ..config(Base::Same)
    };
    let model = shape(LanguageType::Phi3)
        .init(20, &device)
        .with_adapters(&some);
    let all = parameters(&model, &model.projections(), "lang_model.");
    let adapters: Vec<_> = all.iter().filter(|it| it.adapter).collect();
    let layer = "lang_model.model.layers.0.self_attn.o_proj";
    assert_eq!(adapters.len(), 4);
    assert_eq!(adapters[0].path, format!("{layer}.adapter.a"));
    let named = |name: &str, shape: [usize; 2]| vec![(format!("{layer}.{name}"), shape.to_vec())];
    assert_eq!(adapters[0].tensors, named("lora_A.weight", [3, 32]));
    assert_eq!(adapters[1].tensors, named("lora_B.weight", [32, 3]));
}

#[test]
fn merged_is_the_same_network_without_adapters() {
    let device = Device::flex();
    for base in [Base::Same, Base::Int8, Base::Int4] {
        let model = shape(LanguageType::Qwen2).init(20, &device);
        let model = moved(model.with_adapters(&config(base)));
        let expected = logits(&model, &device);
        let merged = model.merged();
        assert!(!merged.has_adapters());
        assert_near(&logits(&merged, &device), &expected, 1e-5);
    }
}

#[test]
fn packed_matrices_give_nearly_the_same_network() {
    let device = Device::flex();
    let plain = redrawn(shape(LanguageType::Phi3).init(20, &device));
    let expected = logits(&plain, &device);
    for (base, tolerance) in [(Base::Int8, 0.02), (Base::Int4, 0.3)] {
        let packed = plain.clone().with_adapters(&config(base));
        let ours = logits(&packed, &device);
        assert_ne!(ours, expected);
        assert_near(&ours, &expected, tolerance);
    }
}

#[test]
fn gradients_are_those_of_adapters_and_added_tokens() {
    let device = Device::flex().autodiff();
    for base in [Base::Same, Base::Int8] {
        let model = shape(LanguageType::Phi3).init(20, &device);
        let model = moved(model.with_adapters(&config(base)));
        let labels = Tensor::<1, Int>::from_data(IDS, &device);
        let gradients = model
            .score(hidden(&model, &IDS, &device), labels, 1.0)
            .total
            .backward();
        for (name, norm) in gradient_norms(&model, &model.projections(), "", &gradients) {
            let trained = name.contains(".lora_") || name.contains(".additional_");
            assert_eq!(
                norm.is_some_and(|norm| norm > 0.0),
                trained,
                "{name}: {norm:?}"
            );
        }
    }
}

#[test]
fn adapters_are_written_and_read_as_peft_has_them() {
    let device = Device::flex();
    for (family, layers) in [
        (LanguageType::Phi3, &["qkv_proj"][..]),
        (LanguageType::Llama, &["q_proj", "k_proj", "v_proj"]),
    ] {
        let plain = shape(family).init(20, &device);
        let model = moved(plain.clone().with_adapters(&config(Base::Same)));
        let folder = tempfile::tempdir().unwrap();
        save_adapters(&model, "lang_model.", folder.path()).unwrap();

        let file = Checkpoint::open(&folder.path().join("adapter_model.safetensors")).unwrap();
        let heads = [16, 8, 8];
        for (index, layer) in layers.iter().enumerate() {
            let rows = if layers.len() == 1 {
                64
            } else {
                heads[index] * 2
            };
            let name = format!("base_model.model.lang_model.model.layers.1.self_attn.{layer}");
            let shape = |factor: &str| {
                file.tensors()[&format!("{name}.{factor}.weight")]
                    .shape
                    .clone()
            };
            assert_eq!(shape("lora_A"), [3, 32]);
            assert_eq!(shape("lora_B"), [rows, 3]);
        }
        let text = std::fs::read(folder.path().join("adapter_config.json")).unwrap();
        let about: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(
            (about["r"].as_u64(), about["lora_alpha"].as_f64()),
            (Some(3), Some(5.0))
        );
        let targets = about["target_modules"].as_str().unwrap();
        assert!(
            layers.iter().all(|layer| targets.contains(layer)),
            "{targets}"
        );

        let read = load_adapters(plain, "lang_model.", folder.path()).unwrap();
        assert_eq!(logits(&read, &device), logits(&model, &device));
    }
}

#[test]
fn other_adapters_are_refused() {
    let device = Device::flex();
    let plain = shape(LanguageType::Phi3).init(20, &device);
    let folder = tempfile::tempdir().unwrap();
    let none = save_adapters(&plain, "", folder.path())
        .unwrap_err()
        .to_string();
    assert!(none.contains("no adapters"), "{none}");

    let model = plain.clone().with_adapters(&config(Base::Same));
    save_adapters(&model, "", folder.path()).unwrap();
    let refused = |model: LanguageModel, prefix| {
        load_adapters(model, prefix, folder.path())
            .map(|_| ())
            .unwrap_err()
    };
    let WeightsError::Mismatch { faults, .. } = refused(plain.clone(), "lang_model.") else {
        panic!("another reason")
    };
    assert_eq!(faults.unexpected.len(), 16);
    let wider = LanguageConfig {
        intermediate_size: 48,
        ..shape(LanguageType::Phi3)
    };
    let WeightsError::Mismatch { faults, .. } = refused(wider.init(20, &device), "") else {
        panic!("another reason")
    };
    assert_eq!(faults.misshapen.len(), 4, "{faults}");

    let path = folder.path().join("adapter_config.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let dora = text.replace("\"r\": 3", "\"r\": 3, \"use_dora\": true");
    std::fs::write(&path, dora).unwrap();
    let error = refused(plain, "").to_string();
    assert!(
        error.contains("adapter_config.json: use_dora: adapters are LoRA here"),
        "{error}"
    );
}

#[test]
fn weights_are_written_with_adapters_worked_in_and_read_without_touching_them() {
    let device = Device::flex();
    let config_of_all = tiny();
    let aki = config_of_all.init(20, &device);
    let language = moved(aki.language().clone().with_adapters(&config(Base::Same)));
    let aki = aki.with_language(language);
    let expected = logits(aki.language(), &device);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    weights::save(&aki, &path).unwrap();
    let checkpoint = Checkpoint::open(&path).unwrap();
    let fresh = weights::load(config_of_all.undrawn(20, &device), &checkpoint, None).unwrap();
    assert_near(&logits(fresh.language(), &device), &expected, 1e-5);

    // Into a network with adapters: its base is read, its adapters stay.
    let twice = weights::load(aki, &checkpoint, None).unwrap();
    assert!(twice.language().has_adapters());
    assert_ne!(
        logits(twice.language(), &device),
        logits(fresh.language(), &device)
    );
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures")
}

fn expected<T: Copy>(name: &str, of: fn(&[u8]) -> T, width: usize) -> Vec<T> {
    let file = std::fs::read(fixtures().join("adapter/expected.safetensors")).unwrap();
    let all = SafeTensors::deserialize(&file).unwrap();
    all.tensor(name)
        .unwrap()
        .data()
        .chunks(width)
        .map(of)
        .collect()
}

#[test]
fn a_network_with_adapters_is_that_of_peft() {
    let device = Device::flex().autodiff();
    let folder = fixtures().join("language/phi3");
    let text = std::fs::read(folder.join("config.json")).unwrap();
    let shape = LanguageConfig::from_hugging_face(&serde_json::from_slice(&text).unwrap()).unwrap();
    let model = shape.init(shape.vocab_size, &device);
    let checkpoint = Checkpoint::open(&folder).unwrap();
    let model = load_module(model, &shape.projections(), "", &checkpoint, None).unwrap();
    let model = load_adapters(model, "", &fixtures().join("adapter")).unwrap();

    let float = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().unwrap());
    let integer = |bytes: &[u8]| i64::from_le_bytes(bytes.try_into().unwrap()) as i32;
    let ids = expected("input_ids", integer, 8);
    let hidden_td = hidden(&model, &ids, &device);
    let ours: Vec<f32> = model.logits(hidden_td.clone()).into_data().iter().collect();
    assert_near(&ours, &expected("logits", float, 4), 1e-5);

    // The token before each label.
    let labels = expected("labels", integer, 8);
    let labelled = (1..labels.len()).filter(|&at| labels[at] >= 0);
    let (places, labels): (Vec<i32>, Vec<i32>) =
        labelled.map(|at| (at as i32 - 1, labels[at])).unzip();
    let count = labels.len();
    let [places, labels] = [places, labels]
        .map(|it| Tensor::<1, Int>::from_data(TensorData::new(it, [count]), &device));
    let scores = model.score(hidden_td.select(0, places), labels, 1.0);
    let loss = scores.total.div_scalar(count as f64);
    let ours: f32 = loss.clone().into_scalar();
    assert_near(&[ours], &expected("loss", float, 4), 1e-5);

    let text = std::fs::read(fixtures().join("adapter/grads.json")).unwrap();
    let norms: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let gradients = loss.backward();
    let ours = gradient_norms(&model, &shape.projections(), "", &gradients);
    let ours: Vec<_> = ours
        .into_iter()
        .filter_map(|(name, norm)| Some((name, norm?)))
        .collect();
    assert_eq!(ours.len(), norms.as_object().unwrap().len());
    for (name, norm) in ours {
        let expected = norms[&name].as_f64().unwrap();
        assert!(
            (norm / expected - 1.0).abs() < 1e-4,
            "{name}: {norm}, not {expected}"
        );
    }
}
