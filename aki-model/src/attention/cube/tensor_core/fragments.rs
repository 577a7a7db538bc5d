//! Matrices in the registers of a plane, for `mma.m16n8k16`.
//!
//! With `g = lane / 4` and `t = lane % 4` a lane holds
//!
//! ```text
//! accumulator 16 x 8    [0] row g, columns 2t and 2t + 1     [1] the same of row g + 8
//! left        16 x 16   [0], [1] as the accumulator of columns 0-7, [2], [3] of columns 8-15
//! right       16 x 8    [0] rows 2t and 2t + 1 of column g,  [1] rows 2t + 8 and 2t + 9
//! ```
//!
//! so two neighbouring accumulators, rounded, are the left operand of the next product.
//! `ldmatrix.x4` brings 16 rows of 16 channels from shared memory; each lane names one piece, lanes
//! 0-7 those of the first register. A left operand is its four registers, and two right operands
//! are the first and the last two, which the instruction wants side by side. Therefore
//!
//! ```text
//!                  rows of A, or of B      rows of B^T
//!                  ([`lane_piece`])        ([`lane_piece_transposed`])
//! registers 0, 1   rows 0-7,  8-15         rows 0-7,  channels 0-7, 8-15
//! registers 2, 3   the same, channels 8-15 rows 8-15, channels 0-7, 8-15
//! ```
//!
//! where the rows of B are transposed on the way.

use cubecl::cmma::{MatrixIdent, MmaDefinition};
use cubecl::prelude::*;

use super::tile::{MMA, PIECE};

/// Accumulators of 16 x 8, those of a row of tiles after each other.
pub type Accumulators<P> = Sequence<Array<Vector<f32, P>>>;
/// Left operands of 16 x 16.
pub type Operands<E, P> = Sequence<Array<Vector<E, P>>>;

#[cube]
pub fn zeros<P: Size>(#[comptime] count: usize) -> Accumulators<P> {
    let mut sums = Sequence::new();
    #[unroll]
    for _ in 0..count {
        let mut sum = Array::<Vector<f32, P>>::new(2usize);
        sum[0] = Vector::new(0.0f32);
        sum[1] = Vector::new(0.0f32);
        sums.push(sum);
    }
    sums
}

/// The lane's piece of 16 rows of A or of B.
#[cube]
pub fn lane_piece(#[comptime] pitch: usize) -> usize {
    let lane = UNIT_POS_PLANE as usize;
    lane % 16 * pitch + lane / 16
}

/// The lane's piece of 16 rows of the transposed B.
#[cube]
pub fn lane_piece_transposed(#[comptime] pitch: usize) -> usize {
    let lane = UNIT_POS_PLANE as usize;
    (lane / 16 * 8 + lane % 8) * pitch + lane / 8 % 2
}

/// Reads a matrix of 16 x 16; `at` is the lane's piece.
#[cube]
fn read<E: Float, P: Size, V: Size>(
    mma: &MmaDefinition<E, E, f32>,
    shared: &Shared<[Vector<E, V>]>,
    at: usize,
    #[comptime] transposed: bool,
) -> Array<Vector<E, P>> {
    mma.load_matrix::<Vector<E, V>, P>(&shared[at..at + 1], MatrixIdent::A, 4usize, transposed)
}

/// The two right operands in four registers.
#[cube]
fn halves<E: Float, P: Size>(
    registers: &Array<Vector<E, P>>,
) -> (Array<Vector<E, P>>, Array<Vector<E, P>>) {
    let mut low = Array::<Vector<E, P>>::new(2usize);
    let mut high = Array::<Vector<E, P>>::new(2usize);
    low[0] = registers[0];
    low[1] = registers[1];
    high[0] = registers[2];
    high[1] = registers[3];
    (low, high)
}

/// `sums = A B^T` of two tiles in shared memory: `sums[i, j]` of the plane's rows and of `columns`
/// rows of the other tile; `left` and `right` are the lane's pieces in them.
#[cube]
pub fn product_of_rows<E: Float, P: Size, V: Size>(
    mma: &MmaDefinition<E, E, f32>,
    shared: &Shared<[Vector<E, V>]>,
    left: usize,
    right: usize,
    #[comptime] row_tiles: usize,
    #[comptime] columns: usize,
    #[comptime] channels: usize,
) -> Accumulators<P> {
    let pitch = comptime!(channels / PIECE + 1);
    let width = comptime!(columns / 8);
    let mut sums = zeros::<P>(comptime!(row_tiles * width));
    #[unroll]
    for step in 0..comptime!(channels / MMA) {
        let mut rows = Operands::<E, P>::new();
        #[unroll]
        for i in 0..row_tiles {
            let at = left + comptime!(i * MMA * pitch + step * 2);
            rows.push(read::<E, P, V>(mma, shared, at, false));
        }
        #[unroll]
        for j in 0..comptime!(columns / MMA) {
            let at = right + comptime!(j * MMA * pitch + step * 2);
            let registers = read::<E, P, V>(mma, shared, at, false);
            let (low, high) = halves(&registers);
            #[unroll]
            for i in 0..row_tiles {
                let at = comptime!(i * width + 2 * j);
                mma.execute_inplace(rows.index(i), &low, sums.index_mut(at));
                mma.execute_inplace(rows.index(i), &high, sums.index_mut(comptime!(at + 1)));
            }
        }
    }
    sums
}

/// `sums += A B` of operands in registers, `A[i, k]`, and of a tile in shared memory.
#[cube]
pub fn add_product<E: Float, P: Size, V: Size>(
    mma: &MmaDefinition<E, E, f32>,
    sums: &mut Accumulators<P>,
    left: &Operands<E, P>,
    shared: &Shared<[Vector<E, V>]>,
    right: usize,
    #[comptime] row_tiles: usize,
    #[comptime] columns: usize,
    #[comptime] channels: usize,
) {
    let pitch = comptime!(channels / PIECE + 1);
    let width = comptime!(channels / 8);
    let depth = comptime!(columns / MMA);
    #[unroll]
    for k in 0..depth {
        #[unroll]
        for j in 0..comptime!(channels / MMA) {
            let at = right + comptime!(k * MMA * pitch + j * 2);
            let registers = read::<E, P, V>(mma, shared, at, true);
            let (low, high) = halves(&registers);
            #[unroll]
            for i in 0..row_tiles {
                let row = left.index(comptime!(i * depth + k));
                let at = comptime!(i * width + 2 * j);
                mma.execute_inplace(row, &low, sums.index_mut(at));
                mma.execute_inplace(row, &high, sums.index_mut(comptime!(at + 1)));
            }
        }
    }
}

/// Rounds accumulators and makes left operands of them.
#[cube]
pub fn round<E: Float, P: Size>(
    values: &Accumulators<P>,
    #[comptime] row_tiles: usize,
    #[comptime] columns: usize,
) -> Operands<E, P> {
    let mut operands = Operands::<E, P>::new();
    #[unroll]
    for k in 0..comptime!(row_tiles * columns / MMA) {
        let low = values.index(comptime!(2 * k));
        let high = values.index(comptime!(2 * k + 1));
        let mut operand = Array::<Vector<E, P>>::new(4usize);
        operand[0] = Vector::cast_from(low[0]);
        operand[1] = Vector::cast_from(low[1]);
        operand[2] = Vector::cast_from(high[0]);
        operand[3] = Vector::cast_from(high[1]);
        operands.push(operand);
    }
    operands
}
