//! Benchmarks asked of a model: answers, judgements, scores with their intervals.
//!
//! ```text
//! Questions --ask--> BENCHMARK.jsonl (Answered, a line each) --Scored--> tables, scores.json
//!                    two folders of them --compare--> differences
//! ```
//!
//! What the questions are and what an answer is worth is [`aki_data::benchmark`]'s business.

mod ask;
mod batch;
mod bootstrap;
mod compare;
mod measure;
mod meta;
mod record;
mod score;
mod share;
mod table;

pub use ask::{Request, ask};
pub use compare::{Compared, compare};
pub use measure::Measure;
pub use meta::{Meta, SCORES, data_of, fingerprint};
pub use record::{Answered, Judgement, Record, benchmarks, read};
pub use score::Scored;
pub use share::share;
pub use table::{OwnRow, compared_table, published_table, scored_table};

/// What the built-in benchmark is called; it has no part in [`aki_data::benchmark`], since its answers are
/// not decoded.
pub const EASY_VQA: &str = "easy-vqa";
