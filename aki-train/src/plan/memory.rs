//! Memory of a step, by part, at the three moments that may need the most.

use serde::Serialize;

use super::activations::Activations;
use super::batch::StageBatch;
use super::parameters::{Weights, bytes};
use crate::config::{LoraBase, Moments, Precision, RunConfig, StageConfig};

/// When, in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Moment {
    /// The forward pass is through and the backward pass begins: all activations are there.
    Loss,
    /// The backward pass is through: all gradients are there.
    Gradients,
    /// The optimizer changes the weights.
    Update,
}

impl Moment {
    /// All, in the order of a step.
    pub const ALL: [Self; 3] = [Self::Loss, Self::Gradients, Self::Update];
}

/// Bytes of one part at each moment.
#[derive(Clone, Debug, Serialize)]
pub struct MemoryPart {
    /// The part.
    pub name: &'static str,
    /// Bytes at [`Moment::Loss`].
    pub loss: u64,
    /// Bytes at [`Moment::Gradients`].
    pub gradients: u64,
    /// Bytes at [`Moment::Update`].
    pub update: u64,
}

/// Memory of a step.
#[derive(Clone, Debug, Serialize)]
pub struct Memory {
    /// Each part.
    pub parts: Vec<MemoryPart>,
    /// Bytes at the moment that needs the most.
    pub peak: u64,
    /// That moment.
    pub at: Moment,
}

impl MemoryPart {
    /// Bytes at a moment.
    pub fn at(&self, moment: Moment) -> u64 {
        match moment {
            Moment::Loss => self.loss,
            Moment::Gradients => self.gradients,
            Moment::Update => self.update,
        }
    }
}

/// Tensors as large as the largest trained one that are made while it changes, in f32: its clipped
/// gradient, its square, the change.
const UPDATING: f64 = 3.0;

/// Times the gradient of the head exists: worked out beside the logits, and again as autodiff takes it.
const HEAD_GRADIENTS: f64 = 2.0;

/// Bytes of a number's moments.
fn moments(kept: Moments) -> f64 {
    match kept {
        Moments::F32 => 8.0,
        Moments::Bf16 => 4.0,
        // A scale for each block of 256 numbers.
        Moments::EightBit => 2.0 * (1.0 + 4.0 / 256.0),
    }
}

impl Memory {
    pub(super) fn of(
        config: &RunConfig,
        stage: &StageConfig,
        weights: &Weights,
        batch: &StageBatch,
        ranks: usize,
    ) -> Self {
        let training = &config.training;
        let (precision, size) = (training.precision, bytes(training.precision));
        let trained = weights.trained() as f64;
        let shares = if training.shard_optimizer {
            ranks as f64
        } else {
            1.0
        };
        let half = precision != Precision::F32;
        let summed = batch.micro.rows < batch.step.rows;
        // Threads have gradients of their own, which are summed at the end.
        let threads = stage.threads.min(batch.micro.pictures).max(1);
        let gradients = size * trained * threads as f64;
        // Sums, over threads or ranks, are f32, and so are those of f16 less the loss's scale.
        let kept_wide = threads > 1 || ranks > 1 || precision == Precision::F16;
        let kept_gradients = trained * if kept_wide { 4.0 } else { size };
        let sums = if summed { 4.0 * trained } else { 0.0 };
        let head = size * weights.head as f64 * HEAD_GRADIENTS;

        let kept = Activations::of(
            &config.model,
            &batch.micro,
            precision,
            weights.for_flops.tower,
        );
        let layers = config.model.language.num_hidden_layers as f64;
        let (blocks, block) = match training.recompute {
            true => (layers * kept.block_input + kept.block, kept.block),
            false => (layers * kept.block, 0.0),
        };
        let before = kept.tower + kept.connector;
        let widened = match &training.lora {
            Some(lora) if lora.base != LoraBase::Same => size * weights.widened as f64,
            _ => 0.0,
        };
        let passing = kept.passing + widened;
        let side = config.model.vision.image_size;
        let pictures = 4.0 * batch.micro.pictures as f64 * (3 * side * side) as f64;

        let everywhere = |bytes: f64| [bytes; 3];
        let rows: [(&'static str, [f64; 3]); 10] = [
            ("weights", everywhere(weights.bytes)),
            (
                "f32 master weights",
                everywhere(if half { 4.0 * trained / shares } else { 0.0 }),
            ),
            (
                "moments",
                everywhere(moments(training.moments) * trained / shares),
            ),
            (
                "averaged weights",
                everywhere(training.ema.map_or(0.0, |_| 4.0 * weights.all() as f64)),
            ),
            (
                "gradients",
                [head, gradients, if summed { 0.0 } else { kept_gradients }],
            ),
            ("sums of gradients", everywhere(sums)),
            (
                "activations",
                [blocks + before + kept.around, before + block, 0.0],
            ),
            ("logits", [kept.logits, 0.0, 0.0]),
            ("pictures", [pictures, pictures, 0.0]),
            (
                "in passing",
                // The logits are gone when the blocks' backward passes begin.
                [
                    (passing - kept.logits).max(0.0),
                    passing,
                    UPDATING * 4.0 * weights.largest as f64,
                ],
            ),
        ];
        let parts: Vec<MemoryPart> = rows
            .into_iter()
            .map(|(name, bytes)| {
                let [loss, gradients, update] = bytes.map(|bytes| bytes.round() as u64);
                MemoryPart {
                    name,
                    loss,
                    gradients,
                    update,
                }
            })
            .filter(|part| Moment::ALL.iter().any(|&moment| part.at(moment) > 0))
            .collect();
        let total = |moment: Moment| parts.iter().map(|part| part.at(moment)).sum::<u64>();
        let mut at = Moment::Loss;
        for moment in Moment::ALL {
            if total(moment) > total(at) {
                at = moment;
            }
        }
        Self {
            peak: total(at),
            at,
            parts,
        }
    }

    /// Bytes at a moment, all parts together.
    pub fn total(&self, moment: Moment) -> u64 {
        self.parts.iter().map(|part| part.at(moment)).sum()
    }
}
