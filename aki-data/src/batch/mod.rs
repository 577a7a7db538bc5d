//! Batches: pictures and padded token rows.

mod batcher;
mod layout;
mod target;

pub use self::batcher::Batcher;
pub use self::layout::{Batch, Document, Media};
pub use self::target::Target;
