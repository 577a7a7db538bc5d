//! What a pre-training sample is.

use std::path::Path;
use std::sync::Arc;

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
