//! Samples of sources to measure on, held in memory.

use std::ops::Range;
use std::sync::Arc;

use aki_data::mixture::{Prepared, Preparer, collate};
use aki_data::shards::Tally;
use aki_data::sources::Source;
use aki_model::attention::Policy;

use super::PolicyBatch;
use super::loader::{Batches, Items, chunks};
use super::skip_log::SkipLog;
use crate::TrainError;

/// The first samples of the sources that are `valid`, as they stand and without augmentation.
pub struct ValidSamples {
    samples: Vec<Prepared>,
    names: Vec<Arc<str>>,
    preparer: Preparer,
    policy: Policy,
    batch: usize,
}

impl ValidSamples {
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
            samples,
            names: sources.iter().map(|source| source.name.clone()).collect(),
            preparer,
            policy,
            batch,
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }
}

impl Items for ValidSamples {
    const UNIT: &'static str = "samples";

    fn batch(&self) -> usize {
        self.batch
    }

    fn batches(&self, range: Range<usize>) -> Batches<'_> {
        Box::new(chunks(range, self.batch).map(|items| {
            let rows = self.samples[items].iter();
            let rows = rows.map(|sample| vec![sample.clone()]).collect();
            Ok(PolicyBatch {
                batch: collate(&self.preparer, &self.names, rows, 0),
                policy: self.policy,
                behind: None,
                loss_scale: 1.0,
                labels_of_all: None,
            })
        }))
    }
}
