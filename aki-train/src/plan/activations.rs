//! What autodiff keeps of a forward pass for the backward pass, counted operation by operation as the
//! modules of `aki-model` are written. Nothing of size T x T is among it.
//!
//! The letters: `d` the width of tokens, `i` the width inside feed-forward layers, `q` and `k` the
//! widths of all queries' and of all keys' heads together, `h` heads.

use aki_model::AkiConfig;
use aki_model::vision::VisionActivation;

use super::batch::Shape;
use super::parameters::bytes;
use crate::config::Precision;

/// Bytes that are kept, by part.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Activations {
    /// Of the tower; 0 if it is frozen, since it runs without autodiff then.
    pub tower: f64,
    /// Of the resampler or projector.
    pub connector: f64,
    /// Of a decoder block.
    pub block: f64,
    /// A block's input, which alone is kept of it if it runs again.
    pub block_input: f64,
    /// Around the blocks: the last norm, the labels' hidden states and their gradients.
    pub around: f64,
    /// What a block's backward pass makes and drops: gradients inside its feed-forward layer.
    pub passing: f64,
    /// The logits of a chunk of labels, in half precision also as the head gives them.
    pub logits: f64,
}

/// Labels whose logits exist at a time, as `aki_model`'s loss has it.
const CHUNK: usize = 512;

/// Times the logits of a chunk exist in f32: they and their logarithms, or these and their gradient.
const LOGITS: f64 = 2.0;

impl Activations {
    pub(super) fn of(
        config: &AkiConfig,
        shape: &Shape,
        precision: Precision,
        tower_trained: bool,
    ) -> Self {
        let size = bytes(precision);
        // Where numbers have half the bits, RMS norms keep their input in f32 as well.
        let wide = if precision == Precision::F32 {
            0.0
        } else {
            4.0
        };
        let tokens = shape.tokens() as f64;
        let labels = shape.rows as f64 * shape.labels as f64;
        let language = &config.language;
        let [d, i, heads] = [
            language.hidden_size,
            language.intermediate_size,
            language.num_attention_heads,
        ]
        .map(|width| width as f64);
        let q = heads * language.head_dim() as f64;
        let k = (language.num_key_value_heads * language.head_dim()) as f64;
        // Both norms keep their input, normalised input and output. Attention keeps q, k, v, its output
        // and that once more with its heads side by side; SwiGLU keeps gate, up, the sigmoid, the
        // SiLU and the product.
        let block = size * (6.0 * d + 3.0 * q + 2.0 * k + 5.0 * i)
            + wide * 2.0 * d
            // Each query's log-sum-exp and each norm's root mean square, in f32.
            + 4.0 * (heads + 2.0);
        let words = (language.vocab_size + language.added_tokens) as f64;
        Self {
            tower: if tower_trained {
                shape.pictures as f64 * tower(config, size)
            } else {
                0.0
            },
            connector: shape.pictures as f64 * connector(config, size, tower_trained),
            block: tokens * block,
            block_input: tokens * size * d,
            // A byte says which tokens have an embedding of their own.
            around: tokens * (size * 2.0 * d + wide * d + d) + labels * size * d,
            passing: tokens * size * (d + 3.0 * i),
            logits: (LOGITS * 4.0 + wide / 2.0) * labels.min(CHUNK as f64) * words,
        }
    }
}

/// Of a picture in a trained tower.
fn tower(config: &AkiConfig, size: f64) -> f64 {
    let vision = &config.vision;
    let tokens = vision.num_tokens() as f64;
    let [d, i, heads, patch] = [
        vision.hidden_size,
        vision.intermediate_size,
        vision.num_attention_heads,
        vision.patch_size,
    ]
    .map(|width| width as f64);
    // Input and output, and what is in between where the function is put together of operations.
    let inside = match vision.activation() {
        VisionActivation::Gelu => 2.0 * i,
        VisionActivation::GeluPytorchTanh | VisionActivation::QuickGelu => 4.0 * i,
    };
    let layer = size * (2.0 * NORM * d + 5.0 * d + inside) + 4.0 * (heads + 4.0);
    let patches = vision.num_patches() as f64 * 3.0 * patch * patch;
    tokens * (vision.num_hidden_layers as f64 * layer + size * NORM * d) + size * patches
}

/// A layer norm keeps its input less the mean, that normalised, and its output.
const NORM: f64 = 3.0;

/// Of a picture in the resampler or projector. Where the tower is frozen, the norms of its patches keep
/// the normalised ones alone.
fn connector(config: &AkiConfig, size: f64, tower_trained: bool) -> f64 {
    let d = config.vision.hidden_size as f64;
    let patches = config.vision.num_tokens() as f64;
    if let Some(resampler) = &config.resampler {
        let latents = resampler.num_latents as f64;
        let heads = resampler.heads as f64;
        let inner = heads * resampler.head_dim as f64;
        let keys = patches + latents;
        let layer = size
            * (patches * d * if tower_trained { 2.0 } else { 1.0 }
                + latents * 2.0 * NORM * d
                // Keys and values, and what they are made of.
                + keys * (d + 2.0 * inner)
                // Queries, the output and that with its heads side by side.
                + latents * 3.0 * inner
                // Between the feed-forward layers, before the GELU and after it.
                + latents * 8.0 * d)
            + 4.0 * latents * (heads + 4.0);
        return resampler.depth as f64 * layer + size * latents * NORM * d;
    }
    config.projector.as_ref().map_or(0.0, |projector| {
        size * patches * (d + 2.0 * projector.hidden_size as f64)
    })
}
