//! What the backward kernels need of each row, in one buffer: its log-sum-exp in base 2, as the
//! kernels take powers of 2, and
//!
//! ```text
//! delta = rowsum(dO O) = rowsum(P dP)
//! ```

use cubecl::prelude::*;

/// Units that share a row.
pub const ROW_UNITS: usize = 8;
/// Rows of a cube.
pub const ROWS: usize = 32;

/// One cube 32 rows, of all heads and batch rows together.
///
/// # Shapes
///
/// - `out_bhtd`, `grad_bhtd`: `[batch, heads, query_len, head_dim]`
/// - `lse_bht`: `[batch, heads, query_len]`
/// - `stats`: `[2, batch, heads, query_len]`
#[cube(launch)]
pub fn delta<E: Float, V: Size>(
    out_bhtd: &[Vector<E, V>],
    grad_bhtd: &[Vector<E, V>],
    lse_bht: &[f32],
    stats: &mut [f32],
    rows: usize,
    #[comptime] row_pieces: usize,
    #[define(E)] _dtype: ElemType,
) {
    let lane = UNIT_POS as usize % ROW_UNITS;
    let row = CUBE_POS_X as usize * ROWS + UNIT_POS as usize / ROW_UNITS;
    let inside = min(row, rows - 1);
    let mut sum = 0.0f32;
    #[unroll]
    for turn in 0..comptime!(row_pieces.div_ceil(ROW_UNITS)) {
        let piece = lane + comptime!(turn * ROW_UNITS);
        if comptime!((turn + 1) * ROW_UNITS <= row_pieces) || piece < row_pieces {
            let at = inside * row_pieces + piece;
            let out = Vector::<f32, V>::cast_from(out_bhtd[at]);
            let products = out * Vector::<f32, V>::cast_from(grad_bhtd[at]);
            #[unroll]
            for channel in 0..V::value() {
                sum += products.extract(channel);
            }
        }
    }
    sum += plane_shuffle_xor(sum, 1u32);
    sum += plane_shuffle_xor(sum, 2u32);
    sum += plane_shuffle_xor(sum, 4u32);
    if lane == 0 && row < rows {
        stats[row] = lse_bht[row] * comptime!(std::f32::consts::LOG2_E);
        stats[rows + row] = sum;
    }
}
