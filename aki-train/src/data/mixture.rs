//! Batches of a run's sources.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use aki_data::mixture::{
    BatchConfig, BatchState, BatchStream, Counts, Made, Mixture, MixtureConfig, Preparer,
};
use aki_data::sources::Source;
use aki_data::stream::{Prefetch, prefetch};
use aki_data::{DataError, Skipped};
use aki_model::attention::Policy;
use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::tensor::Device;

use super::PolicyBatch;
use super::skip_log::SkipLog;

/// Batches made before they are asked for.
const AHEAD: usize = 2;

/// The rows of a stage, from its sources.
#[derive(Clone)]
pub struct MixtureLoader {
    sources: Arc<[Source]>,
    order: MixtureConfig,
    preparer: Preparer,
    batching: BatchConfig,
    policy: Policy,
    /// Rows of the stage.
    range: std::ops::Range<usize>,
    /// A row, and what it takes to begin with it.
    start: Option<(usize, BatchState)>,
    notice: fn(&str),
    /// Every sample that could not be used is written down here.
    log: Option<PathBuf>,
    counts: Arc<Mutex<Counts>>,
}

impl MixtureLoader {
    /// `rows` rows from the beginning.
    pub fn new(
        sources: Arc<[Source]>,
        order: MixtureConfig,
        preparer: Preparer,
        batching: BatchConfig,
        policy: Policy,
        rows: usize,
        notice: fn(&str),
    ) -> Self {
        Self {
            sources,
            order,
            preparer,
            batching,
            policy,
            range: 0..rows,
            start: None,
            notice,
            log: None,
            counts: Arc::default(),
        }
    }

    /// The same, which also writes every sample that cannot be used down in a file, one JSON object
    /// a line.
    #[must_use]
    pub fn logged(mut self, file: PathBuf) -> Self {
        self.log = Some(file);
        self
    }

    /// The same, to be sliced from row `first` on, which comes behind `state`.
    #[must_use]
    pub fn resumed(mut self, first: usize, state: BatchState) -> Self {
        self.start = Some((first, state));
        self
    }

    /// What came of the samples so far.
    pub fn counts(&self) -> Counts {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The batches, made ahead.
    ///
    /// # Errors
    /// [`DataError::Resume`] if the state is that of other sources or another row,
    /// [`DataError::Stream`].
    pub fn batches(&self) -> Result<Prefetch<Result<Made, DataError>>, DataError> {
        let first = self.start.as_ref().map_or(0, |(first, _)| *first);
        if first != self.range.start {
            return Err(DataError::Resume {
                reason: format!(
                    "the data stand at row {first}, and the run at row {}",
                    self.range.start
                ),
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
        prefetch(stream, 1, AHEAD, |made| made).map_err(|error| DataError::Stream {
            reason: format!("no thread to read with: {error}"),
        })
    }
}

impl DataLoader<PolicyBatch> for MixtureLoader {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<PolicyBatch> + 'a> {
        Box::new(Iter {
            loader: self,
            batches: Some(self.batches()),
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
    loader: &'a MixtureLoader,
    batches: Option<Result<Prefetch<Result<Made, DataError>>, DataError>>,
    next: usize,
}

impl Iterator for Iter<'_> {
    type Item = Result<PolicyBatch, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.loader.range.end {
            return None;
        }
        let made = match self.batches.take()? {
            Ok(mut batches) => {
                let made = batches.next()?;
                self.batches = Some(Ok(batches));
                made
            }
            Err(error) => Err(error),
        };
        Some(made.map_err(DatasetError::new).map(|made| {
            self.next += self.loader.batching.batch;
            *self
                .loader
                .counts
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = made.counts;
            PolicyBatch {
                batch: made.batch,
                policy: self.loader.policy,
                behind: Some(made.state),
            }
        }))
    }
}

impl DataLoaderIterator<PolicyBatch> for Iter<'_> {
    fn progress(&self) -> Progress {
        let range = &self.loader.range;
        let done = self.next.min(range.end) - range.start;
        Progress::new(done, range.len(), Some("rows".to_owned()))
    }
}
