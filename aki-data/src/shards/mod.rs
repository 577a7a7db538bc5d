//! `WebDataset` tar shards: files grouped by key into samples.
//!
//! [`read_shards`] reads small sets whole; [`SampleReader`] walks a shard of any
//! size. Nothing in an archive is ever written to disk, so a path in it is a name
//! and no more.

mod blocks;
mod braces;
mod conversation;
mod groups;
mod limits;
mod names;
mod sample;
mod sizes;
mod tally;
mod tar;

pub use self::conversation::Turn;
pub use self::groups::SampleReader;
pub use self::limits::Limits;
pub use self::names::{Shard, expand_shards};
pub use self::sample::{RawSample, Sample, SkipReason, Skipped};
pub use self::sizes::declared_samples;
pub use self::tally::Tally;
pub use self::tar::{ShardContents, read_shards};

#[cfg(test)]
pub(crate) use self::sample::tests;
