//! How weights change: the optimizer, what it remembers, and which parameters it is told what of.

mod adamw;
mod cast;
mod cpu;
mod ema;
mod groups;
mod moments;
mod pattern;
mod scaler;

pub(crate) use cast::Cast;
pub use ema::Average;
pub use groups::Groups;
pub(crate) use pattern::fits;
pub use scaler::LossScale;
