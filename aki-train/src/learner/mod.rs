//! AKI in Burn's learner.

mod clip;
mod metric;
mod schedule;
mod strategy;
mod trainee;

pub(crate) use metric::ExactMatch;
pub(crate) use schedule::schedule;
pub(crate) use strategy::StepStrategy;
pub use trainee::{StepOutput, Trainee};
