//! Batches of a mixture.

use std::collections::VecDeque;
use std::sync::Arc;

use super::batch_state::{BatchState, fingerprint, others};
use super::collate::collate;
use super::config::BatchConfig;
use super::pack::{WINDOW, pack};
use super::prepare::{Prepared, Preparer};
use super::state::MixtureState;
use super::stream::Mixture;
use super::timings::Work;
use crate::DataError;
use crate::batch::Batch;
use crate::order::keyed_rng;
use crate::shards::{Skipped, Tally};
use crate::stream::{Prefetch, prefetch};

const PACK_DOMAIN: u64 = 0x616b_692d_7061_636b; // "aki-pack"

/// What came of the samples so far, since the stream was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Samples in batches.
    pub samples: u64,
    /// Those that lost their ends.
    pub cut: u64,
    /// Those that could not be used.
    pub skipped: u64,
    /// Tokens in batches.
    pub tokens: u64,
    /// Places for tokens in batches.
    pub places: u64,
}

/// A batch, with what it takes to go on after it.
#[derive(Clone, Debug)]
pub struct Made {
    /// The batch.
    pub batch: Batch,
    /// Resumes with the next.
    pub state: BatchState,
    /// Up to and with this batch.
    pub counts: Counts,
}

/// What a thread made of a place.
type Worked = Result<(Result<Prepared, (usize, Skipped)>, MixtureState), DataError>;

/// Is told the name of a source and what is wrong with a sample of it.
type OnSkip = dyn FnMut(&str, &Skipped) + Send;

/// A row's samples, and where the stream stands behind the row.
struct Row {
    samples: Vec<Prepared>,
    behind: BatchState,
}

/// The batches of a mixture, without end. Samples that cannot be used are counted, told, and the
/// next ones taken.
pub struct BatchStream {
    worked: Prefetch<Worked>,
    /// The sources' names.
    names: Vec<Arc<str>>,
    preparer: Preparer,
    config: BatchConfig,
    /// Behind the last sample that was taken.
    state: MixtureState,
    /// Rows to be left out of the first window, which a batch before has, and that window's
    /// fingerprint.
    used: Option<(usize, u64)>,
    rows: VecDeque<Row>,
    tallies: Vec<Tally>,
    counts: Counts,
    on_skip: Box<OnSkip>,
    failed: bool,
}

impl BatchStream {
    /// Batches from the place at which `mixture` stands: its beginning, or `state`'s
    /// [`mixture`](BatchState::mixture). `on_skip` is told the source's name and what is wrong.
    ///
    /// # Errors
    /// - [`DataError::Stream`] if the system gives no thread.
    /// - [`DataError::Resume`] if `state` was written with another packing. If the samples that
    ///   were packed together are others now, the first batch is this error.
    ///
    /// # Panics
    /// If there is no worker, no row in a batch, or pictures have no size.
    pub fn new(
        mut mixture: Mixture,
        state: Option<&BatchState>,
        mut preparer: Preparer,
        config: BatchConfig,
        on_skip: impl FnMut(&str, &Skipped) + Send + 'static,
    ) -> Result<Self, DataError> {
        assert!(
            config.batch > 0 && preparer.image_size > 0,
            "batches and pictures have a size"
        );
        let used = state.map(|state| state.used(&config)).transpose()?;
        preparer.packing = config.packing;
        let sources = mixture.sources().clone();
        let state = mixture.state().clone();
        let names: Vec<_> = sources.iter().map(|source| source.name.clone()).collect();
        let worker = preparer.clone();
        let work = move |place: Result<super::stream::Place, DataError>| {
            let place = place?;
            let (source, state) = (place.source, place.state.clone());
            let prepared = worker.prepare(&sources, place)?;
            Ok((prepared.map_err(|skipped| (source, skipped)), state))
        };
        let timings = preparer.timings.clone();
        let places = std::iter::from_fn(move || timings.time(Work::Read, || mixture.next()));
        let ahead = config.batch.max(2 * config.workers);
        Ok(Self {
            worked: prefetch(places, config.workers, ahead, work)?,
            tallies: names
                .iter()
                .map(|name| Tally::new(format!("samples of {name}"), config.max_bad_share))
                .collect(),
            names,
            preparer,
            config,
            state,
            used: used.flatten(),
            rows: VecDeque::new(),
            counts: Counts::default(),
            on_skip: Box::new(on_skip),
            failed: false,
        })
    }

    /// Good and bad samples of each source, as far as they were handed out.
    pub fn tallies(&self) -> impl Iterator<Item = (&str, &Tally)> {
        let names = self.names.iter().map(|name| &**name);
        names.zip(&self.tallies)
    }

    /// The next good sample.
    fn sample(&mut self) -> Result<Option<Prepared>, DataError> {
        for worked in self.worked.by_ref() {
            let (prepared, state) = worked?;
            self.state = state;
            match prepared {
                Ok(prepared) => {
                    self.tallies[prepared.source].good(&prepared.origin);
                    return Ok(Some(prepared));
                }
                Err((source, skipped)) => {
                    self.counts.skipped += 1;
                    (self.on_skip)(&self.names[source], &skipped);
                    self.tallies[source].bad(&skipped)?;
                }
            }
        }
        self.tallies.iter().try_for_each(Tally::finish)?;
        Ok(None)
    }

    /// Reads what the next rows are made of.
    fn fill(&mut self) -> Result<(), DataError> {
        let Some(capacity) = self.config.packing else {
            if let Some(sample) = self.sample()? {
                let behind = self.behind();
                self.rows.push_back(Row {
                    samples: vec![sample],
                    behind,
                });
            }
            return Ok(());
        };
        let before = self.state.clone();
        let mut window = Vec::new();
        while window.len() < WINDOW
            && let Some(sample) = self.sample()?
        {
            window.push(Some(sample));
        }
        let len = |sample: &Option<Prepared>| {
            sample
                .as_ref()
                .map_or(0, |sample| sample.sequence.input_ids.len())
        };
        let lengths: Vec<usize> = window.iter().map(len).collect();
        let MixtureState {
            seed, rank, drawn, ..
        } = before;
        let mut rng = keyed_rng(seed, PACK_DOMAIN, drawn, rank as u64);
        let packed = pack(&lengths, capacity, &mut rng);
        let last = packed.len();
        let print = fingerprint(&lengths);
        let (used, known) = self.used.take().unwrap_or((0, print));
        if known != print || (used > 0 && used >= last) {
            return Err(others(used, last));
        }
        for (number, row) in packed.into_iter().enumerate().skip(used) {
            let behind = if number + 1 == last {
                self.behind()
            } else {
                BatchState {
                    mixture: before.clone(),
                    rows: number + 1,
                    packing: self.config.packing,
                    window: print,
                }
            };
            let samples = row
                .into_iter()
                .filter_map(|item| window[item].take())
                .collect();
            self.rows.push_back(Row { samples, behind });
        }
        Ok(())
    }

    /// Behind the last sample that was taken.
    fn behind(&self) -> BatchState {
        BatchState {
            mixture: self.state.clone(),
            rows: 0,
            packing: self.config.packing,
            window: 0,
        }
    }

    fn batch(&mut self) -> Result<Option<Made>, DataError> {
        while self.rows.len() < self.config.batch {
            let before = self.rows.len();
            self.fill()?;
            if self.rows.len() == before {
                break;
            }
        }
        let rows: Vec<Row> = self
            .rows
            .drain(..self.config.batch.min(self.rows.len()))
            .collect();
        let Some(last) = rows.last() else {
            return Ok(None);
        };
        let state = last.behind.clone();
        let rows: Vec<_> = rows.into_iter().map(|row| row.samples).collect();
        let cut = rows
            .iter()
            .flatten()
            .filter(|sample| sample.cut > 0)
            .count();
        self.counts.cut += cut as u64;
        let min_len = self.config.packing.unwrap_or(0);
        let batch = self.preparer.timings.time(Work::Collate, || {
            collate(&self.preparer, &self.names, rows, min_len)
        });
        self.counts.samples += batch.documents.len() as u64;
        self.counts.tokens += batch.tokens() as u64;
        self.counts.places += batch.input_ids.len() as u64;
        Ok(Some(Made {
            batch,
            state,
            counts: self.counts,
        }))
    }
}

impl Iterator for BatchStream {
    type Item = Result<Made, DataError>;

    /// Ends after an error, and with the last batch of standard input, which may be smaller. What
    /// was broken of that is judged at its end, however little it is.
    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let made = self.batch().transpose();
        self.failed = !matches!(made, Some(Ok(_)));
        made
    }
}
