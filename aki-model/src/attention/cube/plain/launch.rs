//! The host's side: the kernels' launches.
//!
//! All tensors are contiguous and none is empty.

use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::tile::TileConfig;
use super::{delta as delta_kernel, forward as forward_kernel};
use super::{key_value_gradient as key_value_kernel, query_gradient as query_kernel};
use crate::attention::cube::sizes::{GradientArgs, Shapes};

/// Output and log-sum-exp, from queries, keys, values and layout.
pub fn forward(
    client: &Client,
    [q, k, v, layout, out, lse]: [BufferArg; 6],
    shapes: Shapes,
    tile: TileConfig,
    dtype: ElemType,
) {
    forward_kernel::forward::launch(
        client,
        shapes.cubes(shapes.query_len, tile.rows(), shapes.heads),
        cube(tile),
        vector_size(shapes.head_dim),
        q,
        k,
        v,
        layout,
        out,
        lse,
        shapes.launch(),
        tile,
        dtype,
    );
}

/// Log-sum-exps and deltas into `stats`, `[2, batch, heads, query_len]` in f32.
pub fn delta(
    client: &Client,
    [out, grad, lse, stats]: [BufferArg; 4],
    shapes: Shapes,
    dtype: ElemType,
) {
    delta_kernel::delta::launch(
        client,
        shapes.cubes(shapes.query_len, delta_kernel::UNITS_Y, shapes.heads),
        CubeDim::new_2d(delta_kernel::UNITS_X as u32, delta_kernel::UNITS_Y as u32),
        vector_size(shapes.head_dim),
        out,
        grad,
        lse,
        stats,
        shapes.query_len,
        shapes.head_dim,
        dtype,
    );
}

/// The gradient of the queries.
pub fn query_gradient(
    client: &Client,
    [q, k, v, grad, stats, layout]: GradientArgs,
    dq: BufferArg,
    shapes: Shapes,
    tile: TileConfig,
    dtype: ElemType,
) {
    query_kernel::query_gradient::launch(
        client,
        shapes.cubes(shapes.query_len, tile.rows(), shapes.heads),
        cube(tile),
        vector_size(shapes.head_dim),
        q,
        k,
        v,
        grad,
        stats,
        layout,
        dq,
        shapes.launch(),
        tile,
        dtype,
    );
}

/// The gradients of the keys and values, in one buffer, `dv_head` rows apart.
pub fn key_value_gradient(
    client: &Client,
    [q, k, v, grad, stats, layout]: GradientArgs,
    dkv: BufferArg,
    dv_head: usize,
    shapes: Shapes,
    tile: TileConfig,
    dtype: ElemType,
) {
    key_value_kernel::key_value_gradient::launch(
        client,
        shapes.cubes(shapes.key_len, tile.rows(), shapes.kv_heads),
        cube(tile),
        vector_size(shapes.head_dim),
        q,
        k,
        v,
        grad,
        stats,
        layout,
        dkv,
        dv_head,
        shapes.launch(),
        tile,
        dtype,
    );
}

fn cube(tile: TileConfig) -> CubeDim {
    CubeDim::new_2d(tile.units_x as u32, tile.units_y as u32)
}

/// Channels that are read at once.
fn vector_size(head_dim: usize) -> usize {
    [4, 2]
        .into_iter()
        .find(|&size| head_dim.is_multiple_of(size))
        .unwrap_or(1)
}
