//! Numbers in blocks of 32 with a scale each.
//!
//! A block is `bits + 1` words of 32 bits: the bits of its scale in f32, then its numbers, the first in
//! the lowest bits. A number is `scale * (stored - 2^(bits - 1))`, and the scale is the largest
//! magnitude over 127 or 7, so that 0 stays 0 and no number is cut off:
//!
//! ```text
//!   8 bits: | scale | 3 2 1 0 | 7 6 5 4 | .. | 31 30 29 28 |      9 words, 9 bits a number
//!   4 bits: | scale | 7 6 5 4 3 2 1 0 | .. | 31 .. 24 |           5 words, 5 bits a number
//! ```

use rayon::prelude::*;

/// Numbers of a block.
pub const BLOCK: usize = 32;

/// Bits a number is packed in, the block's scale apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bits {
    /// From -127 to 127 times the scale.
    Eight,
    /// From -7 to 7 times the scale.
    Four,
}

impl Bits {
    /// How many they are.
    pub const fn count(self) -> usize {
        match self {
            Self::Eight => 8,
            Self::Four => 4,
        }
    }

    /// Words of so many numbers, which are whole blocks.
    pub const fn words(self, numbers: usize) -> usize {
        numbers / BLOCK * (self.count() + 1)
    }

    /// Numbers in so many words, which are whole blocks.
    pub const fn numbers(self, words: usize) -> usize {
        words / (self.count() + 1) * BLOCK
    }

    /// What is stored for 0.
    pub const fn zero(self) -> u32 {
        1 << (self.count() - 1)
    }
}

/// Packs whole blocks of numbers.
///
/// # Panics
///
/// If the last block is not whole.
pub fn pack(numbers: &[f32], bits: Bits) -> Vec<i32> {
    assert_eq!(numbers.len() % BLOCK, 0, "a block is {BLOCK} numbers");
    let mut words = vec![0; bits.words(numbers.len())];
    words
        .par_chunks_exact_mut(bits.count() + 1)
        .zip(numbers.par_chunks_exact(BLOCK))
        .for_each(|(words, numbers)| pack_block(numbers, bits, words));
    words
}

fn pack_block(numbers: &[f32], bits: Bits, words: &mut [i32]) {
    let largest = (bits.zero() - 1) as f32;
    let peak = numbers.iter().fold(0.0_f32, |peak, x| peak.max(x.abs()));
    let scale = peak / largest;
    words[0] = scale.to_bits().cast_signed();
    let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
    // The inverse of a subnormal scale is infinite; numbers that small are 0.
    let inverse = if inverse.is_finite() { inverse } else { 0.0 };
    let in_word = 32 / bits.count();
    for (word, numbers) in words[1..].iter_mut().zip(numbers.chunks_exact(in_word)) {
        let mut packed = 0;
        for (index, number) in numbers.iter().enumerate() {
            let whole = (number * inverse).round().clamp(-largest, largest) as i32;
            let stored = (whole + bits.zero() as i32) as u32;
            packed |= stored << (index * bits.count());
        }
        *word = packed.cast_signed();
    }
}

/// Puts the numbers of whole blocks behind others.
pub fn unpack_onto(numbers: &mut Vec<f32>, words: &[i32], bits: Bits) {
    for block in words.chunks_exact(bits.count() + 1) {
        let scale = f32::from_bits(block[0].cast_unsigned());
        match bits {
            Bits::Eight => unpack_words::<4>(numbers, scale, &block[1..], bits),
            Bits::Four => unpack_words::<8>(numbers, scale, &block[1..], bits),
        }
    }
}

/// `N` numbers a word; a constant, so that the loop over them becomes vectors.
fn unpack_words<const N: usize>(numbers: &mut Vec<f32>, scale: f32, words: &[i32], bits: Bits) {
    let (width, zero) = (32 / N, bits.zero() as i32);
    for word in words {
        let word = word.cast_unsigned();
        let mut out = [0.0; N];
        for (index, out) in out.iter_mut().enumerate() {
            let stored = (word >> (index * width)) & (u32::MAX >> (32 - width));
            *out = scale * (stored as i32 - zero) as f32;
        }
        numbers.extend_from_slice(&out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back(numbers: &[f32], bits: Bits) -> Vec<f32> {
        let words = pack(numbers, bits);
        assert_eq!(words.len(), bits.words(numbers.len()));
        assert_eq!(bits.numbers(words.len()), numbers.len());
        let mut back = Vec::new();
        unpack_onto(&mut back, &words, bits);
        back
    }

    #[test]
    fn a_number_is_off_by_half_a_step_at_most() {
        let numbers: Vec<f32> = (0..4 * BLOCK)
            .map(|n| ((n * 37 % 101) as f32 - 50.0) * 10.0_f32.powi(n as i32 / 32 - 3))
            .collect();
        for (bits, steps) in [(Bits::Eight, 127.0), (Bits::Four, 7.0)] {
            let back = there_and_back(&numbers, bits);
            for (numbers, back) in numbers.chunks(BLOCK).zip(back.chunks(BLOCK)) {
                let peak = numbers.iter().fold(0.0_f32, |peak, x| peak.max(x.abs()));
                for (number, back) in numbers.iter().zip(back) {
                    let off = (number - back).abs();
                    assert!(off <= 0.5001 * peak / steps, "{number} {back} {bits:?}");
                }
                let there = back
                    .iter()
                    .any(|back| (back.abs() - peak).abs() < 1e-6 * peak);
                assert!(there, "the largest keeps its size");
            }
        }
    }

    #[test]
    fn what_is_on_the_grid_stays() {
        let steps: Vec<f32> = (0..BLOCK)
            .map(|n| (n as f32 - 7.0).clamp(-7.0, 7.0))
            .collect();
        assert_eq!(there_and_back(&steps, Bits::Four), steps);
        let steps: Vec<f32> = (0..BLOCK).map(|n| n as f32 * 8.0 - 127.0).collect();
        assert_eq!(there_and_back(&steps, Bits::Eight), steps);
    }

    #[test]
    fn nothing_and_next_to_nothing_are_zero() {
        for number in [0.0, f32::from_bits(3)] {
            for bits in [Bits::Eight, Bits::Four] {
                let back = there_and_back(&[number; BLOCK], bits);
                assert!(back.iter().all(|back| back.abs() <= number), "{back:?}");
            }
        }
    }
}
