//! Batches for the learner, as Burn's data loaders.
//!
//! Either of samples that are held in memory ([`SampleLoader`]), or of sources of any size
//! ([`MixtureLoader`]), with [`ValidLoader`] to measure on. [`Examples`] are to look at.

mod choice;
mod examples;
mod mixture;
mod policy_batch;
mod records;
mod samples;
mod skip_log;
mod sources;
mod valid;

pub use examples::Examples;
pub use mixture::MixtureLoader;
pub use policy_batch::PolicyBatch;
pub use records::Records;
pub use samples::SampleLoader;
pub use sources::NORM;
pub use valid::ValidLoader;
