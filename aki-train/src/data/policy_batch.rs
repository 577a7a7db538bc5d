//! A batch on its way to the network.

use aki_data::Batch;
use aki_data::mixture::BatchState;
use aki_model::attention::Policy;

/// A batch and the rule it is to be computed under.
#[derive(Clone, Debug)]
pub struct PolicyBatch {
    /// Pictures and token rows.
    pub batch: Batch,
    /// Who may look at whom.
    pub policy: Policy,
    /// What it takes to go on after it, where the number of the step is not enough.
    pub behind: Option<BatchState>,
    /// What the loss is multiplied with on the way to the gradients, so that f16 holds them.
    pub loss_scale: f64,
    /// Labels of all ranks in the same step, if there are several.
    pub labels_of_all: Option<usize>,
}

impl PolicyBatch {
    /// Labels that a loss can be computed for.
    pub fn labels(&self) -> usize {
        self.batch.labelled().1.len()
    }

    /// At most `parts` batches of about equally many pictures, each with its rows. Rows keep their
    /// padding.
    pub fn split(self, parts: usize) -> Vec<Self> {
        let batches = self.batch.split(parts).into_iter();
        let part = |batch| Self {
            batch,
            policy: self.policy,
            behind: None,
            loss_scale: self.loss_scale,
            labels_of_all: self.labels_of_all,
        };
        batches.map(part).collect()
    }
}
