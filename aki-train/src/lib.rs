//! Training runs: from a TOML file to a measured model.
//!
//! [`config`] reads a run file; [`run`] carries it out through Burn's learner ([`learner`]), writing
//! checkpoints ([`checkpoint`]), logs ([`log`]) and a report ([`report`]); [`evaluation`] measures, [`benchmark`] asks published benchmarks,
//! [`folder`] reads and writes a model that can be used, [`answer`] is its text as it comes, and [`probe`]
//! shows what training would see of some samples. [`study`] is several runs that are compared. [`runs`] looks at the runs that there are, [`preview`] and [`check`] look at a run's data before
//! it begins.

pub mod answer;
pub mod benchmark;
pub mod check;
pub mod checkpoint;
pub mod config;
pub mod data;
pub mod distributed;
pub mod error;
pub mod evaluation;
pub mod folder;
pub mod learner;
pub mod log;
mod markdown;
pub mod optimizer;
pub mod plan;
pub mod preview;
pub mod probe;
pub mod progress;
pub mod report;
pub mod run;
pub mod runs;
pub mod score;
pub mod study;

pub use aki_data::files;
pub use error::TrainError;
