//! `WebDataset` tar shards: files grouped by key into samples.

mod conversation;
mod sample;
mod tar;

pub use self::conversation::Turn;
pub use self::sample::{Sample, SkipReason, Skipped};
pub use self::tar::{ShardContents, read_shards};

#[cfg(test)]
pub(crate) use self::sample::tests;
