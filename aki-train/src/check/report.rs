//! What came of a check.

use std::collections::BTreeMap;

use aki_data::Skipped;
use serde::Serialize;

use super::lengths::LengthReport;

/// What came of all sources.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The stage whose limits were used.
    pub stage: String,
    /// Its rows in a batch.
    pub batch: usize,
    /// Tokens of a text at most, a picture counted as one.
    pub max_text_len: Option<usize>,
    /// Tokens of a packed row.
    pub packing: Option<usize>,
    /// The share of broken samples that is allowed.
    pub max_bad_share: f64,
    /// Each source, in the order of the run file.
    pub sources: Vec<SourceReport>,
    /// The share of padding in batches of those sources that the stage learns from, drawn by weight.
    pub padding: Option<f64>,
    /// The same with packing.
    pub packed_padding: Option<f64>,
    /// Whether no source has more broken samples than allowed.
    pub good: bool,
}

/// What came of a source.
#[derive(Clone, Debug, Serialize)]
pub struct SourceReport {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: &'static str,
    /// Whether it is only measured on.
    pub valid: bool,
    /// Samples found.
    pub samples: u64,
    /// Those that can be used.
    pub good: u64,
    /// Those that cannot, by reason.
    pub broken: BTreeMap<&'static str, Broken>,
    /// Entries of its annotations that are no samples.
    pub left_out: Vec<LeftOut>,
    /// How many of those are broken.
    pub broken_entries: u64,
    /// Its shards; none if it has a folder of pictures.
    pub shards: Option<usize>,
    /// Samples that its shards should hold, if they say so.
    pub declared: Option<u64>,
    /// Good samples by their number of pictures.
    pub pictures: BTreeMap<usize, u64>,
    /// Tokens of a text before it is cut, a picture counted as one.
    pub text_tokens: Option<LengthReport>,
    /// Places of a text in a batch, after it was cut and its pictures were put in place.
    pub places: Option<LengthReport>,
    /// Texts longer than allowed, which are cut.
    pub longer: u64,
    /// The share of padding in batches of this source alone.
    pub padding: Option<f64>,
    /// The same with packing.
    pub packed_padding: Option<f64>,
    /// Whether there are good samples, and no more broken ones than allowed.
    pub good_enough: bool,
}

/// Samples that are broken for one reason.
#[derive(Clone, Debug, Serialize)]
pub struct Broken {
    /// How many.
    pub count: u64,
    /// The shard of the first, or the folder of its pictures.
    pub shard: String,
    /// Its key.
    pub key: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Entries that were left out for one reason.
#[derive(Clone, Debug, Serialize)]
pub struct LeftOut {
    /// What is wrong with them.
    pub reason: String,
    /// How many.
    pub count: usize,
    /// Key of the first.
    pub key: String,
}

impl SourceReport {
    /// Counts a sample that cannot be used.
    pub(super) fn add_broken(&mut self, skipped: &Skipped) {
        let first = || Broken {
            count: 0,
            shard: skipped.shard.display().to_string(),
            key: skipped.key.clone(),
            reason: skipped.reason.to_string(),
        };
        let kind = self.broken.entry(skipped.reason.kind());
        kind.or_insert_with(first).count += 1;
    }

    /// What is broken, samples and entries of the annotations, and of how many.
    pub fn judged(&self) -> (u64, u64) {
        let (bad, entries) = (self.all_broken(), self.broken_entries);
        (bad + entries, self.samples + entries)
    }

    /// Samples that cannot be used.
    pub fn all_broken(&self) -> u64 {
        self.broken.values().map(|broken| broken.count).sum()
    }
}
