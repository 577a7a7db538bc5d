//! Samples of sources to measure on, held in memory.

use std::sync::Arc;

use aki_data::mixture::{Prepared, Preparer, collate};
use aki_data::shards::Tally;
use aki_data::sources::Source;
use aki_model::attention::Policy;
use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::tensor::Device;

use super::PolicyBatch;
use super::skip_log::SkipLog;
use crate::TrainError;

/// The first samples of the sources that are `valid`, as they stand and without augmentation.
#[derive(Clone)]
pub struct ValidLoader {
    samples: Arc<[Prepared]>,
    names: Arc<[Arc<str>]>,
    preparer: Preparer,
    policy: Policy,
    batch: usize,
    range: std::ops::Range<usize>,
}

impl ValidLoader {
    /// `count` samples, about as many of each source; fewer if they hold no more, which is told.
    /// Those that cannot be used are told and passed over.
    ///
    /// # Errors
    ///
    /// [`TrainError::Data`] if the tokenizer cannot be used, or more than `max_bad_share` of a
    /// source's samples cannot.
    pub fn new(
        sources: &[Source],
        count: usize,
        preparer: Preparer,
        policy: Policy,
        batch: usize,
        max_bad_share: f64,
        notice: fn(&str),
    ) -> Result<Self, TrainError> {
        // Each has a row of its own.
        let preparer = Preparer {
            packing: None,
            ..preparer
        };
        let mut samples: Vec<Prepared> = Vec::new();
        let mut skips = SkipLog::new(notice, None);
        for (number, source) in sources.iter().enumerate() {
            let end = (number + 1) * count / sources.len();
            let mut tally = Tally::new(format!("samples of {}", source.name), max_bad_share);
            for example in source.in_file_order() {
                if samples.len() == end {
                    break;
                }
                let prepared = match example {
                    Ok(example) => preparer.ready(number, source, example, None)?,
                    Err(skipped) => Err(skipped),
                };
                match prepared {
                    Ok(prepared) => {
                        tally.good(&prepared.origin);
                        samples.push(prepared);
                    }
                    Err(skipped) => {
                        skips.tell(&source.name, &skipped);
                        tally.bad(&skipped)?;
                    }
                }
            }
            tally.finish()?;
        }
        if samples.len() < count {
            let held = samples.len();
            notice(&format!(
                "data.valid_samples asks for {count}, and the sources that are `valid` hold {held}"
            ));
        }
        Ok(Self {
            range: 0..samples.len(),
            samples: samples.into(),
            names: sources.iter().map(|source| source.name.clone()).collect(),
            preparer,
            policy,
            batch,
        })
    }
}

impl DataLoader<PolicyBatch> for ValidLoader {
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
    loader: &'a ValidLoader,
    next: usize,
}

impl Iterator for Iter<'_> {
    type Item = Result<PolicyBatch, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let loader = self.loader;
        let end = (self.next + loader.batch).min(loader.range.end);
        let rows = loader.samples[self.next..end].iter();
        let rows: Vec<_> = rows.map(|sample| vec![sample.clone()]).collect();
        self.next = end;
        (!rows.is_empty()).then(|| {
            Ok(PolicyBatch {
                batch: collate(&loader.preparer, &loader.names, rows, 0),
                policy: loader.policy,
                behind: None,
            })
        })
    }
}

impl DataLoaderIterator<PolicyBatch> for Iter<'_> {
    fn progress(&self) -> Progress {
        let range = &self.loader.range;
        Progress::new(
            self.next - range.start,
            range.len(),
            Some("samples".to_owned()),
        )
    }
}
