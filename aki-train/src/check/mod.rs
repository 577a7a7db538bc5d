//! Reads a run's sources once and counts: what is good, what is broken and why, how long texts are,
//! and how much of a batch is padding.

mod lengths;
mod mix;
mod report;
mod source;

use aki_data::sources::SourceConfig;

pub use lengths::{Bar, LengthReport};
pub use report::{Broken, LeftOut, Report, SourceReport};

use crate::TrainError;
use crate::config::{RunConfig, StageConfig, StageTarget};
use mix::Mix;
use source::Way;

/// What is to be checked, and how.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// What decides how long texts and batches are.
    pub stage: &'a StageConfig,
    /// Names of sources; all if there are none.
    pub sources: &'a [String],
    /// Whether pictures are decoded, and not only their headers read.
    pub decode: bool,
}

/// How far it is.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// A source begins.
    Source {
        /// Its name.
        name: &'a str,
        /// Its samples, if they were counted before.
        samples: Option<u64>,
    },
    /// A sample more was looked at.
    Sample,
}

/// Reads everything once.
///
/// # Errors
///
/// [`TrainError::Request`] for a stage that learns from no sources and for a source that is not
/// there; [`TrainError::Data`] if one cannot be opened, or the tokenizer cannot be used.
pub fn check(
    config: &RunConfig,
    request: Request,
    told: &mut dyn FnMut(Step),
) -> Result<Report, TrainError> {
    let stage = request.stage;
    if stage.target != StageTarget::Sources {
        return Err(TrainError::Request(format!(
            "stage {} learns from data.train, which `aki train` reads whole before it begins, and \
             from no [[data.source]]: there is nothing to check",
            stage.name
        )));
    }
    let names = config.names_to_look_at(stage, request.sources)?;
    let batching = config.batching(stage);
    let way = Way {
        preparer: config.looking(stage)?,
        batch: batching.batch,
        packing: batching.packing,
        workers: batching.workers,
        max_bad_share: batching.max_bad_share,
        decode: request.decode,
    };
    let chosen = |source: &&SourceConfig| names.contains(&source.name());
    let (mut sources, mut trained) = (Vec::new(), Vec::new());
    for source in config.data.source.iter().filter(chosen) {
        let (report, places) = way.check(&config.open(source)?, told)?;
        if stage.learns(source) {
            trained.push((source.weight(), places));
        }
        sources.push(report);
    }
    let mix = Mix::new(trained.iter().map(|(weight, lengths)| (*weight, lengths)));
    Ok(Report {
        stage: stage.name.clone(),
        batch: batching.batch,
        max_text_len: stage.max_text_len,
        packing: batching.packing,
        max_bad_share: batching.max_bad_share,
        padding: mix.padding(batching.batch),
        packed_padding: batching.packing.and_then(|row| mix.packed_padding(row)),
        good: sources.iter().all(|source| source.good_enough),
        sources,
    })
}
