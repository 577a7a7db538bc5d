//! The scale of a block: what its whole numbers are multiplied by.

use burn::tensor::bf16;

use super::blocks::{BLOCK, Bits};

/// Steps around the whole range that are tried on both sides, a tenth of a whole number each.
const TRIED: i32 = 9;

/// Adding and subtracting it rounds numbers below 2^22 to whole ones, in vectors on every machine.
const ROUNDS: f32 = 12_582_912.0;

/// The scale that a block's numbers are divided by and rounded.
///
/// In 8 bits the number of the largest magnitude becomes 127 or less. In 4 bits, where the squared difference is 150
/// times as large for it, scales are searched: the number of the largest magnitude becomes about -8, so that
/// all sixteen whole numbers serve, and of whole numbers once chosen the scale of the smallest squared
/// difference is `sum(x n) / sum(n n)`.
pub fn scale(numbers: &[f32; BLOCK], bits: Bits) -> bf16 {
    let larger = |peak: f32, &x: &f32| if x.abs() > peak.abs() { x } else { peak };
    let peak = numbers.iter().fold(0.0, larger);
    if bits == Bits::Eight {
        let scale = peak.abs() / 127.0;
        let above = scale.to_bits().saturating_add(0xffff) >> 16;
        return bf16::from_bits(above as u16);
    }
    let (mut best, mut explained) = (peak / -8.0, 0.0);
    for step in -TRIED..=TRIED {
        let inverse = (-8.0 - 0.1 * step as f32) / peak;
        let [products, squares] = fitted(numbers, inverse);
        // What is left of the squares is the sum of the numbers' own less this.
        let of_step = products * products / squares;
        if of_step > explained {
            (best, explained) = (products / squares, of_step);
        }
    }
    bf16::from_f32(best)
}

/// `sum(x n)` and `sum(n n)` over the whole numbers `n` that `x` times `inverse` are rounded to.
fn fitted(numbers: &[f32; BLOCK], inverse: f32) -> [f32; 2] {
    let mut whole = [0.0; BLOCK];
    for (whole, x) in whole.iter_mut().zip(numbers) {
        *whole = ((x * inverse).clamp(-8.0, 7.0) + ROUNDS) - ROUNDS;
    }
    let (mut products, mut squares) = ([0.0; 8], [0.0; 8]);
    for (x, n) in numbers.chunks_exact(8).zip(whole.chunks_exact(8)) {
        for lane in 0..8 {
            products[lane] += x[lane] * n[lane];
            squares[lane] += n[lane] * n[lane];
        }
    }
    [products, squares].map(|lanes| lanes.iter().sum())
}
