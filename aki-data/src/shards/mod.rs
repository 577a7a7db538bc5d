//! `WebDataset` tar shards: files grouped by key into samples.
//!
//! [`read_shards`] reads small sets whole; [`SampleReader`] walks a shard of any
//! size. [`expand_shards`] says which shards there are: files, standard input, and,
//! with the feature `remote`, objects of web servers, S3, Google Cloud Storage and
//! Azure, which are read as they come and never held whole. Nothing in an archive is
//! ever written to disk, so a path in it is a name and no more. [`pack_shards`] makes
//! shards of data of one's own.

mod blocks;
mod braces;
mod conversation;
mod groups;
mod limits;
mod names;
mod pack;
mod remote;
mod sample;
mod sizes;
mod tally;
mod tar;
mod writer;

pub use self::conversation::Turn;
pub use self::groups::SampleReader;
pub use self::limits::Limits;
pub(crate) use self::limits::read_picture;
pub use self::names::{Shard, expand_shards};
pub use self::pack::{LeftOut, PackOptions, Packed, pack_shards};
pub use self::remote::{RemoteConfig, RemoteFailure, RemoteShard, Retry};
pub use self::sample::{RawSample, Sample, SkipReason, Skipped};
pub use self::sizes::declared_samples;
pub use self::tally::Tally;
pub use self::tar::{ShardContents, read_shards};
pub(crate) use self::writer::ShardWriter;

#[cfg(test)]
pub(crate) use self::sample::tests;
