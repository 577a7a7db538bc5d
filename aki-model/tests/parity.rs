//! The networks against what `transformers` and PyTorch compute: fixtures by `tests/reference`'s
//! `language_models.py`, `vision_towers.py`, `resampler.py` and `aki_tiny.py`.

#[path = "common/hidden.rs"]
mod hidden;

use std::path::{Path, PathBuf};

use aki_model::attention::{AttentionLayout, Document, Policy};
use aki_model::language::{LanguageConfig, LanguageModel};
use aki_model::resampler::ResamplerConfig;
use aki_model::vision::VisionConfig;
use aki_model::weights::{Checkpoint, gradient_norms, load_module};
use burn::tensor::{Device, Int, Tensor, TensorData};
use hidden::hidden;
use safetensors::SafeTensors;
use serde_json::Value;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures")
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The expected tensors of a case.
struct Expected(Vec<u8>);

impl Expected {
    fn open(path: &Path) -> Self {
        Self(std::fs::read(path).unwrap())
    }

    fn floats(&self, name: &str) -> (Vec<f32>, Vec<usize>) {
        let all = SafeTensors::deserialize(&self.0).unwrap();
        let tensor = all.tensor(name).unwrap_or_else(|_| panic!("{name}"));
        let values = tensor.data().as_chunks::<4>().0.iter();
        (
            values.map(|bytes| f32::from_le_bytes(*bytes)).collect(),
            tensor.shape().to_vec(),
        )
    }

    fn integers(&self, name: &str) -> Vec<i64> {
        let all = SafeTensors::deserialize(&self.0).unwrap();
        let tensor = all.tensor(name).unwrap_or_else(|_| panic!("{name}"));
        let values = tensor.data().as_chunks::<8>().0.iter();
        values.map(|bytes| i64::from_le_bytes(*bytes)).collect()
    }

    fn tensor<const D: usize>(&self, name: &str, device: &Device) -> Tensor<D> {
        let (values, shape) = self.floats(name);
        Tensor::from_data(TensorData::new(values, shape), device)
    }
}

/// Holds a tensor against the expected values: the largest difference is at most 1e-5 of the largest
/// value.
fn assert_near<const D: usize>(ours: Tensor<D>, expected: &[f32], what: &str) {
    let ours: Vec<f32> = ours.into_data().try_to_vec().unwrap();
    assert_eq!(ours.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(0.0_f32, |a, b| a.max(b.abs()));
    let worst = ours
        .iter()
        .zip(expected)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max);
    assert!(worst <= 1e-5 * largest, "{what}: {worst} of {largest}");
}

fn language(name: &str, device: &Device) -> (LanguageModel, LanguageConfig) {
    let folder = fixtures().join("language").join(name);
    let config = LanguageConfig::from_hugging_face(&json(&folder.join("config.json"))).unwrap();
    config.validate().unwrap();
    let model = config.init(config.vocab_size, device);
    let checkpoint = Checkpoint::open(&folder).unwrap();
    let model = load_module(model, &config.projections(), "", &checkpoint, None).unwrap();
    (model, config)
}

/// The mean loss of a row, or of rows that are padded on the right.
fn loss(model: &LanguageModel, expected: &Expected, case: &str, device: &Device) -> Tensor<1> {
    let ids = expected.integers(&format!("{case}input_ids"));
    let labels = expected.integers(&format!("{case}labels"));
    let lengths = match case.ends_with("batch.") {
        true => expected.integers(&format!("{case}lengths")),
        false => vec![ids.len() as i64],
    };
    let (rows, len) = (lengths.len(), ids.len() / lengths.len());
    let documents: Vec<_> = lengths
        .iter()
        .map(|&length| {
            vec![Document {
                tokens: 0..length as usize,
                media: vec![],
                question_end: None,
            }]
        })
        .collect();
    let layout = AttentionLayout::from_spans(Policy::Causal, len, &documents).unwrap();
    let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [rows, len]), device);
    let x_btd = model.forward(model.embed(ids), &layout, None);
    let hidden = x_btd.dims()[2];
    // The token before each label.
    let labelled = labels.iter().enumerate();
    let labelled = labelled.filter(|(at, label)| at % len > 0 && **label >= 0);
    let (places, labels): (Vec<i64>, Vec<i64>) =
        labelled.map(|(at, &label)| (at as i64 - 1, label)).unzip();
    let places = Tensor::<1, Int>::from_data(places.as_slice(), device);
    let x_td = x_btd.reshape([rows * len, hidden]).select(0, places);
    let count = labels.len();
    let scores = model.score(x_td, Tensor::from_data(labels.as_slice(), device), 1.0);
    scores.total.div_scalar(count as f64)
}

fn language_case(name: &str, case: &str) {
    let device = Device::flex().autodiff();
    let (model, config) = language(name, &device);
    let folder = fixtures().join("language").join(name);
    let expected = Expected::open(&folder.join("expected.safetensors"));
    let of = |what: &str| format!("{case}.{what}");
    let what = |it: &str| format!("{name} {case} {it}");

    let ids = expected.integers(&of("input_ids"));
    let hidden_td = hidden(&model, &ids, &device);
    let state = expected.floats(&of("last_hidden_state")).0;
    assert_near(hidden_td.clone(), &state, &what("hidden state"));
    let logits = expected.floats(&of("logits")).0;
    assert_near(model.logits(hidden_td.clone()), &logits, &what("logits"));

    let batch = loss(&model, &expected, &of("batch."), &device);
    for (prefix, loss) in [
        ("", loss(&model, &expected, &of(""), &device)),
        ("batch.", batch.clone()),
    ] {
        let mean = expected.floats(&of(&format!("{prefix}loss"))).0[0];
        let ours = loss.into_scalar::<f32>();
        assert!(
            (ours - mean).abs() <= 1e-5,
            "{}: {ours} {mean}",
            what("loss")
        );
    }
    let loss = batch;

    let gradients = loss.backward();
    let norms = json(&folder.join("grads.json"));
    let norms = norms.get(case).unwrap_or(&norms);
    let ours = gradient_norms(&model, &config.projections(), "", &gradients);
    assert_eq!(ours.len(), norms.as_object().unwrap().len());
    for (name, norm) in ours {
        let (norm, expected) = (norm.unwrap(), norms[&name].as_f64().unwrap());
        assert!(
            (norm - expected).abs() <= 1e-3 * expected,
            "{} of {name}: {norm} {expected}",
            what("gradient")
        );
    }

    let device = Device::flex();
    let (model, _) = language(name, &device);
    for row in 0..2 {
        let lengths = expected.integers(&of("batch.lengths"));
        let (batch, len) = (
            expected.integers(&of("batch.input_ids")),
            lengths[row] as usize,
        );
        let stride = batch.len() / 2;
        let ids = &batch[row * stride..row * stride + len];
        let logits = expected.floats(&of(&format!("batch.logits.{row}"))).0;
        assert_near(
            model.logits(hidden(&model, ids, &device)),
            &logits,
            &what("row"),
        );
    }
    let mut text = ids;
    for token in expected.integers(&of("greedy")) {
        let logits = model.logits(hidden(&model, &text, &device));
        let last = logits.slice([text.len() - 1..text.len()]);
        let best = i64::from(last.argmax(1).into_scalar::<i32>());
        assert_eq!(best, token, "{} after {text:?}", what("greedy"));
        text.push(token);
    }
}

#[test]
fn phi3_is_transformers_short_long_and_across() {
    for case in ["short", "long", "crossing"] {
        language_case("phi3", case);
    }
}

#[test]
fn the_other_families_are_transformers() {
    for name in ["llama2", "llama3", "mistral", "qwen2"] {
        language_case(name, "prompt");
    }
}

#[test]
fn vision_towers_are_transformers() {
    let device = Device::flex();
    for (name, expected) in [
        ("siglip", "siglip"),
        ("siglip-full", "siglip"),
        ("clip", "clip"),
        ("clip-full", "clip"),
    ] {
        let folder = fixtures().join("vision").join(name);
        let config = VisionConfig::from_hugging_face(&json(&folder.join("config.json"))).unwrap();
        config.validate().unwrap();
        let checkpoint = Checkpoint::open(&folder).unwrap().part("vision_model.", "");
        let projections = LanguageConfig::known("microsoft/Phi-3.5-mini-instruct")
            .unwrap()
            .projections();
        let tower = load_module(config.init(&device), &projections, "", &checkpoint, None).unwrap();
        let own = folder.join("expected.safetensors");
        let shared = fixtures()
            .join("vision")
            .join(expected)
            .join("expected.safetensors");
        let expected = Expected::open(if own.is_file() { &own } else { &shared });
        let state = tower.forward(expected.tensor("pixel_values", &device));
        assert_near(state, &expected.floats("last_hidden_state").0, name);
    }
}

#[test]
fn the_resampler_is_the_formula() {
    let device = Device::flex();
    let folder = fixtures().join("resampler");
    let expected = Expected::open(&folder.join("expected.safetensors"));
    let checkpoint = Checkpoint::open(&folder)
        .unwrap()
        .part("", "vision_tokenizer.");
    let shape = |name: &str| {
        checkpoint.tensors()[&format!("vision_tokenizer.{name}")]
            .shape
            .clone()
    };
    let config = ResamplerConfig {
        depth: 2,
        heads: 2,
        head_dim: 8,
        num_latents: shape("latents")[0],
    };
    let projection = shape("projection.weight");
    let resampler = config.init(projection[1], projection[0], &device);
    let projections = LanguageConfig::known("microsoft/Phi-3.5-mini-instruct")
        .unwrap()
        .projections();
    let resampler = load_module(
        resampler,
        &projections,
        "vision_tokenizer.",
        &checkpoint,
        None,
    )
    .unwrap();
    let output = resampler.forward(expected.tensor("media", &device));
    assert_near(output, &expected.floats("output").0, "resampler");
}
