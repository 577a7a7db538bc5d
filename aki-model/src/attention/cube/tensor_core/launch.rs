//! The host's side: which attentions the kernels can do, and their launches.
//!
//! All tensors are contiguous and none is empty.

use cubecl::ir::{ElemType, FloatKind, features::MmaConfig};
use cubecl::prelude::*;

use super::tile::{PIECE, TileConfig};
use super::{delta as delta_kernel, forward as forward_kernel};
use super::{key_value_gradient as key_value_kernel, query_gradient as query_kernel};
use crate::attention::cube::sizes::{GradientArgs, Shapes};

/// Whether the kernels can run here, or why not.
///
/// # Errors
///
/// What is missing, in words.
pub fn supported(client: &Client, head_dim: usize, dtype: ElemType) -> Result<(), String> {
    let ElemType::Float(FloatKind::F16 | FloatKind::BF16) = dtype else {
        return Err(format!("{dtype:?} is neither f16 nor bf16"));
    };
    if head_dim == 0 || head_dim > 256 || !head_dim.is_multiple_of(PIECE) {
        return Err(format!("head_dim {head_dim} is no multiple of 8 up to 256"));
    }
    let properties = client.properties();
    let features = &properties.features;
    let mma = MmaConfig {
        a_type: dtype,
        b_type: dtype,
        cd_type: ElemType::Float(FloatKind::F32),
        m: 16,
        n: 8,
        k: 16,
    };
    if !features.matmul.mma.contains(&mma) || !features.matmul.ldmatrix.contains(&dtype) {
        return Err(format!(
            "the device or its compiler has no m16n8k16 matrix instructions for {dtype:?}"
        ));
    }
    if !features.copy_async {
        return Err("the device or its compiler has no asynchronous copies".to_owned());
    }
    let shared = shared(client);
    let tiles = [
        TileConfig::forward(head_dim, shared),
        TileConfig::query_gradient(head_dim, shared),
        TileConfig::key_value_gradient(head_dim, shared),
    ];
    if tiles.iter().any(Vec::is_empty) {
        return Err(format!(
            "{shared} bytes of shared memory are too few for head_dim {head_dim}"
        ));
    }
    Ok(())
}

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
        CubeDim::new_1d(tile.units() as u32),
        PIECE,
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

/// Log-sum-exps in base 2 and deltas into `stats`, `[2, batch, heads, query_len]` in f32.
pub fn delta(
    client: &Client,
    [out, grad, lse, stats]: [BufferArg; 4],
    shapes: Shapes,
    dtype: ElemType,
) {
    let rows = shapes.batch * shapes.heads * shapes.query_len;
    delta_kernel::delta::launch(
        client,
        CubeCount::Static(rows.div_ceil(delta_kernel::ROWS) as u32, 1, 1),
        CubeDim::new_1d((delta_kernel::ROWS * delta_kernel::ROW_UNITS) as u32),
        PIECE,
        out,
        grad,
        lse,
        stats,
        rows,
        shapes.head_dim / PIECE,
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
        CubeDim::new_1d(tile.units() as u32),
        PIECE,
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

/// The gradients of the keys and values, in one launch or, for large heads, in two: `args` and
/// `of_kv` give each its arguments.
pub fn key_value_gradient(
    client: &Client,
    args: &impl Fn() -> GradientArgs,
    of_kv: &impl Fn() -> [BufferArg; 2],
    shapes: Shapes,
    tile: TileConfig,
    dtype: ElemType,
) {
    for &gathered in tile.launches() {
        let [q, k, v, grad, stats, layout] = args();
        let [dk, dv] = of_kv();
        key_value_kernel::key_value_gradient::launch(
            client,
            shapes.cubes(shapes.key_len, tile.rows(), shapes.kv_heads),
            CubeDim::new_1d(tile.units() as u32),
            PIECE,
            q,
            k,
            v,
            grad,
            stats,
            layout,
            dk,
            dv,
            shapes.launch(),
            tile,
            gathered,
            dtype,
        );
    }
}

/// The most shared memory that a cube may have, in bytes.
pub fn shared(client: &Client) -> usize {
    client.properties().hardware.max_shared_memory_size
}
