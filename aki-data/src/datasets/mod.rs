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
//! Texts are those of AKI's instruction tuning. What cannot be used is left out and counted, see
//! [`Dataset::skipped`]; a file that is not what it should be is an error.

mod aokvqa;
mod dataset;
mod draft;
mod gqa;
mod image_path;
mod json;
mod jsonl;
mod llava150k;
mod marks;
mod ocrvqa;
mod openai;
mod record;
mod refcoco;
mod scienceqa;
mod skipped;
mod store;
mod vg;
mod vqa;
mod vsr;

pub use self::dataset::Dataset;
pub use self::record::{Record, Region};
pub use self::skipped::{SkipReason, Skipped};
