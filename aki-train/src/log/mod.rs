//! What a run writes down while it goes: `metrics.jsonl`, `metrics.csv`, TensorBoard events, curves,
//! progress bars.

mod compared;
mod csv;
mod curves;
mod facts;
mod jsonl;
mod memory;
mod progress;
mod run_logger;
mod silent;
mod tensorboard;

pub(crate) use compared::COLOURS;
pub use compared::draw_compared;
pub use csv::write_csv;
pub(crate) use curves::{HEIGHT, WIDTH, axes};
pub use curves::{draw, draw_png};
pub use facts::{StepFacts, StepLog};
pub use jsonl::{JsonlError, JsonlWriter, Record, Split, read, truncate_after};
pub use memory::memory_in_use;
pub(crate) use progress::ProgressRenderer;
pub(crate) use run_logger::{LogFault, RunLogger};
pub(crate) use silent::Silent;
pub(crate) use tensorboard::EVENTS;
pub use tensorboard::EventWriter;
