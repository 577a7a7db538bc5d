//! A stage of a run.

use aki_data::sources::SourceConfig;
use aki_data::{Augmentation, PictureOrder, Target};
use aki_model::attention::Policy;
use serde::{Deserialize, Serialize};

/// One stage of training. What it takes over from the one before it is the weights alone, see
/// [`RunConfig::stage`](super::RunConfig::stage).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageConfig {
    /// The stage's name in logs, folders and `--set stage.NAME.key=value`.
    pub name: String,
    /// What is learned from a sample.
    pub target: StageTarget,
    /// Who may look at whom.
    pub attention: Policy,
    /// Whether pictures come before their texts or after them.
    #[serde(default)]
    pub order: PictureOrder,
    /// Optimizer steps; 0 leaves the stage out.
    pub steps: usize,
    /// Pictures a step; of sources, rows a step. Each rank has as many.
    pub batch: usize,
    /// How many of them go through the network at a time; all if left out. Gradients are summed up to
    /// those of the whole batch, each label with the same weight.
    pub micro_batch: Option<usize>,
    /// Questions drawn of each picture; 0 takes all. Only questions have a use for it.
    pub questions_per_picture: Option<usize>,
    /// The sources to learn from; all that are not `valid` if left out.
    pub sources: Option<Vec<String>>,
    /// Tokens of a source's text at most, a picture counted as one; longer ones are cut.
    pub max_text_len: Option<usize>,
    /// Tokens a row, in which as many samples of the sources are put as fit. Without it a row is
    /// one sample.
    pub packing: Option<usize>,
    /// Threads that a step's pictures are shared out to, for the CPU; 1 on a GPU. It decides the
    /// order of sums, so another number gives other last bits.
    pub threads: usize,
    /// Steps between measurements on the samples set aside.
    pub evaluate_every: usize,
    /// Steps between checkpoints. There is always one at the end of a stage.
    pub checkpoint_every: usize,
    /// Random changes of the pictures.
    pub augmentation: Augmentation,
    /// Parameters that are not trained, as patterns of their paths: `vision_encoder.*`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub freeze: Vec<String>,
    /// How weights change.
    pub optimizer: OptimizerConfig,
}

/// What a stage learns from a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StageTarget {
    /// The picture's caption.
    Captions,
    /// Answers to the questions about the picture.
    Questions,
    /// What the `[[data.source]]`s give.
    Sources,
}

/// `AdamW` with betas 0.9 and 0.999, epsilon 1e-8, and a schedule with warm-up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizerConfig {
    /// Highest learning rate.
    pub lr: f64,
    /// Learning rate at the first step and at the last.
    pub min_lr: f64,
    /// Steps from `min_lr` to `lr`.
    pub warmup_steps: usize,
    /// What the learning rate does after the warm-up.
    #[serde(default)]
    pub schedule: Schedule,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Parameters that do not decay, as patterns of their paths; none in the original.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub no_decay: Vec<String>,
    /// Highest global norm of the gradients; larger ones are scaled down.
    pub clip_norm: f64,
    /// Other learning rates for some parameters; the last that fits counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rates: Vec<RateConfig>,
}

/// What the learning rate does after the warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// Down to `min_lr` along a cosine.
    #[default]
    Cosine,
    /// Down to `min_lr` in a line.
    Linear,
    /// Stays at `lr`.
    Constant,
}

/// Another learning rate for some parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateConfig {
    /// Patterns of their paths.
    pub params: Vec<String>,
    /// Their learning rate, as a multiple of the schedule's.
    pub factor: f64,
}

impl StageConfig {
    /// Whether it learns from a source of the run.
    pub fn learns(&self, source: &SourceConfig) -> bool {
        let named = |names: &Vec<String>| names.contains(&source.name());
        !source.is_valid() && self.sources.as_ref().is_none_or(named)
    }

    /// What its batches are counted in.
    pub fn unit(&self) -> &'static str {
        match self.target {
            StageTarget::Captions | StageTarget::Questions => "pictures",
            StageTarget::Sources => "rows",
        }
    }

    /// The data crate's name for what this stage learns of the samples in memory; none if it learns
    /// from sources.
    pub fn data_target(&self) -> Option<Target> {
        match self.target {
            StageTarget::Captions => Some(Target::Captions),
            StageTarget::Questions => Some(Target::Questions {
                per_picture: self.questions_per_picture.filter(|&count| count > 0),
            }),
            StageTarget::Sources => None,
        }
    }
}
