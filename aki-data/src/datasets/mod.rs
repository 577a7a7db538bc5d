//! Instruction-tuning data sets in the formats their makers publish.
//!
//! A [`Dataset`] is read from annotation files, one constructor a source, and then gives any of its
//! [`Record`]s by index: which pictures, and the conversation about them. Pictures stay on disk.
//!
//! ```text
//! vqa, gqa, vsr, ocrvqa      question            -> short answer
//! aokvqa, scienceqa          question, options   -> letter
//! refcoco, vg                <bbox> of a region  -> phrase
//! llava150k, jsonl           conversations
//! ```
//!
//! [`read_conversation`] reads such records one by one from shards, which hold their pictures too.
//!
//! Texts are those of AKI's instruction tuning. What cannot be used is left out and counted, see
//! [`Dataset::skipped`]: an entry of a list or object, a line of a file of lines. A file that is not
//! what it should be is an error: damaged JSON that is not in lines, or not one entry that can be read.

mod aokvqa;
mod dataset;
mod draft;
mod entries;
mod gqa;
mod image_path;
mod json;
mod jsonl;
mod line;
mod llava150k;
mod marks;
mod ocrvqa;
mod openai;
mod record;
mod refcoco;
mod scienceqa;
mod shard;
mod skipped;
mod store;
mod vg;
mod vqa;
mod vsr;

pub use self::dataset::Dataset;
pub(crate) use self::draft::{LETTER, SHORT};
pub(crate) use self::entries::Entries;
pub(crate) use self::image_path::is_inside;
pub(crate) use self::json::MAX_LINE;
pub(crate) use self::line::OwnLine;
pub(crate) use self::marks::without_marks;
pub use self::record::{Record, Region};
pub use self::shard::read_conversation;
pub use self::skipped::{SkipReason, Skipped};
