//! The arithmetic between the matrix products, a tile at a time, vectorised for the machine it
//! runs on.

#![allow(
    clippy::inline_always,
    reason = "only what is inlined into `Arch::dispatch` is compiled for the machine's vectors"
)]

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use crate::attention::layout::LayoutTable;

/// Keys a tile is wide, and floats from one of its rows to the next.
pub const TILE_KEYS: usize = 256;
/// Queries a tile is high.
pub const TILE_QUERIES: usize = 64;

const LANES: usize = 16;
const LOG2_E: f32 = std::f32::consts::LOG2_E;

/// Running maximum and sum of the rows of a block of queries, in units of `scale * log2(e)`.
pub struct Running {
    max: [f32; TILE_QUERIES],
    sum: [f32; TILE_QUERIES],
}

impl Running {
    pub fn new() -> Self {
        Self {
            max: [f32::NEG_INFINITY; TILE_QUERIES],
            sum: [0.0; TILE_QUERIES],
        }
    }

    /// Turns a tile of scores into weights relative to the running maximum, and brings the output
    /// gathered so far, if there is any, to that maximum; it has `width` channels a row.
    pub fn update(
        &mut self,
        arch: Arch,
        scores: &mut [f32],
        keys: usize,
        scale: f32,
        gathered: Option<&mut [f32]>,
        width: usize,
    ) {
        let factor = scale * LOG2_E;
        let mut gathered = gathered.map(|out| out.chunks_mut(width));
        let rows = scores.chunks_mut(TILE_KEYS);
        arch.dispatch(
            #[inline(always)]
            || {
                for (row, (max, sum)) in rows.zip(self.max.iter_mut().zip(&mut self.sum)) {
                    let row = &mut row[..keys];
                    let highest = row_max(row) * factor;
                    let new = if highest > *max { highest } else { *max };
                    // A row that has seen nothing yet: all its scores are hidden.
                    let shift = if new == f32::NEG_INFINITY { 0.0 } else { new };
                    let shrink = exp2(*max - shift);
                    if let Some(out) = gathered.as_mut().and_then(Iterator::next)
                        && new > *max
                    {
                        for value in out {
                            *value *= shrink;
                        }
                    }
                    *sum = *sum * shrink + exp2_row(row, factor, shift);
                    *max = new;
                }
            },
        );
    }

    /// What a row's weights sum to, and its log-sum-exp. A row that sees nothing has gathered 0 and
    /// stays 0.
    fn total(&self, i: usize, lse: &mut f32) -> f32 {
        if self.max[i] == f32::NEG_INFINITY && self.sum[i] == 0.0 {
            *lse = 0.0;
            1.0
        } else {
            *lse = self.max[i] / LOG2_E + self.sum[i].ln();
            self.sum[i]
        }
    }

    /// Divides the gathered output by the sums and gives each row's log-sum-exp.
    pub fn finish(&self, out: &mut [f32], width: usize, lse: &mut [f32]) {
        for (i, (out, lse)) in out.chunks_mut(width).zip(lse).enumerate() {
            let inverse = 1.0 / self.total(i, lse);
            for value in out {
                *value *= inverse;
            }
        }
    }
}

/// Turns all scores of one row into weights relative to the highest. Gives the sum of these, 1 if
/// nothing is seen, and the log-sum-exp.
pub fn softmax(arch: Arch, scores: &mut [f32], scale: f32) -> (f32, f32) {
    struct Softmax<'a>(&'a mut [f32], f32);
    impl WithSimd for Softmax<'_> {
        type Output = [f32; 2];

        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> [f32; 2] {
            let Self(scores, factor) = self;
            let highest = row_max(scores) * factor;
            let shift = if highest == f32::NEG_INFINITY {
                0.0
            } else {
                highest
            };
            [highest, exp2_row(scores, factor, shift)]
        }
    }
    let mut running = Running::new();
    [running.max[0], running.sum[0]] = arch.dispatch(Softmax(scores, scale * LOG2_E));
    let mut lse = 0.0;
    let sum = running.total(0, &mut lse);
    (sum, lse)
}

/// Turns a tile of scores into weights, given each row's log-sum-exp, and a tile of `dP` into
/// `dS = P (dP - delta)`.
pub fn weights_and_gradients(
    arch: Arch,
    scores: &mut [f32],
    gradients: &mut [f32],
    keys: usize,
    scale: f32,
    lse: &[f32],
    delta: &[f32],
) {
    let factor = scale * LOG2_E;
    let rows = scores
        .chunks_mut(TILE_KEYS)
        .zip(gradients.chunks_mut(TILE_KEYS));
    arch.dispatch(
        #[inline(always)]
        || {
            for ((row, gradients), (lse, delta)) in rows.zip(lse.iter().zip(delta)) {
                let shift = lse * LOG2_E;
                for (score, gradient) in row[..keys].iter_mut().zip(&mut gradients[..keys]) {
                    let weight = exp2(score.mul_add(factor, -shift));
                    *score = weight;
                    *gradient = weight * (*gradient - delta);
                }
            }
        },
    );
}

/// Hides what the rule hides in a partial tile.
pub fn hide(
    table: &LayoutTable<'_>,
    row: usize,
    queries: &Range<usize>,
    keys: &Range<usize>,
    scores: &mut [f32],
) {
    let text_ends = table.text_ends(row);
    for (i, scores) in queries.clone().zip(scores.chunks_mut(TILE_KEYS)) {
        let [first, last, unlock_start, unlock_end] = table.rule(row, i);
        let within = |j: usize| j.clamp(keys.start, keys.end);
        let unlocked = within(unlock_start)..within(unlock_end);
        let seen = within(first)..within(last).max(within(first));
        for hidden in [keys.start..seen.start, seen.end..keys.end] {
            // Only what is unlocked needs a look at each key.
            let open = unlocked.start.clamp(hidden.start, hidden.end)
                ..unlocked.end.clamp(hidden.start, hidden.end);
            scores[hidden.start - keys.start..open.start - keys.start].fill(f32::NEG_INFINITY);
            scores[open.end - keys.start..hidden.end - keys.start].fill(f32::NEG_INFINITY);
            for j in open {
                if text_ends[j] as usize <= j {
                    scores[j - keys.start] = f32::NEG_INFINITY;
                }
            }
        }
    }
}

/// The products of neighbouring rows: `sum(a * b)`.
pub fn dot(arch: Arch, a: &[f32], b: &[f32]) -> f32 {
    arch.dispatch(
        #[inline(always)]
        || {
            let mut sums = [0.0; LANES];
            for (a, b) in a.chunks(LANES).zip(b.chunks(LANES)) {
                for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
                    *sum += a * b;
                }
            }
            sums.iter().sum()
        },
    )
}

#[inline(always)]
pub fn row_max(row: &[f32]) -> f32 {
    let mut highest = [f32::NEG_INFINITY; LANES];
    let (lanes, rest) = row.as_chunks::<LANES>();
    for lanes in lanes {
        for (high, &value) in highest.iter_mut().zip(lanes) {
            *high = if value > *high { value } else { *high };
        }
    }
    highest.iter().chain(rest).fold(
        f32::NEG_INFINITY,
        |high, &value| if value > high { value } else { high },
    )
}

/// Replaces each value by `2^(factor * value - shift)` and gives their sum.
#[inline(always)]
fn exp2_row(row: &mut [f32], factor: f32, shift: f32) -> f32 {
    let mut sums = [0.0; LANES];
    let (lanes, rest) = row.as_chunks_mut::<LANES>();
    for lanes in lanes {
        for (sum, value) in sums.iter_mut().zip(lanes) {
            *value = exp2(value.mul_add(factor, -shift));
            *sum += *value;
        }
    }
    let mut total = sums.iter().sum::<f32>();
    for value in rest {
        *value = exp2(value.mul_add(factor, -shift));
        total += *value;
    }
    total
}

/// `2^x`, 0 below the smallest normal number, within 2 units in the last place; `NaN` stays `NaN`.
#[inline(always)]
pub fn exp2(x: f32) -> f32 {
    // 1.5 * 2^23: adding it leaves the nearest integer in the low bits.
    const ROUND: f32 = 12_582_912.0;
    // Taylor's coefficients ln(2)^n / n!; on [-0.5, 0.5] the rest is below 6e-9.
    const C: [f32; 8] = [
        1.0,
        std::f32::consts::LN_2,
        0.240_226_5,
        0.055_504_11,
        0.009_618_129,
        0.001_333_355_8,
        0.000_154_035_3,
        0.000_015_252_734,
    ];
    let rounded = x + ROUND;
    let fraction = x - (rounded - ROUND);
    let mut power = C[7];
    for c in C[..7].iter().rev() {
        power = power.mul_add(fraction, *c);
    }
    let exponent = rounded.to_bits().wrapping_shl(23);
    let power = f32::from_bits(power.to_bits().wrapping_add(exponent));
    if x < -126.0 {
        0.0
    } else if x.is_nan() {
        x
    } else {
        power
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_two() {
        for step in -12_600..=0 {
            let x = step as f32 / 100.0;
            let expected = f64::from(x).exp2();
            let error = (f64::from(exp2(x)) - expected).abs() / expected;
            assert!(error < 2.0 * f64::from(f32::EPSILON), "{x}: {error}");
        }
        let bits = |x: f32| exp2(x).to_bits();
        assert_eq!([bits(0.0), bits(-3.0)], [1.0f32, 0.125].map(f32::to_bits));
        assert_eq!([bits(-200.0), bits(f32::NEG_INFINITY)], [0; 2]);
        for bits in [f32::NAN.to_bits(), 0x7fff_ffff, u32::MAX] {
            assert!(exp2(f32::from_bits(bits)).is_nan());
        }
    }
}
