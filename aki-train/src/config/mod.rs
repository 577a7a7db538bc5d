//! The run file.

mod keys;
mod source;
mod types;

pub use source::{ConfigError, load, parse};
pub use types::{
    DataConfig, EvaluationConfig, OptimizerConfig, RunConfig, StageConfig, StageTarget, TextConfig,
};
