//! The run file.

mod error;
pub mod import;
mod keys;
mod nearest;
mod source;
mod training;
mod types;
mod validate;

pub use error::{ConfigError, Place, UnknownKey};
pub(crate) use nearest::nearest;
pub use source::{load, parse};
pub use training::{LoraBase, LoraConfig, Moments, Precision, TrainingConfig};
pub(crate) use types::MAX_BAD_SHARE;
pub use types::{
    DataConfig, EvaluationConfig, OptimizerConfig, RateConfig, RunConfig, Schedule, StageConfig,
    StageTarget, TextConfig,
};
