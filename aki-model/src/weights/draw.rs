//! Weights that no checkpoint gives, drawn by name.

use std::hash::{DefaultHasher, Hash, Hasher};

use burn::tensor::{DType, bf16, f16};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

/// Numbers of one stream of random numbers; a tensor of more has several, drawn side by side.
const CHUNK: usize = 1 << 18;

/// `count` numbers of a tensor as little-endian bytes. The same seed and name give the same numbers,
/// whatever the number of threads.
///
/// Norms begin as the identity, biases as 0, latents with a deviation of 1, everything else with
/// Hugging Face's 0.02.
///
/// # Panics
///
/// If the type is not f64, f32, f16 or bf16.
pub(super) fn draw(name: &str, count: usize, dtype: DType, seed: u64) -> Vec<u8> {
    let bias = name.ends_with("bias");
    let is_norm = !bias
        && name.rsplit_once('.').is_some_and(|(holder, _)| {
            let last = holder.rsplit('.').next().unwrap_or_default();
            // A resampler's feed-forward begins with a norm that has a number for a name.
            last.contains("norm") || holder.ends_with(".1.0")
        });
    let deviation = if name.ends_with("latents") { 1.0 } else { 0.02 };
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    let key = seed ^ hasher.finish();
    let width = dtype.size();
    let mut out = vec![0; count * width];
    out.par_chunks_mut(CHUNK * width)
        .enumerate()
        .for_each(|(index, out)| {
            let mut rng = ChaCha8Rng::seed_from_u64(key);
            rng.set_stream(index as u64);
            for place in out.chunks_exact_mut(width) {
                let number: f32 = match (bias, is_norm) {
                    (true, _) => 0.0,
                    (_, true) => 1.0,
                    _ => deviation * Distribution::<f32>::sample(&StandardNormal, &mut rng),
                };
                match dtype {
                    DType::F64 => place.copy_from_slice(&f64::from(number).to_le_bytes()),
                    DType::F32 => place.copy_from_slice(&number.to_le_bytes()),
                    DType::F16 => place.copy_from_slice(&f16::from_f32(number).to_le_bytes()),
                    DType::BF16 => place.copy_from_slice(&bf16::from_f32(number).to_le_bytes()),
                    other => panic!("{other:?} is no floating-point type"),
                }
            }
        });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(name: &str) -> Vec<f32> {
        let bytes = draw(name, 5000, DType::F32, 3);
        let numbers = bytes.as_chunks::<4>().0.iter();
        numbers.map(|bytes| f32::from_le_bytes(*bytes)).collect()
    }

    #[test]
    fn each_kind_begins_as_it_should() {
        for norm in [
            "vision_encoder.encoder.layers.3.layer_norm2.weight",
            "vision_encoder.post_layernorm.weight",
            "vision_encoder.head.layernorm.weight",
            "vision_tokenizer.layers.1.1.0.weight",
            "vision_tokenizer.layers.1.0.norm_media.weight",
            "lang_model.model.layers.30.input_layernorm.weight",
            "lang_model.model.norm.weight",
        ] {
            assert_eq!(drawn(norm), vec![1.0; 5000], "{norm}");
        }
        assert_eq!(drawn("lang_model.lm_head.bias"), vec![0.0; 5000]);
        for (matrix, expected) in [
            ("vision_tokenizer.layers.0.1.1.weight", 0.02),
            ("vision_tokenizer.layers.0.0.to_q.weight", 0.02),
            ("lang_model.model.layers.0.mlp.down_proj.weight", 0.02),
            ("vision_tokenizer.latents", 1.0),
        ] {
            let numbers = drawn(matrix);
            let square: f32 = numbers.iter().map(|x| x * x).sum();
            let deviation = (square / numbers.len() as f32).sqrt();
            assert!(
                (deviation / expected - 1.0).abs() < 0.05,
                "{matrix}: {deviation}"
            );
        }
    }

    #[test]
    fn names_and_seeds_decide() {
        assert_eq!(drawn("a.weight"), drawn("a.weight"));
        assert_ne!(drawn("a.weight"), drawn("b.weight"));
        let other = draw("a.weight", 8, DType::F32, 4);
        assert_ne!(other, draw("a.weight", 8, DType::F32, 3));
    }
}
