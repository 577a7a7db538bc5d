//! Samples held in memory, in an order that is a function of the seed.

use std::sync::Arc;

use aki_data::{Batcher, DataError, Order, Sample};

use aki_model::attention::Policy;
use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::tensor::Device;

use super::PolicyBatch;

/// Items `range` of an endless stream over some samples, in batches.
///
/// An item is a picture with its text. Item `i` is the same whoever asks: resuming is slicing.
#[derive(Clone)]
pub struct SampleLoader {
    samples: Arc<Vec<Sample>>,
    /// The shuffle; without one, samples come as they stand.
    order: Option<Arc<Order>>,
    batcher: Arc<Batcher>,
    policy: Policy,
    batch: usize,
    range: std::ops::Range<usize>,
}

impl SampleLoader {
    /// The first `items` of the stream, `batch` at a time: in the shuffled `order`, or as they
    /// stand.
    pub fn new(
        samples: Vec<Sample>,
        order: Option<Order>,
        batcher: Batcher,
        policy: Policy,
        batch: usize,
        items: usize,
    ) -> Self {
        Self {
            samples: Arc::new(samples),
            order: order.map(Arc::new),
            batcher: Arc::new(batcher),
            policy,
            batch,
            range: 0..items,
        }
    }

    /// The items that the next batch holds, from `start` on.
    fn load(&self, start: usize) -> Result<PolicyBatch, DataError> {
        let end = (start + self.batch).min(self.range.end);
        let items: Vec<(usize, &Sample)> = (start..end)
            .map(|item| {
                let index = self.order.as_ref().map_or(item, |order| order.index(item));
                (item, &self.samples[index])
            })
            .collect();
        Ok(PolicyBatch {
            batch: self.batcher.batch(&items)?,
            policy: self.policy,
            behind: None,
        })
    }
}

impl DataLoader<PolicyBatch> for SampleLoader {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<PolicyBatch> + 'a> {
        Box::new(Iter {
            loader: self,
            next: self.range.start,
        })
    }

    fn num_items(&self) -> usize {
        self.range.len()
    }

    fn to_device(&self, _: &Device) -> Arc<dyn DataLoader<PolicyBatch>> {
        // Batches are plain numbers; the model puts them where it is.
        Arc::new(self.clone())
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<PolicyBatch>> {
        let first = self.range.start;
        let range = (first + start).min(self.range.end)..(first + end).min(self.range.end);
        Arc::new(Self {
            range,
            ..self.clone()
        })
    }
}

struct Iter<'a> {
    loader: &'a SampleLoader,
    next: usize,
}

impl Iterator for Iter<'_> {
    type Item = Result<PolicyBatch, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.loader.range.end {
            return None;
        }
        let batch = self.loader.load(self.next);
        self.next = (self.next + self.loader.batch).min(self.loader.range.end);
        Some(batch.map_err(DatasetError::new))
    }
}

impl DataLoaderIterator<PolicyBatch> for Iter<'_> {
    fn progress(&self) -> Progress {
        let range = &self.loader.range;
        Progress::new(
            self.next - range.start,
            range.len(),
            Some("pictures".to_owned()),
        )
    }
}
