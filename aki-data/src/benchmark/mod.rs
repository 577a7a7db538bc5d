//! Benchmarks as they are published: questions, prompts, what an answer is worth, scores.
//!
//! ```text
//! MME.tsv, ..     --tsv--> Row --row-->  Question   prompt, pictures, what is right
//! test_2d.parquet --parquet, cv_bench--> Question
//!                                            | mark: reads the answer    read_judgement: a judge's
//!                                            v
//!                                          Mark --Scorer--> Score    Table 1's columns, parts, notes
//! ```
//!
//! # Files
//! Nine sets are tables as `VLMEvalKit` has them: `index`, `image` (base64; at most 64 characters are
//! the index of the row that holds it; a list literal is several), `image_path`, `question`, `hint`,
//! `A`, `B`, .., `answer`, `category`, `l2-category`, `split`, and some of their own. CV-Bench is
//! parquet. Files are gigabytes, pictures nearly all of it: opening reads a file once and keeps the
//! rest of it, and where each row begins.
//!
//! # Scores
//! | set | headline |
//! |---|---|
//! | MME | a category: 100 x accuracy + 100 x share of pictures with both questions right; `MMEp` and `MMEc` are sums over categories |
//! | `MMBench` | rows with the same index modulo 1,000,000 are one question in other orders, which counts only if all are right |
//! | SEED-I, `RealWorldQA` | accuracy |
//! | MMMU | accuracy of the split `validation`; without options the answer is option A and "Other Answers" B |
//! | POPE | F1, a row counting once in each of its categories; what cannot be read is a "no" there, and wrong for the accuracy |
//! | `MathVista` | accuracy: letter, number or text; what is more than that a judge must read |
//! | LLaVA-W | a judge gives points to GPT-4's stored answer and to ours: 100 x sum of ours / sum of theirs |
//! | MM-Vet | a judge gives 0 to 1 |
//! | CV-Bench | CV-2D is the mean of the accuracies on ADE20K and COCO, CV-3D that on `Omni3D` |
//!
//! A score that cannot be said (rows or groups missing, answers that no judge has seen) is none, and
//! the notes say why.
//!
//! # Where it differs from the kit
//! Words that pandas takes for missing values (`None`, `NA`) are options like others. A judge that
//! gives no score leaves the row without one, where the kit has 0 or -1. An answer that cannot be
//! read is wrong, as in the kit without a judge.

mod cv_bench;
mod field;
mod group;
mod judge;
mod kit;
mod mark;
mod parquet;
mod prompt;
mod published;
mod question;
mod questions;
mod read;
mod row;
mod score;
mod set;
mod style;
mod tally;
mod tsv;

pub use self::cv_bench::{cv_bench_csv, cv_bench_text};
pub use self::mark::Mark;
pub use self::published::{Published, published, published_columns};
pub use self::question::{Expected, Question};
pub use self::questions::Questions;
pub use self::score::{Part, Score, Scorer};
pub use self::set::Benchmark;
pub use self::style::PromptStyle;
