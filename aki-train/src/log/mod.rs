//! What a run writes down while it goes: `metrics.jsonl`, TensorBoard events, curves, progress bars.

mod curves;
mod jsonl;
mod progress;
mod run_logger;
mod tensorboard;

pub use curves::draw;
pub use jsonl::{JsonlError, JsonlWriter, Record, Split, read, truncate_after};
pub(crate) use progress::ProgressRenderer;
pub(crate) use run_logger::{LogFault, RunLogger};
pub use tensorboard::EventWriter;
