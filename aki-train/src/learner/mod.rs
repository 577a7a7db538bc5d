//! AKI in Burn's learner.

mod gradients;
mod meter;
mod metric;
mod schedule;
mod strategy;
mod trainee;

pub(crate) use meter::Meter;
pub(crate) use metric::{ExactMatch, GradientNorm};
pub(crate) use schedule::LearningRate;
pub(crate) use strategy::{Past, StepStrategy, Watch};
pub use trainee::{StepConfig, StepOutput, Trainee};
