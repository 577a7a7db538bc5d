//! What every source gives: pictures and a text.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::Record;
use crate::augment::Permits;
use crate::pretraining::PretrainingSample;
use crate::shards::{Limits, SkipReason, read_picture};
use crate::text::Part;

/// A training text with its pictures, not decoded.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// The shard, or the file of the annotations.
    pub origin: Arc<Path>,
    /// Names it in its source.
    pub key: String,
    /// In the order of their places in the text.
    pub pictures: Vec<Encoded>,
    /// The text.
    pub text: Text,
}

/// A picture that is not decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Encoded {
    /// From a shard.
    Bytes(Vec<u8>),
    /// A file.
    File(PathBuf),
}

/// What is learned.
#[derive(Clone, Debug, PartialEq)]
pub enum Text {
    /// A caption or a web page; all of it.
    Parts(Vec<Part>),
    /// A conversation: its answers.
    Record(Record),
}

impl Encoded {
    /// Its bytes, read if they are a file's.
    ///
    /// # Errors
    /// Why the file cannot be used.
    pub fn bytes(&self) -> Result<Cow<'_, [u8]>, SkipReason> {
        match self {
            Self::Bytes(bytes) => Ok(Cow::Borrowed(bytes)),
            Self::File(path) => read_picture(path, Limits::default().picture_bytes).map(Cow::Owned),
        }
    }

    /// What it is called in messages, `key` being the sample's.
    pub fn name<'a>(&self, key: &'a str) -> Cow<'a, str> {
        match self {
            Self::Bytes(_) => Cow::Borrowed(key),
            Self::File(path) => Cow::Owned(path.display().to_string()),
        }
    }
}

impl Example {
    /// A record with its pictures, from a shard.
    pub(super) fn of_shard(shard: Arc<Path>, pictures: Vec<Vec<u8>>, record: Record) -> Self {
        Self {
            origin: shard,
            key: record.key.clone(),
            pictures: pictures.into_iter().map(Encoded::Bytes).collect(),
            text: Text::Record(record),
        }
    }

    /// A record of the annotations in `file`, whose pictures lie in the folder `images`.
    pub(super) fn of_record(record: Record, file: &Arc<Path>, images: &Path) -> Self {
        let pictures = record.images.iter().map(|name| images.join(name));
        Self {
            origin: file.clone(),
            key: record.key.clone(),
            pictures: pictures.map(Encoded::File).collect(),
            text: Text::Record(record),
        }
    }
}

impl From<PretrainingSample> for Example {
    fn from(sample: PretrainingSample) -> Self {
        Self {
            origin: sample.shard,
            key: sample.key,
            pictures: sample.pictures.into_iter().map(Encoded::Bytes).collect(),
            text: Text::Parts(sample.parts),
        }
    }
}

impl Text {
    /// Which changes of its pictures leave it true; `ocr` as in [`Permits::of`].
    pub fn permits(&self, ocr: bool) -> Permits {
        match self {
            Self::Record(record) => record.permits(ocr),
            Self::Parts(parts) => {
                let texts = parts.iter().filter_map(|part| match part {
                    Part::Text(text) => Some(text.as_str()),
                    Part::Picture | Part::EndOfChunk => None,
                });
                Permits::of(texts, ocr)
            }
        }
    }
}
