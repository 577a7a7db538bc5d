//! The online softmax of a plane's rows, in base 2.

use cubecl::prelude::*;

use super::fragments::Accumulators;
use super::ptx::exp2;

/// Below any real score and far above a hidden one, in base 2: the weights of a row that has seen
/// nothing yet are exactly 0.
const LOWEST: f32 = -1e20;
const LN_2: f32 = std::f32::consts::LN_2;

/// Running maximum, in units of `factor`, and the lane's part of the running sum, of rows
/// `lane / 4 + 8 i` of the plane.
#[derive(CubeType)]
pub struct OnlineSoftmax {
    highest: Array<f32>,
    sums: Array<f32>,
}

#[cube]
impl OnlineSoftmax {
    pub fn new(#[comptime] row_tiles: usize) -> OnlineSoftmax {
        let mut highest = Array::<f32>::new(comptime!(2 * row_tiles));
        let mut sums = Array::<f32>::new(comptime!(2 * row_tiles));
        #[unroll]
        for row in 0..comptime!(2 * row_tiles) {
            highest[row] = LOWEST;
            sums[row] = 0.0f32;
        }
        OnlineSoftmax { highest, sums }
    }

    /// Turns scores into weights `2^(factor score - highest)` and brings the output gathered so far
    /// to the new maximum. The maximum passes over NaN, the weights do not.
    pub fn update<P: Size>(
        &mut self,
        scores: &mut Accumulators<P>,
        gathered: &mut Accumulators<P>,
        factor: f32,
        #[comptime] row_tiles: usize,
        #[comptime] columns: usize,
        #[comptime] channels: usize,
    ) {
        let width = comptime!(columns / 8);
        let out_width = comptime!(channels / 8);
        #[unroll]
        for row in 0..comptime!(2 * row_tiles) {
            let (i, half) = comptime!((row / 2, row % 2));
            let first = scores.index(comptime!(i * width))[half];
            let mut high = max(first.extract(0usize), first.extract(1usize));
            #[unroll]
            for j in 1..width {
                let pair = scores.index(comptime!(i * width + j))[half];
                high = max(high, max(pair.extract(0usize), pair.extract(1usize)));
            }
            high = max(high, plane_shuffle_xor(high, 1u32));
            high = max(high, plane_shuffle_xor(high, 2u32));
            let old = self.highest[row];
            let new = max(old, high * factor);
            let shrink = exp2(old - new);
            self.highest[row] = new;
            let mut sum = self.sums[row] * shrink;
            #[unroll]
            for j in 0..out_width {
                let out = gathered.index_mut(comptime!(i * out_width + j));
                out[half] = out[half] * Vector::new(shrink);
            }
            #[unroll]
            for j in 0..width {
                let score = scores.index_mut(comptime!(i * width + j));
                let mut weights = Vector::<f32, P>::empty();
                #[unroll]
                for at in 0..2usize {
                    let weight = exp2(fma(score[half].extract(at), factor, -new));
                    sum += weight;
                    weights.insert(at, weight);
                }
                score[half] = weights;
            }
            self.sums[row] = sum;
        }
    }

    /// What each row's output is to be multiplied by, and its log-sum-exp. A row that sees nothing
    /// has gathered 0, which stays; its log-sum-exp is 0.
    pub fn finish(&self, #[comptime] row_tiles: usize) -> (Array<f32>, Array<f32>) {
        let mut factors = Array::<f32>::new(comptime!(2 * row_tiles));
        let mut lse = Array::<f32>::new(comptime!(2 * row_tiles));
        #[unroll]
        for row in 0..comptime!(2 * row_tiles) {
            let mut sum = self.sums[row];
            sum += plane_shuffle_xor(sum, 1u32);
            sum += plane_shuffle_xor(sum, 2u32);
            let empty = sum == 0.0f32;
            let sum = select(empty, 1.0f32, sum);
            factors[row] = 1.0f32 / sum;
            lse[row] = select(empty, 0.0f32, self.highest[row] * LN_2 + sum.ln());
        }
        (factors, lse)
    }
}
