//! From a run file to open sources and what is made of them.

use std::sync::Arc;

use aki_data::mixture::{BatchConfig, MixtureConfig, Preparer};
use aki_data::sources::{Source, SourceConfig};
use aki_data::{DataError, Template, Tokenizer};

use super::MixedRows;
use crate::TrainError;
use crate::config::{MAX_BAD_SHARE, RunConfig, StageConfig};

/// Means and deviations that SigLIP was trained with.
pub const NORM: [f32; 3] = [0.5; 3];

impl RunConfig {
    /// The batches of a stage, from its open sources.
    pub fn mixture(
        &self,
        stage: &StageConfig,
        sources: Arc<[Source]>,
        preparer: Preparer,
        notice: fn(&str),
    ) -> MixedRows {
        MixedRows::new(
            sources,
            MixtureConfig::new(self.seed),
            preparer,
            self.batching(stage),
            stage.attention,
            notice,
        )
    }

    /// Opens the sources that a stage learns from: those it names, or all that are not `valid`.
    ///
    /// # Errors
    ///
    /// [`TrainError::Data`] if one cannot be used.
    pub fn open_sources(&self, stage: &StageConfig) -> Result<Arc<[Source]>, TrainError> {
        let sources = self
            .data
            .source
            .iter()
            .filter(|source| stage.learns(source));
        Ok(sources
            .map(|source| self.open(source))
            .collect::<Result<_, _>>()?)
    }

    /// Opens one of the run's sources.
    ///
    /// # Errors
    ///
    /// As [`SourceConfig::open`].
    pub fn open(&self, source: &SourceConfig) -> Result<Source, DataError> {
        source.open(&self.data.remote.unwrap_or_default())
    }

    /// Whether so many entries of a source's annotations are broken that it is not to be used.
    ///
    /// # Errors
    ///
    /// [`DataError::TooManyBroken`] if they are more than the run allows.
    pub fn judge(&self, source: &Source) -> Result<(), DataError> {
        let Some(dataset) = source.dataset() else {
            return Ok(());
        };
        let max_bad_share = self.data.max_bad_share.unwrap_or(MAX_BAD_SHARE);
        let (bad, seen) = (dataset.broken(), dataset.broken() + dataset.len());
        if bad as f64 <= max_bad_share * seen as f64 {
            return Ok(());
        }
        let left_out = dataset.skipped().iter();
        let broken = left_out.filter(|skipped| skipped.reason.is_broken());
        let reasons = broken
            .clone()
            .map(|it| format!("{} {}", it.reason, it.count));
        let reasons: Vec<_> = reasons.collect();
        let first = broken
            .map(|it| format!("entry {:?}: {}", it.first, it.reason))
            .next();
        Err(DataError::TooManyBroken {
            name: format!("entries of {}", source.name),
            bad: bad as u64,
            seen: seen as u64,
            max_bad_share,
            reasons: reasons.join(", "),
            last: first.unwrap_or_default(),
        })
    }

    /// What makes samples of a stage's sources ready.
    pub fn preparer(&self, stage: &StageConfig, tokenizer: Arc<Tokenizer>) -> Preparer {
        Preparer {
            tokenizer,
            template: Template {
                system: self.text.system.clone(),
                order: stage.order,
            },
            media_len: self.model.media_len(),
            max_text_len: stage.max_text_len,
            packing: stage.packing,
            image_size: self.model.vision.image_size,
            exif_orientation: self.data.exif_orientation,
            mean: NORM,
            std: NORM,
            augmentation: Some(stage.augmentation),
            seed: self.seed,
            timings: Arc::default(),
        }
    }

    /// How a stage's sources become batches.
    pub fn batching(&self, stage: &StageConfig) -> BatchConfig {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        BatchConfig {
            batch: stage.batch,
            packing: stage.packing,
            workers: self.data.workers.unwrap_or(cores),
            max_bad_share: self.data.max_bad_share.unwrap_or(MAX_BAD_SHARE),
        }
    }
}
