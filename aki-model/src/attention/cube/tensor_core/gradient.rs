//! From scores to weights and to the gradients of scores, in registers.
//!
//! ```text
//! P = 2^(factor S - lse)        dS = P (dP - delta)
//! ```
//!
//! The statistics of a row stand in registers of the lanes that hold it; those of a column, in the
//! kernel whose columns are queries, in shared memory.

use cubecl::prelude::*;

use super::fragments::Accumulators;
use super::ptx::exp2;

/// Turns the gradients of weights into those of scores; rows are queries.
#[cube]
pub fn gradients_of_scores<P: Size>(
    scores: &Accumulators<P>,
    grads: &mut Accumulators<P>,
    lse: &Array<f32>,
    delta: &Array<f32>,
    factor: f32,
    #[comptime] row_tiles: usize,
    #[comptime] columns: usize,
) {
    let width = comptime!(columns / 8);
    #[unroll]
    for at in 0..comptime!(row_tiles * width) {
        let score = scores.index(at);
        let grad = grads.index_mut(at);
        #[unroll]
        for half in 0..2usize {
            let row = comptime!(at / width * 2 + half);
            let mut pair = Vector::<f32, P>::empty();
            #[unroll]
            for at in 0..2usize {
                let weight = exp2(fma(score[half].extract(at), factor, -lse[row]));
                pair.insert(at, weight * (grad[half].extract(at) - delta[row]));
            }
            grad[half] = pair;
        }
    }
}

/// Turns scores into weights; columns are queries, and `at` is the place of the log-sum-exp of the
/// lane's first column.
#[cube]
pub fn transposed_weights<P: Size>(
    scores: &mut Accumulators<P>,
    stats: &Shared<[f32]>,
    at: usize,
    factor: f32,
    #[comptime] row_tiles: usize,
    #[comptime] columns: usize,
) {
    let width = comptime!(columns / 8);
    #[unroll]
    for j in 0..width {
        #[unroll]
        for pair in 0..2usize {
            let lse = stats[at + comptime!(8 * j + pair)];
            #[unroll]
            for row in 0..comptime!(2 * row_tiles) {
                let score = scores.index_mut(comptime!(row / 2 * width + j));
                let half = comptime!(row % 2);
                let mut values = score[half];
                values.insert(pair, exp2(fma(values.extract(pair), factor, -lse)));
                score[half] = values;
            }
        }
    }
}

/// Turns the gradients of weights into those of scores; columns are queries, and `at` is the place
/// of the delta of the lane's first column.
#[cube]
pub fn transposed_gradients<P: Size>(
    weights: &Accumulators<P>,
    grads: &mut Accumulators<P>,
    stats: &Shared<[f32]>,
    at: usize,
    #[comptime] row_tiles: usize,
    #[comptime] columns: usize,
) {
    let width = comptime!(columns / 8);
    #[unroll]
    for j in 0..width {
        #[unroll]
        for pair in 0..2usize {
            let delta = stats[at + comptime!(8 * j + pair)];
            #[unroll]
            for row in 0..comptime!(2 * row_tiles) {
                let weight = weights.index(comptime!(row / 2 * width + j));
                let grad = grads.index_mut(comptime!(row / 2 * width + j));
                let half = comptime!(row % 2);
                let mut values = grad[half];
                let value = weight[half].extract(pair) * (values.extract(pair) - delta);
                values.insert(pair, value);
                grad[half] = values;
            }
        }
    }
}
