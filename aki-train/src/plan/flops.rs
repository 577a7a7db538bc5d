//! Operations of the steps that a run really takes, for its utilisation.

use aki_model::AkiConfig;
use aki_model::flops::{Trained, Work};

use super::parameters::Weights;
use crate::config::{RunConfig, StageConfig};
use crate::data::PolicyBatch;
use crate::score::layout;

/// Counts the operations of a stage's batches.
#[derive(Clone, Debug)]
pub struct StepFlops {
    model: AkiConfig,
    trained: Trained,
    adapters: usize,
}

impl StepFlops {
    /// For a stage of a run.
    pub fn new(config: &RunConfig, stage: &StageConfig) -> Self {
        let weights = Weights::of(config, stage);
        Self {
            model: config.model.clone(),
            trained: weights.for_flops,
            adapters: weights.adapters,
        }
    }

    /// Operations of a training step over a batch. Padding and recomputation are no work; a batch that
    /// does not fit the rule is none either.
    pub fn of(&self, input: &PolicyBatch) -> f64 {
        let Ok(layout) = layout(input) else {
            return 0.0;
        };
        let work = Work {
            pictures: input.batch.picture_count,
            tokens: input.batch.tokens(),
            pairs: layout.visible_pairs(),
            labels: input.labels(),
        };
        self.model
            .flops(&work, self.adapters)
            .training(&self.trained)
    }
}
