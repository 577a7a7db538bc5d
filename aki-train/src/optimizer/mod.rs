//! How weights change: the optimizer, what it remembers, and which parameters it is told what of.

mod adamw;
mod cast;
mod cpu;
mod ema;
mod groups;
mod moments;
mod pattern;
mod scaler;

use burn::optim::ModuleOptimizer;

use crate::config::Moments;

pub(crate) use adamw::lacks;
pub(crate) use cast::Cast;
pub use ema::Average;
pub use groups::Groups;
pub(crate) use groups::learns;
pub(crate) use pattern::fits;
pub use scaler::LossScale;

/// The `AdamW` of a run whose stage names no groups.
pub fn adamw(weight_decay: f64, moments: Moments) -> ModuleOptimizer {
    adamw::AdamW::new(weight_decay, moments).into()
}
