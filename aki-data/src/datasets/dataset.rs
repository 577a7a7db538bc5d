//! A source in memory.

use std::fmt::Display;
use std::sync::Arc;

use super::draft::Draft;
use super::record::Record;
use super::skipped::{SkipReason, Skipped, Skips};
use super::store::Store;

/// The records of one source, by index, in the order of its files. A clone shares them.
#[derive(Clone, Debug)]
pub struct Dataset(Arc<Contents>);

#[derive(Debug)]
struct Contents {
    store: Store,
    fingerprint: u64,
    skipped: Vec<Skipped>,
}

impl Dataset {
    /// Number of records.
    pub fn len(&self) -> usize {
        self.0.store.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A record as its makers have it: options in their order.
    ///
    /// # Panics
    /// If `index` is not less than [`Self::len`].
    pub fn get(&self, index: usize) -> Record {
        let (key, draft) = self.0.store.get(index);
        draft.into_record(key)
    }

    /// A record for training. Options, where there are some, are in an order that is a function of
    /// `seed` and `item`, the record's number in the stream.
    ///
    /// # Panics
    /// If `index` is not less than [`Self::len`].
    pub fn get_shuffled(&self, index: usize, seed: u64, item: usize) -> Record {
        let (key, mut draft) = self.0.store.get(index);
        draft.shuffle(seed, item);
        draft.into_record(key)
    }

    /// What was left out, by reason.
    pub fn skipped(&self) -> &[Skipped] {
        &self.0.skipped
    }

    /// A number that other records have not: any change to one is another number, and of many at
    /// once all but one in 2^64.
    pub fn fingerprint(&self) -> u64 {
        self.0.fingerprint
    }

    /// How many of those left out are [broken](SkipReason::is_broken).
    pub fn broken(&self) -> usize {
        let broken = self
            .skipped()
            .iter()
            .filter(|skipped| skipped.reason.is_broken());
        broken.map(|skipped| skipped.count).sum()
    }

    /// Bytes of memory the records take.
    pub fn memory(&self) -> usize {
        self.0.store.size()
    }
}

/// A data set while it is read.
#[derive(Default)]
pub(super) struct Builder {
    store: Store,
    skips: Skips,
}

impl Builder {
    /// Takes a record in, or counts why it cannot be used.
    pub(super) fn push(&mut self, key: impl Display, draft: Result<Draft, SkipReason>) {
        let key = key.to_string();
        let checked = draft.and_then(|draft| draft.check().map(|()| draft));
        match checked {
            Ok(draft) => self.store.push(&key, &draft),
            Err(reason) => self.skips.add(&key, reason),
        }
    }

    pub(super) fn finish(mut self) -> Dataset {
        self.store.shrink();
        Dataset(Arc::new(Contents {
            fingerprint: self.store.fingerprint(),
            store: self.store,
            skipped: self.skips.into_list(),
        }))
    }
}
