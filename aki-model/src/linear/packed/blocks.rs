//! Numbers in blocks of 32 with a scale each.
//!
//! A row is its blocks' numbers, the first of each word in the lowest bits, and behind them the blocks'
//! scales in bf16, two a word; the last block is filled up with zeros. A number is
//! `scale * (stored - 2^(bits - 1))`, so that 0 stays 0; see [`scale`](super::scale):
//!
//! ```text
//!   8 bits: | 3 2 1 0 | 7 6 5 4 | .. | 31 30 29 28 | next block .. | scales 1 0 | ..   8.5 bits a number
//!   4 bits: | 7 6 5 4 3 2 1 0 | .. | 31 .. 24 | next block .. | scales 1 0 | ..        4.5 bits a number
//! ```
//!
//! bf16 has the range of f32, and a GPU without 16-bit floats reads it by a shift. Numbers are rounded by the
//! scale as it is stored, so that its few bits cost next to nothing.

#![allow(
    clippy::inline_always,
    reason = "only what is inlined into `with_simd` is compiled for the machine's vectors"
)]

use burn::tensor::bf16;
use rayon::prelude::*;

use super::scale::scale;

/// Numbers of a block.
pub const BLOCK: usize = 32;

/// Bits a number is packed in, the block's scale apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bits {
    /// From -127 to 127 times the scale.
    Eight,
    /// From -8 to 7 times the scale, which may be negative.
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

    /// Words of a row of so many numbers.
    pub const fn words(self, numbers: usize) -> usize {
        let blocks = numbers.div_ceil(BLOCK);
        blocks * self.count() + blocks.div_ceil(2)
    }

    /// Blocks of a row of so many words.
    pub const fn blocks(self, words: usize) -> usize {
        2 * words / (2 * self.count() + 1)
    }

    /// The whole numbers that are stored, from the lowest to the highest.
    pub const fn range(self) -> (f32, f32) {
        match self {
            Self::Eight => (-127.0, 127.0),
            Self::Four => (-8.0, 7.0),
        }
    }

    /// What is stored for 0.
    pub const fn zero(self) -> u32 {
        1 << (self.count() - 1)
    }
}

/// Packs rows of `from` numbers.
///
/// # Panics
///
/// If the last row is not whole.
pub fn pack(numbers: &[f32], from: usize, bits: Bits) -> Vec<i32> {
    assert_eq!(numbers.len() % from, 0, "a row is {from} numbers");
    let line = bits.words(from);
    let mut words = vec![0; numbers.len() / from * line];
    words
        .par_chunks_exact_mut(line)
        .zip(numbers.par_chunks_exact(from))
        .for_each(|(words, numbers)| pack_row(numbers, bits, words));
    words
}

fn pack_row(numbers: &[f32], bits: Bits, words: &mut [i32]) {
    let (words, scales) = words.split_at_mut(numbers.len().div_ceil(BLOCK) * bits.count());
    let blocks = words.chunks_exact_mut(bits.count());
    for (block, (words, numbers)) in blocks.zip(numbers.chunks(BLOCK)).enumerate() {
        let mut whole = [0.0; BLOCK];
        whole[..numbers.len()].copy_from_slice(numbers);
        let scale = pack_block(&whole, bits, words);
        let half = u32::from(scale.to_bits()) << (block % 2 * 16);
        scales[block / 2] |= half.cast_signed();
    }
}

fn pack_block(numbers: &[f32; BLOCK], bits: Bits, words: &mut [i32]) -> bf16 {
    let scale = scale(numbers, bits);
    let (lowest, highest) = bits.range();
    let inverse = 1.0 / scale.to_f32();
    // The inverse of 0 or of a subnormal scale is infinite; numbers that small are 0.
    let inverse = if inverse.is_finite() { inverse } else { 0.0 };
    let in_word = 32 / bits.count();
    for (word, numbers) in words.iter_mut().zip(numbers.chunks_exact(in_word)) {
        let mut packed = 0;
        for (index, number) in numbers.iter().enumerate() {
            let whole = (number * inverse).round().clamp(lowest, highest) as i32;
            let stored = (whole + bits.zero() as i32) as u32;
            packed |= stored << (index * bits.count());
        }
        *word = packed.cast_signed();
    }
    scale
}

/// The numbers of rows that [`pack`] packed.
///
/// # Panics
///
/// If the last row is not whole.
pub fn unpack_rows(words: &[i32], from: usize, bits: Bits) -> Vec<f32> {
    let line = bits.words(from);
    assert_eq!(words.len() % line, 0, "a row is {line} words");
    let mut numbers = Vec::with_capacity(words.len() / line * from);
    let mut whole = vec![0.0; from.next_multiple_of(BLOCK)];
    for row in words.chunks_exact(line) {
        unpack(&mut whole, row, 0, bits);
        numbers.extend_from_slice(&whole[..from]);
    }
    numbers
}

/// The numbers of whole blocks of a row from a block on, as many as there is room for.
///
/// Inlined, so that it is compiled for the vectors of who calls it.
///
/// # Panics
///
/// If the row ends before, or a block is not whole.
#[inline(always)]
pub fn unpack(numbers: &mut [f32], row: &[i32], block: usize, bits: Bits) {
    match bits {
        Bits::Eight => unpack_blocks::<8, 32>(numbers, row, bits, block, |stored, bytes| {
            *stored = *bytes;
        }),
        Bits::Four => unpack_blocks::<4, 16>(numbers, row, bits, block, |stored, bytes| {
            for (two, byte) in stored.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
                *two = [byte & 15, byte >> 4];
            }
        }),
    }
}

/// `WORDS` words a block, which is also the bits of a number. Bytes at a time, so that loops over constant
/// ranges become vectors.
#[inline(always)]
fn unpack_blocks<const WORDS: usize, const BYTES: usize>(
    numbers: &mut [f32],
    row: &[i32],
    bits: Bits,
    block: usize,
    read: impl Fn(&mut [u8; BLOCK], &[u8; BYTES]),
) {
    let zero = 1 << (WORDS - 1);
    let (words, scales) = row.split_at(bits.blocks(row.len()) * WORDS);
    let (numbers, ragged) = numbers.as_chunks_mut::<BLOCK>();
    assert!(ragged.is_empty(), "blocks are whole");
    let words = &words.as_chunks::<WORDS>().0[block..][..numbers.len()];
    for (block, (numbers, words)) in (block..).zip(numbers.iter_mut().zip(words)) {
        let half = scales[block / 2].cast_unsigned() >> (block % 2 * 16);
        let scale = f32::from_bits(half << 16);
        let (mut bytes, mut stored) = ([0; BYTES], [0; BLOCK]);
        for (bytes, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(words) {
            *bytes = word.to_le_bytes();
        }
        read(&mut stored, &bytes);
        for (number, stored) in numbers.iter_mut().zip(stored) {
            *number = scale * (i32::from(stored) - zero) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back(numbers: &[f32], bits: Bits) -> Vec<f32> {
        let words = pack(numbers, numbers.len(), bits);
        assert_eq!(words.len(), bits.words(numbers.len()));
        let blocks = numbers.len().div_ceil(BLOCK);
        assert_eq!(bits.blocks(words.len()), blocks);
        let mut back = vec![0.0; blocks * BLOCK];
        unpack(&mut back, &words, 0, bits);
        let filled = back.split_off(numbers.len());
        assert!(filled.iter().all(|&x| x == 0.0), "filled up with zeros");
        back
    }

    #[test]
    fn in_eight_bits_a_number_is_off_by_half_a_step_at_most() {
        // The last block is filled up.
        let numbers: Vec<f32> = (0..4 * BLOCK + 7)
            .map(|n| ((n * 37 % 101) as f32 - 50.0) * 10.0_f32.powi(n as i32 / 32 - 3))
            .collect();
        let back = there_and_back(&numbers, Bits::Eight);
        for (numbers, back) in numbers.chunks(BLOCK).zip(back.chunks(BLOCK)) {
            let peak = numbers.iter().fold(0.0_f32, |peak, x| peak.max(x.abs()));
            for (number, back) in numbers.iter().zip(back) {
                let off = (number - back).abs();
                // A scale in bf16 is larger by 1 in 128 at most.
                assert!(off <= 0.504 * peak / 127.0, "{number} {back}");
            }
        }
    }

    /// The usual ways are the largest magnitude over 7, and the largest number over -8.
    #[test]
    fn four_bits_lose_less_than_by_the_usual_scales() {
        let squares = |numbers: &[f32], back: &[f32]| {
            let off = numbers.iter().zip(back).map(|(a, b)| (a - b).powi(2));
            off.sum::<f32>()
        };
        let mut sums = [0.0; 3];
        for block in 0..200_u64 {
            let mut state = 7 + block;
            let numbers: Vec<f32> = (0..BLOCK)
                .map(|_| {
                    state = state * 1_103_515_245 % 2_147_483_647;
                    (state as f32 / 2_147_483_647.0 - 0.5).powi(3)
                })
                .collect();
            let larger = |peak: f32, &x: &f32| if x.abs() > peak.abs() { x } else { peak };
            let peak = numbers.iter().fold(0.0, larger);
            let rounded = |scale: f32, lowest: f32| -> Vec<f32> {
                let whole = |x: &f32| (x / scale).round().clamp(lowest, 7.0);
                numbers.iter().map(|x| scale * whole(x)).collect()
            };
            let ours = squares(&numbers, &there_and_back(&numbers, Bits::Four));
            let usual = [rounded(peak / 7.0, -7.0), rounded(peak / -8.0, -8.0)];
            let [seven, eight] = usual.map(|back| squares(&numbers, &back));
            assert!(ours <= eight * 1.02, "{ours} {eight}");
            for (sum, squares) in sums.iter_mut().zip([ours, seven, eight]) {
                *sum += squares;
            }
        }
        assert!(sums[0] < 0.9 * sums[1].min(sums[2]), "{sums:?}");
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
