//! The samples of one pass as they stand in the shards.

use std::sync::Arc;

use crate::shards::{Limits, RawSample, Shard, Skipped};

/// A sample as it comes from a shard.
pub(super) type Item = Result<RawSample, Skipped>;

/// An open shard.
pub(super) struct Reading {
    samples: Box<dyn Iterator<Item = Item> + Send>,
    /// Samples that were taken of it.
    pub(super) taken: u32,
}

impl Reading {
    /// A shard that cannot be opened is one that holds a broken sample.
    pub(super) fn open(shard: &Shard, limits: Limits) -> Self {
        Self {
            samples: match shard.samples(limits) {
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
    /// The next one, once it is open.
    pub(super) reading: Option<Reading>,
}

impl Pass {
    pub(super) fn new(plan: Vec<u32>) -> Self {
        Self {
            plan,
            finished: Arc::default(),
            reading: None,
        }
    }

    /// Opens the shard at a place of the plan.
    pub(super) fn open(&self, at: usize, shards: &[Shard], limits: Limits) -> Reading {
        Reading::open(&shards[self.plan[at] as usize], limits)
    }

    /// The next sample of the pass.
    pub(super) fn next(&mut self, shards: &[Shard], limits: Limits) -> Option<Item> {
        let mut reading = self.reading.take();
        while self.finished.len() < self.plan.len() {
            let mut open =
                reading.unwrap_or_else(|| self.open(self.finished.len(), shards, limits));
            if let Some(sample) = open.next() {
                self.reading = Some(open);
                return Some(sample);
            }
            // States that were handed out keep what they knew.
            Arc::make_mut(&mut self.finished).push(open.taken);
            reading = None;
        }
        None
    }
}
