//! What a pre-training sample is.

use std::path::Path;
use std::sync::Arc;

use crate::Picture;
use crate::shards::{Limits, SkipReason};
use crate::text::Part;

/// A text with pictures in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PretrainingSample {
    /// The shard.
    pub shard: Arc<Path>,
    /// The sample's key in it.
    pub key: String,
    /// The encoded pictures, in the order of their places in the text.
    pub pictures: Vec<Vec<u8>>,
    /// The text, with as many [`Part::Picture`] as there are pictures.
    pub parts: Vec<Part>,
}

impl PretrainingSample {
    /// The text with its marks spelled out, for eyes and comparisons. What is encoded
    /// are the parts, in which a spelled-out mark is text.
    pub fn spelled(&self) -> String {
        let part = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Picture => "<image>".to_owned(),
            Part::EndOfChunk => "<|endofchunk|>".to_owned(),
        };
        self.parts.iter().map(part).collect()
    }
}

/// Whether a picture's header is sound and within the limits; its pixels are not looked at.
pub(super) fn check_picture(bytes: &[u8], key: &str, limits: &Limits) -> Result<(), SkipReason> {
    let size = Picture::size(bytes, key);
    let (width, height) = size.map_err(|error| SkipReason::Picture {
        reason: error.to_string(),
    })?;
    let size = u64::from(width) * u64::from(height);
    if size > limits.picture_pixels {
        return Err(SkipReason::TooLarge {
            what: "picture's number of pixels",
            size,
            limit: limits.picture_pixels,
        });
    }
    Ok(())
}
