//! Products of a few rows with a packed matrix, vectorised for the machine it runs on: the words are read once,
//! and their numbers are never in memory.
//!
//! A vector has a word a lane. Of each lane the number at the same place is cut out where it stands,
//! which is the number times a power of two, and becomes a float; it is multiplied with the input
//! divided by that power, both of which are exact. What is stored for 0 is taken off all at once: each lane's sum
//! begins with the inputs times `-zero`.

#![allow(
    clippy::inline_always,
    reason = "only what is inlined into `with_simd` is compiled for the machine's vectors"
)]
#![allow(
    clippy::needless_range_loop,
    reason = "loops over a constant range in several arrays at once become vectors"
)]

use pulp::{Arch, Simd, WithSimd};

use super::blocks::{self, Bits};
use crate::linear::vector::fetch_ahead;

/// Words at a time.
const LANES: usize = 16;

type Lanes = [f32; LANES];

/// A row of inputs as the products read it: for each group of [`LANES`] words the inputs of the lanes' first
/// numbers, of their second ones and so on, and what the sums begin with. The last group is filled up with zeros.
pub fn arranged(x: &[f32], bits: Bits) -> Vec<Lanes> {
    let (width, zero) = (bits.count(), bits.zero() as f32);
    let in_word = 32 / width;
    let groups = x.len().div_ceil(LANES * in_word);
    let mut out = Vec::with_capacity(groups * (in_word + 1));
    for x in x.chunks(LANES * in_word) {
        let mut begin = [0.0; LANES];
        for place in 0..in_word {
            let power = if place + 1 < in_word {
                place * width
            } else {
                0
            };
            let factor = 1.0 / (1_u32 << power) as f32;
            let mut inputs = [0.0; LANES];
            for (lane, x) in x.chunks(in_word).enumerate() {
                begin[lane] -= zero * x[place];
                inputs[lane] = factor * x[place];
            }
            out.push(inputs);
        }
        out.push(begin);
    }
    out
}

/// The products of [`arranged`] rows with rows of a packed matrix: `out[row * x.len() + m]`, for as many
/// rows as `out` has room for. Each is summed in an order that depends on nothing but the row's width.
///
/// # Panics
///
/// If there is no input, or the matrix ends too early.
pub fn dot_packed(x: &[Vec<Lanes>], words: &[i32], line: usize, bits: Bits, out: &mut [f32]) {
    Arch::new().dispatch(DotPacked {
        x,
        words,
        line,
        bits,
        out,
    });
}

struct DotPacked<'a> {
    x: &'a [Vec<Lanes>],
    words: &'a [i32],
    line: usize,
    bits: Bits,
    out: &'a mut [f32],
}

impl WithSimd for DotPacked<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        match self.bits {
            Bits::Eight => self.dot::<8, 4>(),
            Bits::Four => self.dot::<4, 8>(),
        }
    }
}

impl DotPacked<'_> {
    #[inline(always)]
    fn dot<const BITS: usize, const IN_WORD: usize>(self) {
        let inputs = self.x.len();
        // As many inputs at a time as the registers have room for sums of. They stay in the nearest cache,
        // and the rows, for the next ones, in the one behind it.
        for (pair, x) in self.x.chunks(2).enumerate() {
            let rows = self.words.chunks_exact(self.line);
            for (row, out) in rows.zip(self.out.chunks_exact_mut(inputs)) {
                let (words, scales) = row.split_at(self.bits.blocks(self.line) * BITS);
                let out = &mut out[2 * pair..];
                match x {
                    [a] => out[0] = dots::<1, BITS, IN_WORD>([a], words, scales)[0],
                    [a, b] => {
                        out[..2].copy_from_slice(&dots::<2, BITS, IN_WORD>([a, b], words, scales));
                    }
                    _ => unreachable!("chunks of one or two"),
                }
            }
        }
    }
}

/// The products of one row. `BITS` is also the number of words, and so of lanes, of a block.
#[inline(always)]
fn dots<const M: usize, const BITS: usize, const IN_WORD: usize>(
    x: [&[Lanes]; M],
    words: &[i32],
    scales: &[i32],
) -> [f32; M] {
    let mut totals = [[0.0; LANES]; M];
    let scales_in_group = LANES / BITS / 2;
    let (groups, rest) = words.as_chunks::<LANES>();
    let mut at = 0;
    for (group, words) in groups.iter().enumerate() {
        fetch_ahead::<LANES, i32>(words.as_ptr());
        let scales = &scales[group * scales_in_group..][..scales_in_group];
        let x: [_; M] = std::array::from_fn(|m| &x[m][at..=at + IN_WORD]);
        add_products::<M, BITS, IN_WORD>(&mut totals, x, words, scales);
        at += IN_WORD + 1;
    }
    if !rest.is_empty() {
        // The inputs are zeros where nothing is left of the words.
        let (mut words, mut all) = ([0; LANES], [0; LANES]);
        words[..rest.len()].copy_from_slice(rest);
        let left = &scales[groups.len() * scales_in_group..];
        all[..left.len()].copy_from_slice(left);
        let x: [_; M] = std::array::from_fn(|m| &x[m][at..=at + IN_WORD]);
        add_products::<M, BITS, IN_WORD>(&mut totals, x, &words, &all[..scales_in_group]);
    }
    // Else the compiler takes vectors of two lanes above, as the last of these sums are.
    let totals = std::hint::black_box(totals);
    // By halves, which is how vectors add up.
    totals.map(|mut total| {
        let mut half = LANES / 2;
        while half > 0 {
            for lane in 0..half {
                total[lane] += total[lane + half];
            }
            half /= 2;
        }
        total[0]
    })
}

/// Adds the products of a group of words, each block's by its scale.
#[inline(always)]
fn add_products<const M: usize, const BITS: usize, const IN_WORD: usize>(
    totals: &mut [Lanes; M],
    x: [&[Lanes]; M],
    words: &[i32; LANES],
    scales: &[i32],
) {
    let mut sums: [Lanes; M] = std::array::from_fn(|m| x[m][IN_WORD]);
    for place in 0..IN_WORD {
        let mut numbers = [0.0; LANES];
        for lane in 0..LANES {
            let word = words[lane].cast_unsigned();
            // The highest number would become negative where it stands.
            let number = if place + 1 < IN_WORD {
                word & (((1 << BITS) - 1) << (place * BITS))
            } else {
                word >> (32 - BITS)
            };
            numbers[lane] = number.cast_signed() as f32;
        }
        for m in 0..M {
            for lane in 0..LANES {
                sums[m][lane] = x[m][place][lane].mul_add(numbers[lane], sums[m][lane]);
            }
        }
    }
    let mut scale = [0.0; LANES];
    for (lanes, &two) in scale.chunks_exact_mut(2 * BITS).zip(scales) {
        let two = two.cast_unsigned();
        let [low, high] = [two << 16, two & 0xffff_0000].map(f32::from_bits);
        for lane in 0..BITS {
            lanes[lane] = low;
            lanes[lane + BITS] = high;
        }
    }
    for m in 0..M {
        for lane in 0..LANES {
            totals[m][lane] = sums[m][lane].mul_add(scale[lane], totals[m][lane]);
        }
    }
}

/// [`blocks::unpack`] by the machine's vectors.
pub fn unpack(numbers: &mut [f32], row: &[i32], block: usize, bits: Bits) {
    Arch::new().dispatch(Unpack {
        numbers,
        row,
        block,
        bits,
    });
}

struct Unpack<'a> {
    numbers: &'a mut [f32],
    row: &'a [i32],
    block: usize,
    bits: Bits,
}

impl WithSimd for Unpack<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        blocks::unpack(self.numbers, self.row, self.block, self.bits);
    }
}
