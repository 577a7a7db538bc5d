//! The runs in a folder: what became of each, how they differ, which of their checkpoints may go.

mod compare;
mod prune;
mod summary;

pub use compare::{Comparison, Difference, compare};
pub use prune::{Pruned, prune};
pub use summary::{State, Summary, best, list, summary};
