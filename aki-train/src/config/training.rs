//! How a run is trained: precision, memory, adapters and what is kept.

use aki_model::adapters::{AdapterConfig, Base};
use burn::tensor::FloatDType;
use serde::{Deserialize, Serialize};

/// How a run is trained, the same in all of its stages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainingConfig {
    /// What weights and activations are held in.
    pub precision: Precision,
    /// What the optimizer's moments are held in.
    pub moments: Moments,
    /// Whether decoder blocks run again in the backward pass, so that of each only its input is kept.
    pub recompute: bool,
    /// Whether each rank keeps a share of the optimizer's state only (`ZeRO-1`).
    pub shard_optimizer: bool,
    /// Decay of an average of the weights over the steps, which is measured and kept in their place.
    pub ema: Option<f64>,
    /// Adapters that are trained in place of the language model's matrices.
    pub lora: Option<LoraConfig>,
    /// Steps in a row without a finite gradient that stop the run.
    pub max_bad_steps: usize,
    /// Newest checkpoints of a stage that are kept.
    pub keep_last: usize,
    /// Checkpoints of a stage that are kept for their validation loss.
    pub keep_best: usize,
}

impl Default for TrainingConfig {
    fn default() -> Self {
        Self {
            precision: Precision::F32,
            moments: Moments::F32,
            recompute: false,
            shard_optimizer: false,
            ema: None,
            lora: None,
            max_bad_steps: 5,
            keep_last: 2,
            keep_best: 0,
        }
    }
}

/// What weights and activations are held in. Master weights, norms and sums are always f32; a master is
/// a stage's own, and the next stage makes its own of the weights in this precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32 bits.
    F32,
    /// bfloat16.
    Bf16,
    /// Half precision, with a scaled loss.
    F16,
}

impl TrainingConfig {
    /// A key whose value makes no sense, and why.
    pub(super) fn fault(&self) -> Option<(&'static str, &'static str)> {
        let Self {
            ema,
            max_bad_steps,
            keep_last,
            ..
        } = self;
        if ema.is_some_and(|decay| !(decay > 0.0 && decay < 1.0)) {
            return Some(("ema", "is more than 0 and less than 1"));
        }
        if *max_bad_steps == 0 {
            return Some(("max_bad_steps", "must be at least 1"));
        }
        (*keep_last == 0).then_some(("keep_last", "must be at least 1: a run resumes from it"))
    }
}

impl Precision {
    /// The tensors' type.
    pub fn dtype(self) -> FloatDType {
        match self {
            Self::F32 => FloatDType::F32,
            Self::Bf16 => FloatDType::BF16,
            Self::F16 => FloatDType::F16,
        }
    }
}

/// What the optimizer's moments are held in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Moments {
    /// 8 bytes a weight.
    #[serde(rename = "f32")]
    F32,
    /// 4 bytes a weight.
    #[serde(rename = "bf16")]
    Bf16,
    /// 2 bytes a weight, in blocks with a scale each.
    #[serde(rename = "8bit")]
    EightBit,
}

/// Low-rank adapters: `y = x W + alpha / rank (x A) B`, with `W` frozen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraConfig {
    /// Columns of `A` and rows of `B`.
    pub rank: usize,
    /// Scale of the adapters, divided by the rank.
    pub alpha: f64,
    /// Names of the language model's matrices that get one; all of its blocks' if left out.
    #[serde(default = "LoraConfig::all_targets")]
    pub targets: Vec<String>,
    /// What the frozen matrices are held in.
    #[serde(default)]
    pub base: LoraBase,
}

/// What the frozen matrices under adapters are held in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LoraBase {
    /// As the run's precision says.
    #[default]
    Same,
    /// 8 bits a weight, in blocks of 32 with a scale each.
    Int8,
    /// 4 bits a weight, in blocks of 32 with a scale each.
    Int4,
}

impl LoraConfig {
    pub(crate) fn all_targets() -> Vec<String> {
        AdapterConfig::TARGETS.map(str::to_owned).to_vec()
    }

    /// The network's name for it.
    pub fn adapters(&self) -> AdapterConfig {
        AdapterConfig {
            rank: self.rank,
            alpha: self.alpha,
            targets: self.targets.clone(),
            base: match self.base {
                LoraBase::Same => Base::Same,
                LoraBase::Int8 => Base::Int8,
                LoraBase::Int4 => Base::Int4,
            },
        }
    }
}
