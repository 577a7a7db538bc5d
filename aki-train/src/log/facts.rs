//! What a step tells the logs beside Burn's metrics.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Record;

/// What a training step tells the logs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StepFacts {
    /// Tokens of the step's texts, without padding, those of the pictures among them.
    pub tokens: usize,
    /// How long the step took, from asking for its batch to the changed weights.
    pub time: Duration,
    /// How much of that it waited for its batch.
    pub wait: Duration,
    /// Global norm of the gradients before they were clipped.
    pub norm: Option<f64>,
    /// Floating-point operations of the step, where they are counted.
    pub flops: Option<f64>,
    /// Bytes in use after it, see [`memory_in_use`](super::memory_in_use).
    pub memory: Option<u64>,
}

impl StepFacts {
    /// The record of a step of `samples`, with what was told of it. Speeds are those of the step itself:
    /// measurements, checkpoints and the logs' own work are left out. `tflops` is what the device computes at
    /// best, in 10^12 floating-point operations a second.
    pub(super) fn added_to(self, record: Record, samples: usize, tflops: Option<f64>) -> Record {
        let seconds = self.time.as_secs_f64().max(1e-9);
        let used = |tflops: f64| Some(self.flops? / seconds / (tflops * 1e12));
        Record {
            samples_per_second: Some(samples as f64 / seconds),
            tokens_per_second: Some(self.tokens as f64 / seconds),
            mfu: tflops.and_then(used),
            data_wait: Some((self.wait.as_secs_f64() / seconds).min(1.0)),
            grad_norm: self.norm,
            memory: self.memory,
            ..record
        }
    }
}

/// Facts on their way from the strategy to the logger, and the last record on its way to the progress
/// bar. Burn's metrics go through a thread of their own, so the logger may be some steps behind.
#[derive(Clone, Debug, Default)]
pub struct StepLog(Arc<Mutex<Steps>>);

#[derive(Debug, Default)]
struct Steps {
    ahead: VecDeque<StepFacts>,
    last: Option<Record>,
}

impl StepLog {
    /// To be called once a step, before its metrics are handed to Burn.
    pub fn push(&self, facts: StepFacts) {
        self.steps().ahead.push_back(facts);
    }

    /// The facts of the first step that has not been logged.
    pub(super) fn take(&self) -> Option<StepFacts> {
        self.steps().ahead.pop_front()
    }

    pub(super) fn set_last(&self, record: &Record) {
        self.steps().last = Some(record.clone());
    }

    /// What was logged of the last training step.
    pub(super) fn last(&self) -> Option<Record> {
        self.steps().last.clone()
    }

    fn steps(&self) -> MutexGuard<'_, Steps> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Split;

    #[test]
    fn speeds_are_over_the_steps_own_time() {
        let facts = StepFacts {
            tokens: 100,
            time: Duration::from_millis(500),
            wait: Duration::from_millis(125),
            flops: Some(1e12),
            ..StepFacts::default()
        };
        let record = Record::new("a", 1, Split::Train, 1.0, 3600.0);
        let expected = Record {
            samples_per_second: Some(8.0),
            tokens_per_second: Some(200.0),
            mfu: Some(0.5),
            data_wait: Some(0.25),
            ..record.clone()
        };
        assert_eq!(facts.added_to(record, 4, Some(4.0)), expected);
    }

    #[test]
    fn facts_come_in_the_order_of_the_steps() {
        let log = StepLog::default();
        assert_eq!(log.take(), None);
        for tokens in [1, 2] {
            let facts = StepFacts {
                tokens,
                ..StepFacts::default()
            };
            log.clone().push(facts);
        }
        let taken = std::iter::from_fn(|| log.take()).map(|facts| facts.tokens);
        assert_eq!(taken.collect::<Vec<_>>(), [1, 2]);
    }
}
