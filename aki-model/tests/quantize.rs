//! Packed weights, from a checkpoint to a checkpoint and into a network.

mod common;
#[path = "common/hidden.rs"]
mod hidden;

use std::path::Path;

use aki_model::language::{LanguageConfig, LanguageType};
use aki_model::projector::ProjectorConfig;
use aki_model::weights::{
    self, Bits, Checkpoint, Conversion, Quantization, Quantize, Quantized, Stored, WeightsError,
};
use aki_model::{Aki, AkiConfig};
use burn::tensor::{DType, Device, Tensor, TensorData};
use hidden::hidden;
use proptest::prelude::*;

const IDS: [i32; 7] = [1, 5, 20, 3, 21, 8, 13];

/// Three parts of queries, keys and values in the file, and a projector, beside the usual one.
fn configs() -> [AkiConfig; 2] {
    let usual = common::tiny();
    let other = AkiConfig {
        resampler: None,
        projector: Some(ProjectorConfig { hidden_size: 40 }),
        language: LanguageConfig {
            model_type: LanguageType::Qwen2,
            ..usual.language.clone()
        },
        ..usual.clone()
    };
    [usual, other]
}

/// Drawn weights in a folder.
fn drawn(config: &AkiConfig, folder: &Path, dtype: DType) -> Checkpoint {
    let conversion = Conversion {
        config,
        source: None,
        new_parts: true,
        dtype: Some(dtype),
        shard_size: None,
        seed: 3,
    };
    conversion.write(folder).unwrap();
    Checkpoint::open(folder).unwrap()
}

fn quantize(
    config: &AkiConfig,
    source: &Checkpoint,
    how: Quantization,
    folder: &Path,
) -> Result<Quantized, WeightsError> {
    let quantize = Quantize {
        config,
        source,
        how,
        shard_size: None,
    };
    quantize.write(folder)
}

fn read(aki: Aki, checkpoint: &Checkpoint) -> Result<Aki, WeightsError> {
    weights::load(aki, checkpoint, None)
}

/// Media tokens of a picture, and logits of a text.
fn outputs(aki: &Aki) -> [Vec<f32>; 2] {
    let device = Device::flex();
    let pixels = (0..3 * 12 * 12).map(|at| (at * 37 % 101) as f32 / 50.0 - 1.0);
    let pixels = TensorData::new(pixels.collect::<Vec<f32>>(), [1, 3, 12, 12]);
    let media = aki.encode(Tensor::<4>::from_data(pixels, &device));
    let logits = aki.logits(hidden(aki.language(), &IDS, &device));
    [
        media.into_data().iter().collect(),
        logits.into_data().iter().collect(),
    ]
}

#[track_caller]
fn assert_near(ours: &Aki, expected: &Aki, tolerance: f32) {
    for (ours, expected) in outputs(ours).iter().zip(&outputs(expected)) {
        assert_eq!(ours.len(), expected.len());
        let largest = expected.iter().fold(0.0_f32, |a, b| a.max(b.abs()));
        let off = ours.iter().zip(expected).map(|(a, b)| (a - b).abs());
        let off = off.fold(0.0, f32::max);
        assert!(off <= tolerance * largest, "{off} of {largest}");
    }
}

#[test]
fn what_is_written_is_the_network_packed() {
    let device = Device::flex();
    for config in configs() {
        for (bits, tolerance) in [(Bits::Eight, 0.03), (Bits::Four, 0.4)] {
            let [from, to, back] = [0; 3].map(|_| tempfile::tempdir().unwrap());
            let source = drawn(&config, from.path(), DType::F32);
            let how = Quantization::new(bits);
            let quantized = quantize(&config, &source, how, to.path()).unwrap();
            let packed = Checkpoint::open(to.path()).unwrap();
            let name = match config.language.model_type {
                LanguageType::Qwen2 => "self_attn.v_proj",
                _ => "self_attn.qkv_proj",
            };
            let name = format!("lang_model.model.layers.0.{name}.weight_packed");
            assert!(packed.tensors().contains_key(&name));

            // Nothing is drawn or packed where words are to be read.
            let ours = read(config.undrawn(20, &device).packed(&how), &packed).unwrap();
            let plain = read(config.undrawn(20, &device), &source).unwrap();
            assert_near(&ours, &plain.clone().packed(&how), 1e-5);
            assert_near(&ours, &plain, tolerance);

            // What is told is what is there.
            let bytes: usize = packed.tensors().values().map(Stored::byte_len).sum();
            let told: u64 = quantized.packed.iter().map(|part| part.bytes).sum();
            assert_eq!(told + quantized.kept, bytes as u64);
            for part in &quantized.packed {
                let largest = if part.bits == Bits::Four { 0.1 } else { 0.01 };
                assert!(
                    part.numbers > 0 && part.bytes < part.bytes_before,
                    "{part:?}"
                );
                assert!((1e-4..largest).contains(&part.relative_error), "{part:?}");
            }

            // A network writes it as well, and a plain checkpoint comes of it again.
            let again = back.path().join("again.safetensors");
            weights::save(&ours, &again).unwrap();
            assert!(std::fs::read(&again).unwrap() == std::fs::read(packed.path()).unwrap());
            let conversion = Conversion {
                config: &config,
                source: Some(&packed.unpacked(&config, &how).unwrap()),
                new_parts: false,
                dtype: None,
                shard_size: None,
                seed: 0,
            };
            conversion.write(back.path()).unwrap();
            let dense = Checkpoint::open(back.path()).unwrap();
            let dense = read(config.undrawn(20, &device), &dense).unwrap();
            assert_near(&dense, &ours, 1e-5);
        }
    }
}

#[test]
fn half_precision_stays_what_it_is() {
    let config = common::tiny();
    let [from, to] = [0; 2].map(|_| tempfile::tempdir().unwrap());
    let source = drawn(&config, from.path(), DType::BF16);
    let how = Quantization::new(Bits::Eight);
    quantize(&config, &source, how, to.path()).unwrap();
    let packed = Checkpoint::open(to.path()).unwrap();
    let kept = |name: &str| packed.tensors()[name].dtype;
    assert_eq!(kept("lang_model.model.norm.weight"), Some(DType::BF16));
    let aki = config.undrawn(20, &Device::flex()).packed(&how);
    let logits = read(aki, &packed).unwrap();
    let logits = logits.logits(hidden(logits.language(), &IDS, &Device::flex()));
    assert_eq!(logits.dtype(), DType::BF16);
}

#[test]
fn what_does_not_fit_is_told() {
    let (config, device) = (common::tiny(), Device::flex());
    let [from, to, twice] = [0; 3].map(|_| tempfile::tempdir().unwrap());
    let source = drawn(&config, from.path(), DType::F32);
    let how = Quantization::new(Bits::Eight);
    quantize(&config, &source, how, to.path()).unwrap();
    let packed = Checkpoint::open(to.path()).unwrap();
    let is_packed = |error| matches!(error, WeightsError::Packed { .. });
    let undrawn = || config.undrawn(20, &device);
    assert!(is_packed(read(undrawn(), &packed).unwrap_err()));
    let again = quantize(&config, &packed, how, twice.path());
    assert!(is_packed(again.unwrap_err()));
    assert!(std::fs::read_dir(twice.path()).unwrap().next().is_none());

    let faults = |aki, checkpoint| match read(aki, checkpoint) {
        Err(WeightsError::Mismatch { faults, .. }) => faults,
        other => panic!("a mismatch was expected, not {other:?}"),
    };
    let four = Quantization::new(Bits::Four);
    let told = faults(undrawn().packed(&four), &packed);
    // Four matrices in each of two blocks.
    assert_eq!(told.misshapen.len(), 8, "{told}");
    let told = faults(undrawn().packed(&how), &source);
    assert_eq!(told.missing.len(), told.unexpected.len(), "{told}");
    assert!(told.missing[0].ends_with(".weight_packed"), "{told}");
}

#[test]
fn numbers_that_are_not_finite_are_refused() {
    let (config, folder) = (common::tiny(), tempfile::tempdir().unwrap());
    let source = drawn(&config, folder.path(), DType::F32);
    let path = source.path().to_owned();
    drop(source);
    let bytes = std::fs::read(&path).unwrap();
    for number in [f32::NAN, f32::INFINITY] {
        let mut bytes = bytes.clone();
        // The last tensor by name is the resampler's projection.
        let last = bytes.len() - 4;
        bytes[last..].copy_from_slice(&number.to_le_bytes());
        std::fs::write(&path, &bytes).unwrap();
        let source = Checkpoint::open(&path).unwrap();
        let out = tempfile::tempdir().unwrap();
        let error = quantize(&config, &source, Quantization::new(Bits::Four), out.path());
        let error = error.unwrap_err().to_string();
        assert!(error.contains("projection.weight_packed"), "{error}");
        assert!(std::fs::read_dir(out.path()).unwrap().next().is_none());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A damaged file is refused, or read: it never panics, whatever the words say.
    #[test]
    fn damaged_files_never_panic(cut in 0_usize..60_000, at in 0_usize..60_000, with: [u8; 4]) {
        let config = common::tiny();
        let [from, to] = [0; 2].map(|_| tempfile::tempdir().unwrap());
        let how = Quantization::new(Bits::Four);
        let source = drawn(&config, from.path(), DType::F32);
        quantize(&config, &source, how, to.path()).unwrap();
        let path = to.path().join("model.safetensors");
        let mut bytes = std::fs::read(&path).unwrap();
        let used = || if let Ok(checkpoint) = Checkpoint::open(&path) {
            let undrawn = config.undrawn(20, &Device::flex());
            if let Ok(aki) = read(undrawn.packed(&how), &checkpoint) {
                outputs(&aki);
            }
            let _refused_or_read = checkpoint.unpacked(&config, &how);
        };
        let len = bytes.len();
        std::fs::write(&path, &bytes[..cut % len]).unwrap();
        used();
        // In the header, or anywhere.
        let at = [at % 3000, at * 17 % len][at % 2].min(len - 4);
        bytes[at..at + 4].copy_from_slice(&with);
        std::fs::write(&path, &bytes).unwrap();
        used();
    }
}
