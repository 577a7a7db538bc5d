//! The two matrix products of a cube of units, from which all kernels of this family are made.
//!
//! [`scores`] contracts the channels of the tile's rows and columns, [`accumulate`] the columns of
//! the tile with their channels. Both stream their operands through the same stage in shared
//! memory, four channels (a [`Quad`]) at a time, so that a unit does 64 multiplications for 8
//! reads. All is computed in f32.
//!
//! The blocking is that of the plain matrix products of CUTLASS (Kerr et al., "CUTLASS: Fast
//! Linear Algebra in CUDA C++", 2017).

use cubecl::prelude::*;

use super::rows::{Quad, Rows, load, store};
use super::tile::{CHUNK, ROW_STRIDE, STAGED, TileConfig};

/// Stages a chunk of channels of `count` rows.
#[cube]
fn stage_rows<F: Float, N: Size>(
    x: &[Vector<F, N>],
    rows: Rows,
    chunk: usize,
    stage: &mut Shared<[Quad]>,
    #[comptime] offset: usize,
    #[comptime] count: usize,
    #[comptime] tile: TileConfig,
) {
    #[unroll]
    for turn in 0..comptime!(count * CHUNK / tile.units()) {
        let slot = UNIT_POS as usize + comptime!(turn * tile.units());
        let row = slot / CHUNK;
        let quad = slot % CHUNK;
        stage[(offset + row) * ROW_STRIDE + quad] =
            load::<F, N>(x, rows, row, chunk * CHUNK + quad, comptime!(tile.head_dim));
    }
}

/// The unit's scores, `scores[4 i + j] = a[row i] . b[column j]`.
#[cube]
pub fn scores<F: Float, N: Size>(
    a: &[Vector<F, N>],
    a_rows: Rows,
    b: &[Vector<F, N>],
    b_rows: Rows,
    stage: &mut Shared<[Quad]>,
    #[comptime] tile: TileConfig,
) -> Array<f32> {
    let x = UNIT_POS_X as usize;
    let y = UNIT_POS_Y as usize;
    let mut scores = Array::<f32>::new(16usize);
    #[unroll]
    for at in 0..16usize {
        scores[at] = 0.0;
    }
    for chunk in 0..comptime!(tile.head_dim.div_ceil(4 * CHUNK)) {
        sync_cube();
        stage_rows::<F, N>(
            a,
            a_rows,
            chunk,
            stage,
            0usize,
            comptime!(tile.rows()),
            tile,
        );
        stage_rows::<F, N>(
            b,
            b_rows,
            chunk,
            stage,
            comptime!(tile.rows()),
            comptime!(tile.columns()),
            tile,
        );
        sync_cube();
        #[unroll]
        for quad in 0..CHUNK {
            let mut left = Array::<Quad>::new(4usize);
            #[unroll]
            for i in 0..4usize {
                left[i] = stage[(y + comptime!(i * tile.units_y)) * ROW_STRIDE + quad];
            }
            #[unroll]
            for j in 0..4usize {
                let row = x + comptime!(tile.rows() + j * tile.units_x);
                let right = stage[row * ROW_STRIDE + quad];
                #[unroll]
                for i in 0..4usize {
                    let mut sum = scores[comptime!(4 * i + j)];
                    #[unroll]
                    for lane in 0..4usize {
                        sum = fma(left[i].extract(lane), right.extract(lane), sum);
                    }
                    scores[comptime!(4 * i + j)] = sum;
                }
            }
        }
    }
    scores
}

/// Writes the unit's 4 x 4 weights where [`accumulate`] reads them.
#[cube]
pub fn share_weights(
    values: Array<f32>,
    weights: &mut Shared<[Quad]>,
    #[comptime] tile: TileConfig,
) {
    #[unroll]
    for i in 0..4usize {
        let row = UNIT_POS_Y as usize + comptime!(i * tile.units_y);
        let mut quad = Quad::new(0.0f32);
        #[unroll]
        for j in 0..4usize {
            quad.insert(j, values[comptime!(4 * i + j)]);
        }
        weights[row * comptime!(tile.units_x) + UNIT_POS_X as usize] = quad;
    }
}

/// Sums for [`accumulate`], before anything is added.
#[cube]
pub fn zeros(#[comptime] tile: TileConfig) -> Array<Quad> {
    let mut sums = Array::<Quad>::new(comptime!(4 * tile.steps()));
    #[unroll]
    for at in 0..comptime!(4 * tile.steps()) {
        sums[at] = Quad::new(0.0f32);
    }
    sums
}

/// `sums[row i] += sum over the tile's columns of weights[row i][column] b[column]`.
///
/// For its rows a unit holds the quads of channels `x + step units_x`: `sums[i steps + step]`.
/// Columns come in the order in which [`share_weights`] packs them: quad `k` of a row of weights
/// is for the columns `k`, `k + units_x`, `k + 2 units_x`, `k + 3 units_x`.
#[cube]
pub fn accumulate<F: Float, N: Size>(
    sums: &mut Array<Quad>,
    weights: &Shared<[Quad]>,
    b: &[Vector<F, N>],
    b_rows: Rows,
    stage: &mut Shared<[Quad]>,
    #[comptime] tile: TileConfig,
) {
    let x = UNIT_POS_X as usize;
    let y = UNIT_POS_Y as usize;
    let units_x = comptime!(tile.units_x);
    let steps = comptime!(tile.steps());
    // Quads of weights that one filling of the stage serves.
    let staged = comptime!(STAGED / (4 * units_x));
    #[unroll]
    for step in 0..steps {
        // The tile's own sum first: a long sum errs less when it takes tiles than single terms.
        let mut partial = Array::<Quad>::new(4usize);
        #[unroll]
        for i in 0..4usize {
            partial[i] = Quad::new(0.0f32);
        }
        for part in 0..comptime!(units_x / staged) {
            sync_cube();
            #[unroll]
            for turn in 0..comptime!(STAGED / tile.units()) {
                let slot = UNIT_POS as usize + comptime!(turn * tile.units());
                let quad = comptime!(step * units_x) + slot % units_x;
                let column = slot / units_x;
                let row = part * staged + column / 4 + (column % 4) * units_x;
                stage[slot] = load::<F, N>(b, b_rows, row, quad, comptime!(tile.head_dim));
            }
            sync_cube();
            for k in 0..staged {
                let mut left = Array::<Quad>::new(4usize);
                #[unroll]
                for i in 0..4usize {
                    let row = y + comptime!(i * tile.units_y);
                    left[i] = weights[row * units_x + part * staged + k];
                }
                #[unroll]
                for j in 0..4usize {
                    let right = stage[(4 * k + j) * units_x + x];
                    #[unroll]
                    for i in 0..4usize {
                        partial[i] = fma(Quad::new(left[i].extract(j)), right, partial[i]);
                    }
                }
            }
        }
        #[unroll]
        for i in 0..4usize {
            sums[comptime!(i * steps + step)] += partial[i];
        }
    }
}

/// Stores the sums of the unit's rows, each multiplied by its row's factor.
#[cube]
pub fn store_sums<F: Float, N: Size>(
    sums: Array<Quad>,
    factors: Quad,
    out: &mut [Vector<F, N>],
    rows: Rows,
    #[comptime] tile: TileConfig,
) {
    let steps = comptime!(tile.steps());
    #[unroll]
    for i in 0..4usize {
        let row = UNIT_POS_Y as usize + comptime!(i * tile.units_y);
        #[unroll]
        for step in 0..steps {
            let quad = UNIT_POS_X as usize + comptime!(step * tile.units_x);
            let values = sums[comptime!(i * steps + step)] * Quad::new(factors.extract(i));
            store::<F, N>(out, rows, row, quad, values, comptime!(tile.head_dim));
        }
    }
}
