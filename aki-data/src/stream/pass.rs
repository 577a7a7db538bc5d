//! The samples of one pass as they stand in the shards.

use std::sync::Arc;

use super::config::StreamConfig;
use crate::DataError;
use crate::shards::{RawSample, Shard, SkipReason, Skipped};

/// A sample as it comes from a shard.
pub(super) type Item = Result<RawSample, Skipped>;

/// What a remote store failed with, if that is what stands in a sample's place.
pub(super) fn store_failure(item: &Item) -> Option<DataError> {
    match item {
        Err(Skipped {
            shard,
            reason: SkipReason::Remote { reason },
            ..
        }) => Some(DataError::Remote {
            url: shard.display().to_string(),
            reason: reason.clone(),
        }),
        _ => None,
    }
}

/// An open shard.
pub(super) struct Reading {
    samples: Box<dyn Iterator<Item = Item> + Send>,
    /// Samples that were taken of it.
    pub(super) taken: u32,
}

impl Reading {
    /// A shard that cannot be opened is one that holds a broken sample.
    pub(super) fn open(shard: &Shard, config: &StreamConfig) -> Self {
        Self {
            samples: match shard.samples(config.limits, &config.remote) {
                Ok(reader) => Box::new(reader),
                Err(skipped) => Box::new(std::iter::once(Err(skipped))),
            },
            taken: 0,
        }
    }
}

impl Iterator for Reading {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        let sample = self.samples.next()?;
        self.taken += 1;
        Some(sample)
    }
}

/// Reads the shards of a pass one after another.
pub(super) struct Pass {
    /// Numbers of the shards, in order.
    pub(super) plan: Vec<u32>,
    /// Samples in those that were read to their ends.
    pub(super) finished: Arc<Vec<u32>>,
    /// Places in the plan of those that a remote store failed to give whole. The last
    /// of the samples counted in such a shard is that failure.
    pub(super) given_up: Arc<Vec<u32>>,
    /// The next one, once it is open.
    pub(super) reading: Option<Reading>,
}

impl Pass {
    pub(super) fn new(plan: Vec<u32>) -> Self {
        Self {
            plan,
            finished: Arc::default(),
            given_up: Arc::default(),
            reading: None,
        }
    }

    /// Opens the shard at a place of the plan.
    pub(super) fn open(&self, at: usize, shards: &[Shard], config: &StreamConfig) -> Reading {
        Reading::open(&shards[self.plan[at] as usize], config)
    }

    /// The next sample of the pass.
    pub(super) fn next(&mut self, shards: &[Shard], config: &StreamConfig) -> Option<Item> {
        let mut reading = self.reading.take();
        while self.finished.len() < self.plan.len() {
            let mut open =
                reading.unwrap_or_else(|| self.open(self.finished.len(), shards, config));
            let sample = open.next();
            let failed = sample.as_ref().and_then(store_failure).is_some();
            if sample.is_some() && !failed {
                self.reading = Some(open);
                return sample;
            }
            // States that were handed out keep what they knew.
            if failed {
                // Finished at once, so that no later run reads on here.
                Arc::make_mut(&mut self.given_up).push(self.finished.len() as u32);
            }
            Arc::make_mut(&mut self.finished).push(open.taken);
            if sample.is_some() {
                return sample;
            }
            reading = None;
        }
        None
    }
}
