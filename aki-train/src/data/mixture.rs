//! Batches of a run's sources.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use aki_data::mixture::{
    BatchConfig, BatchState, BatchStream, Counts, Made, Mixture, MixtureConfig, Preparer,
};
use aki_data::sources::Source;
use aki_data::stream::{Prefetch, prefetch};
use aki_data::{DataError, Skipped};
use aki_model::attention::Policy;
use burn::data::dataset::DatasetError;

use super::PolicyBatch;
use super::loader::{Batches, Items};
use super::skip_log::SkipLog;
use crate::distributed::Ranks;

/// Batches made before they are asked for.
const AHEAD: usize = 2;

/// The rows of a stage, from its sources.
#[derive(Clone)]
pub struct MixedRows {
    sources: Arc<[Source]>,
    order: MixtureConfig,
    preparer: Preparer,
    batching: BatchConfig,
    policy: Policy,
    /// A row, and what it takes to begin with it.
    start: Option<(usize, BatchState)>,
    notice: fn(&str),
    /// Every sample that could not be used is written down here.
    log: Option<PathBuf>,
    counts: Arc<Mutex<Counts>>,
    /// Why there are no more batches, which Burn hands on as a text.
    fault: Arc<Mutex<Option<DataError>>>,
}

impl MixedRows {
    /// All rows, from the beginning.
    pub fn new(
        sources: Arc<[Source]>,
        order: MixtureConfig,
        preparer: Preparer,
        batching: BatchConfig,
        policy: Policy,
        notice: fn(&str),
    ) -> Self {
        Self {
            sources,
            order,
            preparer,
            batching,
            policy,
            start: None,
            notice,
            log: None,
            counts: Arc::default(),
            fault: Arc::default(),
        }
    }

    /// The same, shared out to several ranks.
    #[must_use]
    pub fn shared_out(mut self, ranks: Ranks) -> Self {
        self.order.rank = ranks.rank();
        self.order.world_size = ranks.world_size();
        self
    }

    /// The same, which also writes every sample that cannot be used down in a file, one JSON object
    /// a line.
    #[must_use]
    pub fn logged(mut self, file: PathBuf) -> Self {
        self.log = Some(file);
        self
    }

    /// The same, to be loaded from row `first` on, which comes behind `state`.
    #[must_use]
    pub fn resumed(mut self, first: usize, state: BatchState) -> Self {
        self.start = Some((first, state));
        self
    }

    /// What came of the samples so far.
    pub fn counts(&self) -> Counts {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why there were no more batches, once.
    pub fn fault(&self) -> Option<DataError> {
        let mut fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        fault.take()
    }

    /// The batches from row `row` on, made ahead.
    ///
    /// # Errors
    /// [`DataError::Resume`] if the state is that of other sources or another row,
    /// [`DataError::Stream`].
    pub fn made(&self, row: usize) -> Result<Prefetch<Result<Made, DataError>>, DataError> {
        let first = self.start.as_ref().map_or(0, |(first, _)| *first);
        if first != row {
            return Err(DataError::Resume {
                reason: format!("the data stand at row {first}, and the run at row {row}"),
            });
        }
        let start = self.start.as_ref().map(|(_, state)| state);
        let mixture = Mixture::new(
            self.sources.clone(),
            self.order,
            start.map(|state| &state.mixture),
        )?;
        let mut skips = SkipLog::new(self.notice, self.log.clone());
        let on_skip = move |source: &str, skipped: &Skipped| skips.tell(source, skipped);
        let stream = BatchStream::new(
            mixture,
            start,
            self.preparer.clone(),
            self.batching,
            on_skip,
        )?;
        prefetch(stream, 1, AHEAD, |made| made)
    }
}

impl Items for MixedRows {
    const UNIT: &'static str = "rows";

    fn batch(&self) -> usize {
        self.batching.batch
    }

    fn batches(&self, range: Range<usize>) -> Batches<'_> {
        let made: Box<dyn Iterator<Item = Result<Made, DataError>>> = match self.made(range.start) {
            Ok(made) => Box::new(made),
            Err(error) => Box::new(std::iter::once(Err(error))),
        };
        let made = made.take(range.len().div_ceil(self.batching.batch));
        Box::new(made.map(|made| {
            let made = made.map_err(|error| {
                let told = DatasetError::new(std::io::Error::other(error.to_string()));
                *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                told
            })?;
            *self.counts.lock().unwrap_or_else(PoisonError::into_inner) = made.counts;
            Ok(PolicyBatch {
                batch: made.batch,
                policy: self.policy,
                behind: Some(made.state),
                loss_scale: 1.0,
                labels_of_all: None,
            })
        }))
    }
}
