//! Reading and writing the rows of a head, four channels at a time.

use cubecl::prelude::*;

use crate::attention::cube::sizes::Sizes;

/// Four channels, or four columns.
pub type Quad = Vector<f32, Const<4>>;

/// Rows of one head in a `[batch, heads, len, head_dim]` tensor.
#[derive(CubeType, Clone, Copy)]
#[expand(derive(Clone, Copy))]
pub struct Rows {
    /// The head's first row in the tensor.
    pub head: usize,
    /// The first row in the head.
    pub start: usize,
    /// Rows of the head; those behind read as zeros.
    pub len: usize,
}

/// Channels `4 quad ..` of a row, zeros outside the head.
#[cube]
pub fn load<F: Float, N: Size>(
    x: &[Vector<F, N>],
    rows: Rows,
    row: usize,
    quad: usize,
    #[comptime] head_dim: usize,
) -> Quad {
    let width = N::value();
    let vectors = comptime!(head_dim / width);
    let parts = comptime!(4 / width);
    let row = rows.start + row;
    let mut channels = Quad::new(0.0f32);
    if row < rows.len {
        let at = (rows.head + row) * vectors;
        #[unroll]
        for part in 0..parts {
            let vector = quad * parts + part;
            if vector < vectors {
                let values = Vector::<f32, N>::cast_from(x[at + vector]);
                #[unroll]
                for lane in 0..width {
                    channels.insert(comptime!(part * width + lane), values.extract(lane));
                }
            }
        }
    }
    channels
}

/// Writes channels `4 quad ..` of a row, if they lie in the head.
#[cube]
pub fn store<F: Float, N: Size>(
    x: &mut [Vector<F, N>],
    rows: Rows,
    row: usize,
    quad: usize,
    channels: Quad,
    #[comptime] head_dim: usize,
) {
    let width = N::value();
    let vectors = comptime!(head_dim / width);
    let parts = comptime!(4 / width);
    let row = rows.start + row;
    if row < rows.len {
        let at = (rows.head + row) * vectors;
        #[unroll]
        for part in 0..parts {
            let vector = quad * parts + part;
            if vector < vectors {
                let mut values = Vector::<f32, N>::new(0.0f32);
                #[unroll]
                for lane in 0..width {
                    values.insert(lane, channels.extract(comptime!(part * width + lane)));
                }
                x[at + vector] = Vector::<F, N>::cast_from(values);
            }
        }
    }
}

/// A query's log-sum-exp, 0 past the end.
#[cube]
pub fn lse_of(sizes: Sizes, stats: &[f32], head: usize, query: usize) -> f32 {
    let value = stats[head + min(query, sizes.query_len - 1)];
    select(query < sizes.query_len, value, 0.0)
}

/// A query's delta, 0 past the end.
#[cube]
pub fn delta_of(sizes: Sizes, stats: &[f32], head: usize, query: usize) -> f32 {
    let deltas = sizes.batch * sizes.heads * sizes.query_len;
    lse_of(sizes, stats, deltas + head, query)
}
