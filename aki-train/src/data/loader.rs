//! Burn's data loader, over whatever can give the batches of some items.

use std::ops::Range;
use std::sync::Arc;

use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::tensor::Device;

use super::PolicyBatch;

/// Batches, in order; an error is the last.
pub type Batches<'a> = Box<dyn Iterator<Item = Result<PolicyBatch, DatasetError>> + 'a>;

/// What a [`Loader`] loads.
pub trait Items: Send + Sync + 'static {
    /// What the items are counted in.
    const UNIT: &'static str;

    /// Items of a batch.
    fn batch(&self) -> usize;

    /// The batches of some of the items.
    fn batches(&self, range: Range<usize>) -> Batches<'_>;
}

/// Items `range`, in batches. Resuming is slicing.
pub struct Loader<T> {
    items: Arc<T>,
    range: Range<usize>,
}

impl<T: Items> Loader<T> {
    /// The first `count` items.
    pub fn new(items: T, count: usize) -> Self {
        Self {
            items: Arc::new(items),
            range: 0..count,
        }
    }
}

impl<T: Items> DataLoader<PolicyBatch> for Loader<T> {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<PolicyBatch> + 'a> {
        Box::new(Iter {
            batches: self.items.batches(self.range.clone()),
            done: 0,
            of: self.range.len(),
            batch: self.items.batch(),
            unit: T::UNIT,
        })
    }

    fn num_items(&self) -> usize {
        self.range.len()
    }

    fn to_device(&self, _: &Device) -> Arc<dyn DataLoader<PolicyBatch>> {
        // Batches are plain numbers; the model puts them where it is.
        self.slice(0, self.range.len())
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<PolicyBatch>> {
        let first = self.range.start;
        Arc::new(Self {
            items: self.items.clone(),
            range: (first + start).min(self.range.end)..(first + end).min(self.range.end),
        })
    }
}

struct Iter<'a> {
    batches: Batches<'a>,
    done: usize,
    of: usize,
    batch: usize,
    unit: &'static str,
}

impl Iterator for Iter<'_> {
    type Item = Result<PolicyBatch, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.batches.next()?;
        self.done = (self.done + self.batch).min(self.of);
        Some(batch)
    }
}

impl DataLoaderIterator<PolicyBatch> for Iter<'_> {
    fn progress(&self) -> Progress {
        Progress::new(self.done, self.of, Some(self.unit.to_owned()))
    }
}

/// The ranges of the batches of `range`.
pub(super) fn chunks(range: Range<usize>, batch: usize) -> impl Iterator<Item = Range<usize>> {
    let end = range.end;
    let starts = range.step_by(batch);
    starts.map(move |start| start..(start + batch).min(end))
}
