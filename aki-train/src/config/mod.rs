//! The run file.

mod error;
pub mod import;
mod keys;
mod known;
mod nearest;
mod source;
mod stage;
mod training;
mod types;
mod validate;

pub use error::{ConfigError, Place, UnknownKey};
pub(crate) use nearest::nearest;
pub use source::{load, parse};
pub use stage::{OptimizerConfig, RateConfig, Schedule, StageConfig, StageTarget};
pub use training::{LoraBase, LoraConfig, Moments, Precision, TrainingConfig};
pub(crate) use types::MAX_BAD_SHARE;
pub use types::{DataConfig, EvaluationConfig, RunConfig, TextConfig};
