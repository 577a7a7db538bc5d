//! The online softmax of a tile's rows.
//!
//! ```text
//! m' = max(m, rowmax S)              P = exp(S - m')
//! O <- exp(m - m') O                 l <- exp(m - m') l + rowsum P
//! ```
//!
//! Milakov and Gimelshein, "Online normalizer calculation for softmax" (2018).

use cubecl::prelude::*;

use super::rows::Quad;
use super::tile::TileConfig;
use crate::attention::cube::rule::HIDDEN;

/// Running maxima and sums of the unit's four rows.
#[derive(CubeType)]
pub struct OnlineSoftmax {
    /// The same for all units of a row.
    maxima: Quad,
    /// Of each unit's own columns; the units of a row meet in [`OnlineSoftmax::finish`].
    totals: Quad,
}

#[cube]
impl OnlineSoftmax {
    pub fn new() -> OnlineSoftmax {
        OnlineSoftmax {
            maxima: Quad::new(HIDDEN),
            totals: Quad::new(0.0f32),
        }
    }

    /// Turns the unit's scores into weights relative to the new maxima, and brings the outputs
    /// gathered so far to them.
    pub fn update(
        &mut self,
        scores: &mut Array<f32>,
        sums: &mut Array<Quad>,
        stage: &mut Shared<[Quad]>,
        #[comptime] tile: TileConfig,
    ) {
        let mut own = Quad::new(0.0f32);
        #[unroll]
        for i in 0..4usize {
            let mut high = scores[comptime!(4 * i)];
            #[unroll]
            for j in 1..4usize {
                high = max(high, scores[comptime!(4 * i + j)]);
            }
            own.insert(i, high);
        }
        let units_x = comptime!(tile.units_x);
        let row = UNIT_POS_Y as usize * units_x;
        sync_cube();
        stage[row + UNIT_POS_X as usize] = own;
        sync_cube();
        let mut maxima = self.maxima;
        for unit in 0..units_x {
            maxima = max(maxima, stage[row + unit]);
        }

        let steps = comptime!(tile.steps());
        #[unroll]
        for i in 0..4usize {
            let high = maxima.extract(i);
            // A row that has seen nothing yet: all its scores are hidden.
            let shift = select(high == HIDDEN, 0.0, high);
            let shrink = (self.maxima.extract(i) - shift).exp();
            let mut total = self.totals.extract(i) * shrink;
            #[unroll]
            for j in 0..4usize {
                let at = comptime!(4 * i + j);
                scores[at] = (scores[at] - shift).exp();
                total += scores[at];
            }
            self.totals.insert(i, total);
            #[unroll]
            for step in 0..steps {
                sums[comptime!(i * steps + step)] *= Quad::new(shrink);
            }
        }
        self.maxima = maxima;
    }

    /// What each row's output is to be multiplied by, and its log-sum-exp; both are 0 for a row
    /// that sees nothing.
    pub fn finish(&self, stage: &mut Shared<[Quad]>, #[comptime] tile: TileConfig) -> (Quad, Quad) {
        let units_x = comptime!(tile.units_x);
        let row = UNIT_POS_Y as usize * units_x;
        sync_cube();
        stage[row + UNIT_POS_X as usize] = self.totals;
        sync_cube();
        let mut totals = Quad::new(0.0f32);
        for unit in 0..units_x {
            totals += stage[row + unit];
        }
        let mut inverse = Quad::new(0.0f32);
        let mut lse = Quad::new(0.0f32);
        #[unroll]
        for i in 0..4usize {
            let total = totals.extract(i);
            let empty = total == 0.0;
            inverse.insert(i, select(empty, 0.0, 1.0 / total));
            lse.insert(i, select(empty, 0.0, self.maxima.extract(i) + total.ln()));
        }
        (inverse, lse)
    }
}
