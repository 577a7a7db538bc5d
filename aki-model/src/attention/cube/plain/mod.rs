//! Kernels for any GPU: shared memory and ordinary arithmetic, no planes, no atomics, within the
//! least that WebGPU promises (8 storage buffers, 256 units, 16 KiB of shared memory).

mod delta;
mod forward;
mod key_value_gradient;
mod mask;
mod products;
mod query_gradient;
mod rows;
mod softmax;
mod tile;

use burn::backend::TensorMetadata;
use burn::backend::cubecl::dtype_to_storage_type;
use burn::tensor::DType;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use self::tile::TileConfig;
use super::rule::Table;
use super::{Shapes, empty};

/// What every kernel knows at run time.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
#[expand(derive(Clone, Copy))]
pub struct Sizes {
    batch: usize,
    heads: usize,
    kv_heads: usize,
    query_len: usize,
    key_len: usize,
    scale: f32,
}

#[cube]
impl Sizes {
    fn table(self, row: usize) -> Table {
        Table::new(row, self.batch, self.query_len, self.key_len)
    }

    /// The first row of a query head.
    fn query_head(self, head: usize, row: usize) -> usize {
        (row * self.heads + head) * self.query_len
    }

    /// The first row of the key and value head that a query head reads.
    fn key_head(self, head: usize, row: usize) -> usize {
        let kv_head = head / (self.heads / self.kv_heads);
        (row * self.kv_heads + kv_head) * self.key_len
    }

    /// A query's log-sum-exp, 0 past the end.
    fn lse(self, stats: &[f32], head: usize, query: usize) -> f32 {
        let value = stats[head + min(query, self.query_len - 1)];
        select(query < self.query_len, value, 0.0)
    }

    /// A query's delta, 0 past the end.
    fn delta(self, stats: &[f32], head: usize, query: usize) -> f32 {
        let deltas = self.batch * self.heads * self.query_len;
        self.lse(stats, deltas + head, query)
    }
}

/// The tile of queries of a cube. Under a causal rule the last queries see most: they go first, so
/// that none of them is left running alone.
#[cube]
fn from_the_end(cube: u32, cubes: u32) -> usize {
    (cubes - 1 - cube) as usize
}

/// Output and log-sum-exp of contiguous tensors.
pub fn attention_forward(
    q: CubeTensor,
    k: CubeTensor,
    v: CubeTensor,
    layout: CubeTensor,
    shapes: Shapes,
) -> (CubeTensor, CubeTensor) {
    let Shapes {
        batch,
        heads,
        query_len,
        head_dim,
        ..
    } = shapes;
    let out = empty(&q, q.shape(), q.dtype);
    let lse = empty(&q, [batch, heads, query_len].into(), DType::F32);
    let tile = TileConfig::of_queries(head_dim, query_len);
    let client = q.client.clone();
    let dtype = dtype_to_storage_type(q.dtype);
    forward::forward::launch(
        &client,
        cubes(query_len.div_ceil(tile.rows()), heads, batch),
        CubeDim::new_2d(tile.units_x as u32, tile.units_y as u32),
        vector_size(head_dim),
        q.into_buffer_arg(),
        k.into_buffer_arg(),
        v.into_buffer_arg(),
        layout.into_buffer_arg(),
        out.clone().into_buffer_arg(),
        lse.clone().into_buffer_arg(),
        sizes(shapes),
        tile,
        dtype,
    );
    (out, lse)
}

/// The gradients of queries, keys and values, all contiguous.
#[allow(clippy::too_many_arguments, reason = "mirrors the operation")]
pub fn attention_backward(
    q: CubeTensor,
    k: CubeTensor,
    v: CubeTensor,
    out: CubeTensor,
    lse: CubeTensor,
    grad: CubeTensor,
    layout: CubeTensor,
    shapes: Shapes,
) -> (CubeTensor, CubeTensor, CubeTensor) {
    let Shapes {
        batch,
        heads,
        kv_heads,
        query_len,
        key_len,
        head_dim,
    } = shapes;
    let client = q.client.clone();
    let dtype = dtype_to_storage_type(q.dtype);

    let stats = empty(&q, [2, batch, heads, query_len].into(), DType::F32);
    delta::delta::launch(
        &client,
        cubes(query_len.div_ceil(delta::UNITS_Y), heads, batch),
        CubeDim::new_2d(delta::UNITS_X as u32, delta::UNITS_Y as u32),
        vector_size(head_dim),
        out.into_buffer_arg(),
        grad.clone().into_buffer_arg(),
        lse.into_buffer_arg(),
        stats.clone().into_buffer_arg(),
        query_len,
        head_dim,
        dtype,
    );

    let dq = empty(&q, q.shape(), q.dtype);
    let tile = TileConfig::of_queries(head_dim, query_len);
    query_gradient::query_gradient::launch(
        &client,
        cubes(query_len.div_ceil(tile.rows()), heads, batch),
        CubeDim::new_2d(tile.units_x as u32, tile.units_y as u32),
        vector_size(head_dim),
        q.clone().into_buffer_arg(),
        k.clone().into_buffer_arg(),
        v.clone().into_buffer_arg(),
        grad.clone().into_buffer_arg(),
        stats.clone().into_buffer_arg(),
        layout.clone().into_buffer_arg(),
        dq.clone().into_buffer_arg(),
        sizes(shapes),
        tile,
        dtype,
    );

    let ([dk, dv], dkv, dv_head) = pair(&k, head_dim);
    let tile = TileConfig::of_keys(head_dim);
    key_value_gradient::key_value_gradient::launch(
        &client,
        cubes(key_len.div_ceil(tile.rows()), kv_heads, batch),
        CubeDim::new_2d(tile.units_x as u32, tile.units_y as u32),
        vector_size(head_dim),
        q.into_buffer_arg(),
        k.into_buffer_arg(),
        v.into_buffer_arg(),
        grad.into_buffer_arg(),
        stats.into_buffer_arg(),
        layout.into_buffer_arg(),
        dkv.into_buffer_arg(),
        dv_head,
        sizes(shapes),
        tile,
        dtype,
    );
    (dq, dk, dv)
}

/// Two tensors in the shape of `like`, the buffer that holds both, and how many rows of
/// `head_dim` after the first the second begins.
fn pair(like: &CubeTensor, head_dim: usize) -> ([CubeTensor; 2], CubeTensor, usize) {
    let rows = like.shape().num_elements() / head_dim;
    // A binding starts at a multiple of the alignment, and so does every row whose index is one.
    let second = rows.next_multiple_of(like.client.properties().memory.alignment as usize);
    let both = empty(like, [second + rows, head_dim].into(), like.dtype);
    let bytes = (head_dim * like.dtype.size()) as u64;
    let part = |before: usize, behind: usize| {
        let handle = both.handle.clone();
        CubeTensor::new_contiguous(
            like.client.clone(),
            like.device.clone(),
            like.shape(),
            handle
                .offset_start(before as u64 * bytes)
                .offset_end(behind as u64 * bytes),
            like.dtype,
        )
    };
    ([part(0, second), part(second, 0)], both, second)
}

fn cubes(tiles: usize, heads: usize, batch: usize) -> CubeCount {
    CubeCount::Static(tiles as u32, heads as u32, batch as u32)
}

fn sizes(shapes: Shapes) -> SizesLaunch {
    SizesLaunch::new(
        shapes.batch,
        shapes.heads,
        shapes.kv_heads,
        shapes.query_len,
        shapes.key_len,
        1.0 / (shapes.head_dim as f32).sqrt(),
    )
}

/// Channels that are read at once.
fn vector_size(head_dim: usize) -> usize {
    [4, 2]
        .into_iter()
        .find(|&size| head_dim.is_multiple_of(size))
        .unwrap_or(1)
}
