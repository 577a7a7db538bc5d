//! Kernels for any GPU: shared memory and ordinary arithmetic, no planes, no atomics, within the
//! least that WebGPU promises (8 storage buffers, 256 units, 16 KiB of shared memory).

mod delta;
mod forward;
mod key_value_gradient;
mod launch;
mod mask;
mod products;
mod query_gradient;
mod rows;
mod softmax;
mod tile;

pub use launch::{delta, forward, key_value_gradient, query_gradient};
pub use tile::TileConfig;
