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
    /// How long the step waited for its batch.
    pub wait: Duration,
    /// Global norm of the gradients before they were clipped.
    pub norm: Option<f64>,
    /// Floating-point operations of the step, where they are counted.
    pub flops: Option<f64>,
    /// Bytes in use after it, see [`memory_in_use`](super::memory_in_use).
    pub memory: Option<u64>,
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
