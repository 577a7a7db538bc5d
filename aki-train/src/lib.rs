//! Training runs: from a TOML file to a measured model.
//!
//! [`config`] reads a run file; [`run`] carries it out through Burn's learner ([`learner`]), writing
//! checkpoints ([`checkpoint`]), logs ([`log`]) and a report ([`report`]); [`evaluation`] measures,
//! and [`folder`] reads and writes a model that can be used.

pub mod checkpoint;
pub mod config;
pub mod data;
pub mod error;
pub mod evaluation;
mod files;
pub mod folder;
pub mod learner;
pub mod log;
pub mod report;
pub mod run;
pub mod score;

pub use error::TrainError;
