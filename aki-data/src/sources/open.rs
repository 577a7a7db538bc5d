//! From a run file's entry to an open source.

use std::path::{Path, PathBuf};

use super::config::{SourceConfig, SourceKind};
use super::source::{Data, ShardKind, Source};
use crate::pretraining::{Mmc4, PretrainingKind};
use crate::shards::{Limits, RemoteConfig, expand_shards};
use crate::{DataError, Dataset};

impl SourceConfig {
    /// Opens it: reads annotations, finds shards. Remote ones are read as `remote` says.
    ///
    /// # Errors
    /// [`DataError::Source`] if keys do not fit, there is nothing in it, or the folder of its
    /// pictures is not there; [`DataError::Shards`], [`DataError::Annotations`] and
    /// [`DataError::Io`] if its files cannot be read.
    pub fn open(&self, remote: &RemoteConfig) -> Result<Source, DataError> {
        self.check()?;
        let data = match self.kind {
            SourceKind::WebDataset | SourceKind::Mmc4 => Data::Shards {
                shards: expand_shards(&self.shards, remote)?,
                kind: self.shard_kind(),
                limits: Limits::default(),
                remote: *remote,
            },
            _ => self.records()?,
        };
        Ok(Source {
            name: self.name().into(),
            config: self.clone(),
            data,
        })
    }

    fn shard_kind(&self) -> ShardKind {
        match (self.caption, self.max_pictures, self.min_similarity) {
            (Some(caption), ..) => ShardKind::Pretraining(PretrainingKind::Caption(caption)),
            (None, Some(max_pictures), Some(min_similarity)) => {
                ShardKind::Pretraining(PretrainingKind::Mmc4(Mmc4 {
                    max_pictures,
                    min_similarity,
                }))
            }
            _ => ShardKind::Conversation,
        }
    }

    fn records(&self) -> Result<Data, DataError> {
        let fault = |reason: String| DataError::Source {
            name: self.name(),
            reason,
        };
        // `check` has seen that those of the kind are there.
        let path = |path: &Option<PathBuf>| path.clone().unwrap_or_default();
        let annotations = path(&self.annotations);
        let images = path(&self.images);
        if !images.is_dir() {
            return Err(fault(format!("there is no folder {}", images.display())));
        }
        let dataset = match self.kind {
            SourceKind::Vqa => Dataset::vqa(&path(&self.questions), &annotations),
            SourceKind::Vg => Dataset::vg(&annotations, &path(&self.image_data)),
            SourceKind::Gqa => Dataset::gqa(&annotations),
            SourceKind::Vsr => Dataset::vsr(&annotations),
            SourceKind::OcrVqa => Dataset::ocrvqa(&annotations),
            SourceKind::AokVqa => Dataset::aokvqa(&annotations),
            SourceKind::ScienceQa => Dataset::scienceqa(&annotations),
            SourceKind::RefCoco => Dataset::refcoco(&annotations),
            SourceKind::Llava => Dataset::llava150k(&annotations),
            SourceKind::Jsonl | SourceKind::WebDataset | SourceKind::Mmc4 => {
                Dataset::jsonl(&annotations)
            }
        }?;
        if dataset.is_empty() {
            let reasons: Vec<_> = dataset
                .skipped()
                .iter()
                .map(|skipped| format!("{} {}", skipped.count, skipped.reason))
                .collect();
            return Err(fault(format!(
                "nothing in {} can be used ({})",
                annotations.display(),
                if reasons.is_empty() {
                    "it is empty".to_owned()
                } else {
                    reasons.join(", ")
                }
            )));
        }
        Ok(Data::Records {
            dataset,
            file: Path::new(&annotations).into(),
            images: Path::new(&images).into(),
        })
    }
}
