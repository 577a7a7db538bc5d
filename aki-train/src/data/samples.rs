//! Samples held in memory, in an order that is a function of the seed.

use std::ops::Range;

use aki_data::{Batcher, DataError, Order, Sample};
use aki_model::attention::Policy;
use burn::data::dataset::DatasetError;

use super::PolicyBatch;
use super::loader::{Batches, Items, chunks};
use crate::distributed::Ranks;

/// An endless stream over some samples.
///
/// An item is a picture with its text. Item `i` is the same whoever asks.
pub struct Samples {
    held: Vec<Sample>,
    /// The shuffle; without one, samples come as they stand.
    order: Option<Order>,
    batcher: Batcher,
    policy: Policy,
    batch: usize,
    ranks: Ranks,
}

impl Samples {
    /// `batch` at a time: in the shuffled `order`, or as they stand.
    pub fn new(
        samples: Vec<Sample>,
        order: Option<Order>,
        batcher: Batcher,
        policy: Policy,
        batch: usize,
    ) -> Self {
        Self {
            held: samples,
            order,
            batcher,
            policy,
            batch,
            ranks: Ranks::ALONE,
        }
    }

    /// The same, shared out to several ranks.
    #[must_use]
    pub fn shared_out(mut self, ranks: Ranks) -> Self {
        self.ranks = ranks;
        self
    }

    fn load(&self, range: Range<usize>) -> Result<PolicyBatch, DataError> {
        let items = range.map(|own| {
            let item = self.ranks.item(own, self.batch);
            let index = self.order.as_ref().map_or(item, |order| order.index(item));
            (item, &self.held[index])
        });
        let items: Vec<(usize, &Sample)> = items.collect();
        Ok(PolicyBatch {
            batch: self.batcher.batch(&items)?,
            policy: self.policy,
            behind: None,
            loss_scale: 1.0,
            labels_of_all: None,
        })
    }
}

impl Items for Samples {
    const UNIT: &'static str = "pictures";

    fn batch(&self) -> usize {
        self.batch
    }

    fn batches(&self, range: Range<usize>) -> Batches<'_> {
        let batches = chunks(range, self.batch).map(|items| self.load(items));
        Box::new(batches.map(|batch| batch.map_err(DatasetError::new)))
    }
}
