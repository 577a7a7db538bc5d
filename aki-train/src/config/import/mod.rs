//! Makes a run file of the original AKI's configuration of instruction tuning.
//!
//! The original is configured by Hydra: a YAML file whose `defaults` list draws in others, with
//! `${..}` wherever one value stands in another. [`import`] puts the files together, fills the
//! values in, and writes what a run file has room for. What it has no room for is listed at the end
//! of that file and in [`Imported::notices`].
//!
//! ```text
//! yaml         one file, as a tree
//! defaults     what a `defaults` list asks for
//! compose      the files, laid over each other (merge)
//! expression   the grammar of `${..}`
//! interpolate  values in its place (python: inside of texts)
//! settings     values by key, and which of them were used
//! sources, stage, network
//!              the parts of the run file
//! run          its whole text
//! ```

mod compose;
mod defaults;
mod error;
mod expression;
mod interpolate;
mod merge;
mod network;
mod python;
mod run;
mod settings;
mod sources;
mod stage;
mod yaml;

pub use error::ImportError;
pub use run::{Imported, import};
