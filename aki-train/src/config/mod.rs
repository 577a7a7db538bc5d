//! The run file.

mod error;
mod keys;
mod source;
mod types;

pub use error::{ConfigError, Place, UnknownKey};
pub use source::{load, parse};
pub use types::{
    DataConfig, EvaluationConfig, OptimizerConfig, RunConfig, StageConfig, StageTarget, TextConfig,
};
