//! From a run file to open sources and what is made of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use aki_data::mixture::{BatchConfig, MixtureConfig, Preparer};
use aki_data::sources::{Source, SourceConfig};
use aki_data::{DataError, ShardContents, Template, Tokenizer};
use serde::{Deserialize, Serialize};

use super::MixedRows;
use crate::TrainError;
use crate::checkpoint;
use crate::config::{MAX_BAD_SHARE, RunConfig, StageConfig};
use crate::folder::{FolderConfig, find};

/// What a vision tower is given of a pixel, whose values lie in 0 to 1; a number a channel.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Norm {
    /// Taken from each value.
    pub mean: [f32; 3],
    /// Then divided by.
    pub std: [f32; 3],
}

impl Default for Norm {
    /// What SigLIP was trained with.
    fn default() -> Self {
        Self {
            mean: [0.5; 3],
            std: [0.5; 3],
        }
    }
}

impl RunConfig {
    /// That of the model whose weights the run begins with. It may be gone once there is a checkpoint to go on
    /// from; then it stands in the run's own model folder. A tower drawn anew has SigLIP's.
    ///
    /// # Errors
    ///
    /// [`TrainError`] if the run begins with a model, and neither can be read.
    pub fn norm(&self) -> Result<Norm, TrainError> {
        let Some(start) = &self.start else {
            return Ok(Norm::default());
        };
        let folder = match checkpoint::newest(&self.run_dir, &self.stage)? {
            Some(_) => find(&self.run_dir).or_else(|_| find(start))?,
            None => find(start)?,
        };
        FolderConfig::read_norm(&folder)
    }

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
        let (bad, seen) = (dataset.broken(), dataset.broken() + dataset.len());
        if self.allows(bad, seen) {
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
            max_bad_share: self.max_bad_share(),
            reasons: reasons.join(", "),
            last: first.unwrap_or_default(),
        })
    }

    /// As [`judge`](Self::judge), of the samples of `data.train` or `data.test`, as `key` says.
    pub(crate) fn judge_shards(&self, key: &str, read: &ShardContents) -> Result<(), DataError> {
        let (bad, seen) = (read.skipped.len(), read.skipped.len() + read.samples.len());
        let Some(last) = read.skipped.last().filter(|_| !self.allows(bad, seen)) else {
            return Ok(());
        };
        let mut reasons = BTreeMap::<_, usize>::new();
        for skipped in &read.skipped {
            *reasons.entry(skipped.reason.kind()).or_default() += 1;
        }
        let reasons = reasons
            .iter()
            .map(|(kind, count)| format!("{kind} {count}"));
        Err(DataError::TooManyBroken {
            name: format!("samples of data.{key}"),
            bad: bad as u64,
            seen: seen as u64,
            max_bad_share: self.max_bad_share(),
            reasons: reasons.collect::<Vec<_>>().join(", "),
            last: format!(
                "{:?} in {}: {}",
                last.key,
                last.shard.display(),
                last.reason
            ),
        })
    }

    fn allows(&self, bad: usize, seen: usize) -> bool {
        bad as f64 <= self.max_bad_share() * seen as f64
    }

    fn max_bad_share(&self) -> f64 {
        self.data.max_bad_share.unwrap_or(MAX_BAD_SHARE)
    }

    /// What makes samples of a stage's sources ready.
    pub fn preparer(&self, stage: &StageConfig, tokenizer: Arc<Tokenizer>, norm: Norm) -> Preparer {
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
            mean: norm.mean,
            std: norm.std,
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
            max_bad_share: self.max_bad_share(),
        }
    }
}
