//! Batches for the learner, as Burn's data loaders.
//!
//! A [`Loader`] gives the batches of [`Samples`] that are held in memory, of sources of any size
//! ([`MixedRows`]), or of [`ValidSamples`] to measure on.

mod choice;
mod examples;
mod loader;
mod mixture;
mod policy_batch;
mod records;
mod samples;
mod skip_log;
mod sources;
mod valid;

pub use examples::Examples;
pub use loader::{Batches, Items, Loader};
pub use mixture::MixedRows;
pub use policy_batch::PolicyBatch;
pub use records::Records;
pub use samples::Samples;
pub(crate) use skip_log::SkipLog;
pub use sources::Norm;
pub use valid::ValidSamples;
