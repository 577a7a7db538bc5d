//! Low-rank adapters (LoRA): small matrices that are trained beside frozen ones.
//!
//! ```text
//!   y = x W + alpha / rank * (x A) B        A: [from, rank], B: [rank, to], W frozen
//! ```
//!
//! The factors are applied one after the other; `A B` is as large as `W` and is made once only, by
//! [`Aki::merged`](crate::Aki::merged). `B` begins as 0, so that training begins with the very network
//! that the adapters were put into. The frozen matrices may be held in 8 or 4 bits a number (`QLoRA`).
//!
//! Adapters stand in a language model's decoder blocks. All else of the language model is frozen with
//! the matrices, but for the rows of the tokens that were added to its vocabulary, which begin drawn.
//! Vision tower and resampler stay as they are.

mod attach;
mod config;
mod factors;

pub use config::{AdapterConfig, Base};
pub use factors::Adapter;
