//! What the backward kernels need of each row: its log-sum-exp, and
//!
//! ```text
//! delta = rowsum(dO O) = rowsum(P dP)
//! ```
//!
//! Both go into one buffer, as a kernel has no more than eight.

use cubecl::prelude::*;

/// Units that share a row.
pub const UNITS_X: usize = 8;
/// Rows of a cube.
pub const UNITS_Y: usize = 32;

/// One cube 32 queries, head and batch row.
///
/// # Shapes
///
/// - `out_bhtd`, `grad_bhtd`: `[batch, heads, query_len, head_dim]`
/// - `lse_bht`: `[batch, heads, query_len]`
/// - `stats`: `[2, batch, heads, query_len]`
#[cube(launch)]
pub fn delta<F: Float, N: Size>(
    out_bhtd: &[Vector<F, N>],
    grad_bhtd: &[Vector<F, N>],
    lse_bht: &[f32],
    stats: &mut [f32],
    query_len: usize,
    #[comptime] head_dim: usize,
    #[define(F)] _dtype: ElemType,
) {
    let x = UNIT_POS_X as usize;
    let query = CUBE_POS_X as usize * UNITS_Y + UNIT_POS_Y as usize;
    let head = (CUBE_POS_Z * CUBE_COUNT_Y + CUBE_POS_Y) as usize;
    let rows = (CUBE_COUNT_Z * CUBE_COUNT_Y) as usize * query_len;
    let row = head * query_len + query;
    let width = N::value();
    let vectors = comptime!(head_dim / width);

    let mut sum = 0.0f32;
    if query < query_len {
        #[unroll]
        for turn in 0..comptime!(vectors.div_ceil(UNITS_X)) {
            let vector = x + comptime!(turn * UNITS_X);
            if vector < vectors {
                let at = row * vectors + vector;
                let products = Vector::<f32, N>::cast_from(out_bhtd[at])
                    * Vector::<f32, N>::cast_from(grad_bhtd[at]);
                #[unroll]
                for lane in 0..width {
                    sum += products.extract(lane);
                }
            }
        }
    }
    let mut sums = Shared::<[f32]>::new_slice(comptime!(UNITS_X * UNITS_Y));
    sums[UNIT_POS as usize] = sum;
    sync_cube();
    if x == 0 && query < query_len {
        let mut total = 0.0f32;
        #[unroll]
        for unit in 0..UNITS_X {
            total += sums[UNIT_POS as usize + unit];
        }
        stats[row] = lse_bht[row];
        stats[rows + row] = total;
    }
}
