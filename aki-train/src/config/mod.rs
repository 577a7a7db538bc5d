//! The run file.

mod error;
pub mod import;
mod keys;
mod nearest;
mod source;
mod types;
mod validate;

pub use error::{ConfigError, Place, UnknownKey};
pub(crate) use nearest::nearest;
pub use source::{load, parse};
pub(crate) use types::MAX_BAD_SHARE;
pub use types::{
    DataConfig, EvaluationConfig, OptimizerConfig, RunConfig, StageConfig, StageTarget, TextConfig,
};
