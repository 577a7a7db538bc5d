//! Kernels for NVIDIA's tensor cores, compute capability 8.0 and later: half precision in, sums in
//! f32, no atomics, so a result does not depend on who comes first.

mod delta;
mod forward;
mod fragments;
mod gradient;
mod key_value_gradient;
mod launch;
mod mask;
mod ptx;
mod query_gradient;
mod softmax;
mod stage;
mod tile;
mod walk;

pub use launch::{delta, forward, key_value_gradient, query_gradient, shared, supported};
pub use tile::TileConfig;
