//! Turns files into batches of plain integers and pixels.
//!
//! `WebDataset` shards go in, [`Batch`]es come out; nothing here knows a network
//! or an accelerator. The way of one sample:
//!
//! ```text
//! train.tar --shards--> Sample --batch--> Batch
//!                         |  picture bytes -> image::Picture -> resize, augment, normalise
//!                         |  turns, caption -> text::Template -> ids, labels, media ranges
//!           order::Order chooses which sample comes when
//! ```
//!
//! What is too much for memory comes through [`stream`] instead, and as a
//! [`pretraining`] sample.
//!
//! Everything random is a pure function of a seed and the number of the item in
//! the stream, so a run that resumes at item `i` sees what it would have seen.

#![deny(missing_docs)]

pub mod batch;
pub mod datasets;
pub mod error;
pub mod image;
pub mod order;
pub mod pretraining;
pub mod shards;
pub mod stream;
pub mod text;

pub use self::batch::{Batch, Batcher, Media, Row, Target};
pub use self::datasets::{Dataset, Record, Region};
pub use self::error::DataError;
pub use self::image::{Augmentation, Picture};
pub use self::order::{Order, item_rng};
pub use self::shards::{Sample, ShardContents, SkipReason, Skipped, Turn, read_shards};
pub use self::text::{
    ChatTemplate, IGNORE, Message, Piece, Role, Roles, Sequence, SpecialTokens, Template,
    TextStream, Tokenizer,
};
