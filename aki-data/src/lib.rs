//! Turns files into batches of plain integers and pixels.
//!
//! Annotations, picture folders and `WebDataset` shards go in, [`Batch`]es come out; nothing
//! here knows an accelerator. The way of one sample:
//!
//! ```text
//! annotations --datasets--> Record ------+
//!   order::Order chooses which           +--sources--> Example --mixture--> Prepared --> Batch
//! *.tar --shards--> RawSample --stream---+     |                            padded or packed
//!   a buffer shuffles        pretraining       |
//!                                              |  picture bytes -> image::Picture
//!                                              |    -> augment::Change, resize, normalise
//!                                              |  text -> text::Template
//!                                              |    -> ids, labels, media ranges
//!      mixture::Mixture chooses which source comes when
//! ```
//!
//! [`Batcher`] and [`Sample`] remain beside it for small labelled sets in memory, where several
//! questions share a picture.
//!
//! Everything random is a pure function of a seed and the number of the item in
//! the stream, so a run that resumes at item `i` sees what it would have seen.

#![deny(missing_docs)]

pub mod augment;
pub mod batch;
pub mod benchmark;
pub mod datasets;
pub mod error;
pub mod files;
mod fingerprint;
pub mod image;
pub mod mixture;
pub mod order;
pub mod pretraining;
pub mod scenes;
pub mod shards;
pub mod sources;
pub mod stream;
pub mod text;

pub use self::augment::{Amounts, Augmentation, Change, Permits, Variation};
pub use self::batch::{Batch, Batcher, Document, Media, Target};
pub use self::datasets::{Dataset, Record, Region};
pub use self::error::DataError;
pub use self::image::Picture;
pub use self::order::{Order, item_rng};
pub use self::shards::{Sample, ShardContents, SkipReason, Skipped, Turn, read_shards};
pub use self::text::{
    ChatTemplate, IGNORE, Message, PictureOrder, Piece, Role, Roles, Sequence, SpecialTokens,
    Template, TextStream, Tokenizer,
};
