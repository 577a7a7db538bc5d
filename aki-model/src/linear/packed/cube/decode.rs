//! The product of few rows with a packed matrix, whose numbers are unpacked in registers: a decoded token
//! reads the packed words, and nothing else of that size.
//!
//! ```text
//! y[r, m] = sum over blocks b of scale[m, b] (sum over the numbers n of b of x[r, n] (stored[m, n] - zero))
//! ```
//!
//! All is summed in f32. It asks for nothing that WebGPU lacks: 64 units a cube, 3 buffers, at most 8 KiB of
//! shared memory, no planes.

use cubecl::prelude::*;

use super::super::blocks::BLOCK;
use super::scale;

/// Rows of `x` at most. With more, each number is used often enough to unpack it once for all.
pub const ROWS: usize = 8;
/// Units along a row of the matrix: they read neighbouring words.
pub const UNITS_X: usize = 32;
/// Units along the rows of the matrix.
pub const UNITS_Y: usize = 2;
/// Rows of the matrix a unit takes at once, so that what it reads of `x` is used so often.
pub const OUTPUTS: usize = 4;
const UNITS: usize = UNITS_X * UNITS_Y;

/// One cube `UNITS_Y * OUTPUTS` rows of the matrix; see [`blocks`](super::super::blocks).
///
/// # Shapes
///
/// - `x`: `[rows, 32 blocks]`, four at a time
/// - `words`: `[to, line]`
/// - `y`: `[rows, to]`
#[cube(launch)]
pub fn product<F: Float, N: Size>(
    x: &[Vector<F, N>],
    words: &[i32],
    y: &mut [F],
    to: usize,
    line: usize,
    blocks: usize,
    #[comptime] rows: usize,
    #[comptime] bits: usize,
    #[define(F)] _dtype: ElemType,
) {
    let unit = UNIT_POS as usize;
    let row_words = blocks * bits;
    let first = (CUBE_POS * UNITS_Y + UNIT_POS_Y as usize) * OUTPUTS;
    let mut sums = Array::<f32>::new(comptime!(rows * OUTPUTS));
    #[unroll]
    for at in 0..comptime!(rows * OUTPUTS) {
        sums[at] = 0.0;
    }
    let mut word = UNIT_POS_X as usize;
    while word < row_words {
        let block = word / bits;
        // The numbers of a word are a quad or two.
        let quads = comptime!(BLOCK / bits / 4);
        let mut numbers = Array::<Vector<f32, N>>::new(comptime!(rows * quads));
        #[unroll]
        for row in 0..rows {
            #[unroll]
            for quad in 0..quads {
                let at = (row * row_words + word) * quads + quad;
                numbers[comptime!(row * quads + quad)] = Vector::<f32, N>::cast_from(x[at]);
            }
        }
        #[unroll]
        for output in 0..OUTPUTS {
            // Past the end it is the last row once more, which nobody writes.
            let row_start = min(first + output, to - 1) * line;
            let scale = scale(words, row_start + row_words, block);
            let packed = u32::cast_from(words[row_start + word]);
            let mut stored = Array::<Vector<f32, N>>::new(quads);
            #[unroll]
            for quad in 0..quads {
                stored[quad] = unpacked::<N>(packed, quad, bits);
            }
            #[unroll]
            for row in 0..rows {
                let mut products = stored[0] * numbers[comptime!(row * quads)];
                #[unroll]
                for quad in 1..quads {
                    products += stored[quad] * numbers[comptime!(row * quads + quad)];
                }
                let mut sum = 0.0f32;
                #[unroll]
                for lane in 0..N::value() {
                    sum += products.extract(lane);
                }
                sums[comptime!(row * OUTPUTS + output)] += scale * sum;
            }
        }
        word += UNITS_X;
    }

    let mut shared = Shared::<[f32]>::new_slice(comptime!(rows * OUTPUTS * UNITS));
    #[unroll]
    for at in 0..comptime!(rows * OUTPUTS) {
        shared[comptime!(at * UNITS) + unit] = sums[at];
    }
    sync_cube();
    // A unit has a sum, of which there are no more than units.
    if unit < comptime!(rows * OUTPUTS * UNITS_Y) {
        let sum = unit / UNITS_Y;
        let unit_y = unit % UNITS_Y;
        let mut total = 0.0f32;
        for lane in 0..UNITS_X {
            // Each begins elsewhere, or all would read one bank of the memory at once.
            total += shared[sum * UNITS + unit_y * UNITS_X + (lane + unit) % UNITS_X];
        }
        let output = (CUBE_POS * UNITS_Y + unit_y) * OUTPUTS + sum % OUTPUTS;
        if output < to {
            y[sum / OUTPUTS * to + output] = F::cast_from(total);
        }
    }
}

/// Four numbers of a word, without their scale.
#[cube]
fn unpacked<N: Size>(
    packed: u32,
    #[comptime] quad: usize,
    #[comptime] bits: usize,
) -> Vector<f32, N> {
    let zero = comptime!((1u32 << (bits - 1)) as f32);
    let mut numbers = Vector::<f32, N>::new(0.0f32);
    #[unroll]
    for lane in 0..N::value() {
        let shift = comptime!(((quad * 4 + lane) * bits) as u32);
        let stored = (packed >> shift) & comptime!(u32::MAX >> (32 - bits as u32));
        numbers.insert(lane, f32::cast_from(stored) - zero);
    }
    numbers
}
