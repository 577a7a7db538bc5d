//! What the logs are told of each step, beside Burn's metrics.

use std::time::Duration;

use burn::tensor::Device;

use crate::data::PolicyBatch;
use crate::log::{StepFacts, StepLog, memory_in_use};
use crate::plan::StepFlops;

/// Gathers what is to be told of a step.
pub(crate) struct Meter {
    log: StepLog,
    device: Device,
    /// Counts operations, where a utilisation is to be told.
    flops: Option<StepFlops>,
}

impl Meter {
    pub(crate) fn new(log: StepLog, device: Device, flops: Option<StepFlops>) -> Self {
        Self { log, device, flops }
    }

    /// What is known before a step over a batch that was waited for, with `tokens` of all ranks in the
    /// step. How much is computed is this rank's, for the use that it makes of its card.
    pub(super) fn facts(&self, batch: &PolicyBatch, tokens: usize, wait: Duration) -> StepFacts {
        StepFacts {
            tokens,
            wait,
            flops: self.flops.as_ref().map(|flops| flops.of(batch)),
            ..StepFacts::default()
        }
    }

    /// To be called after a step that took `time`, and before its metrics are processed.
    pub(super) fn tell(&self, facts: StepFacts, time: Duration, norm: f64) {
        self.log.push(StepFacts {
            time,
            norm: Some(norm),
            memory: memory_in_use(&self.device),
            ..facts
        });
    }
}
