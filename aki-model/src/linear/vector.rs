//! Products of a few vectors with a matrix in any float dtype, vectorised for the machine it runs on.

#![allow(
    clippy::inline_always,
    reason = "only what is inlined into `with_simd` is compiled for the machine's vectors"
)]
#![allow(
    clippy::needless_range_loop,
    reason = "loops over a constant range in several arrays at once become vectors"
)]

use burn::backend::flex::FlexTensor;
use burn::tensor::{bf16, f16};
use pulp::{Arch, Simd, WithSimd};

const LANES: usize = 16;

/// A float as it is stored.
pub trait Stored: Copy + Send + Sync {
    /// All that a tensor of this dtype stores.
    fn all(tensor: &FlexTensor) -> &[Self];

    /// The same number in f32.
    fn widen(self) -> f32;
}

impl Stored for f32 {
    fn all(tensor: &FlexTensor) -> &[Self] {
        tensor.storage()
    }

    #[inline(always)]
    fn widen(self) -> f32 {
        self
    }
}

impl Stored for bf16 {
    fn all(tensor: &FlexTensor) -> &[Self] {
        tensor.storage()
    }

    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }
}

impl Stored for f16 {
    fn all(tensor: &FlexTensor) -> &[Self] {
        tensor.storage()
    }

    /// Without a branch, so that loops over it become vectors.
    #[inline(always)]
    fn widen(self) -> f32 {
        let bits = u32::from(self.to_bits());
        // The exponents differ by 112 in bias; the product also makes subnormals normal.
        let scaled = f32::from_bits((bits & 0x7fff) << 13) * f32::from_bits((127 + 112) << 23);
        // Infinity and NaN keep their mantissa under f32's largest exponent.
        let special = if bits & 0x7c00 == 0x7c00 {
            0xff << 23
        } else {
            0
        };
        f32::from_bits(scaled.to_bits() | special | (bits & 0x8000) << 16)
    }
}

/// The products of vectors with rows of a matrix, `stride` apart:
/// `out[row * x.len() + m] = sum_k x[m][k] * matrix[row * stride + k]`, for as many rows as `out` has
/// room for.
///
/// # Panics
///
/// If there is no vector, these differ in length, or the matrix ends too early.
pub fn dot_rows<W: Stored>(x: &[&[f32]], matrix: &[W], stride: usize, out: &mut [f32]) {
    Arch::new().dispatch(DotRows {
        x,
        matrix,
        stride,
        out,
    });
}

// Types instead of closures, which may be called without being inlined.
struct DotRows<'a, W> {
    x: &'a [&'a [f32]],
    matrix: &'a [W],
    stride: usize,
    out: &'a mut [f32],
}

impl<W: Stored> WithSimd for DotRows<'_, W> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let width = self.x[0].len();
        for (row, out) in self.out.chunks_exact_mut(self.x.len()).enumerate() {
            let line = &self.matrix[row * self.stride..row * self.stride + width];
            // Four vectors at a time, and as many sums as fit the registers and hide the latency. For
            // more vectors the line is read again, from the nearest cache.
            for (x, out) in self.x.chunks(4).zip(out.chunks_mut(4)) {
                match *x {
                    [a] => out.copy_from_slice(&dots::<1, 128, W>(&[a], line)),
                    [a, b] => out.copy_from_slice(&dots::<2, 64, W>(&[a, b], line)),
                    [a, b, c] => out.copy_from_slice(&dots::<3, 32, W>(&[a, b, c], line)),
                    [a, b, c, d] => out.copy_from_slice(&dots::<4, 32, W>(&[a, b, c, d], line)),
                    _ => unreachable!("chunks of one to four"),
                }
            }
        }
    }
}

/// The products of one row, in `C` sums for each vector at first.
#[inline(always)]
fn dots<const M: usize, const C: usize, W: Stored>(x: &[&[f32]; M], line: &[W]) -> [f32; M] {
    let mut sums = [[0.0f32; C]; M];
    let whole = line.len() / C * C;
    for at in (0..whole).step_by(C) {
        add_products(&mut sums, x, line, at);
    }
    let mut few = [[0.0f32; LANES]; M];
    for m in 0..M {
        for part in sums[m].as_chunks::<LANES>().0 {
            for lane in 0..LANES {
                few[m][lane] += part[lane];
            }
        }
    }
    let narrow = line.len() / LANES * LANES;
    for at in (whole..narrow).step_by(LANES) {
        add_products(&mut few, x, line, at);
    }
    let mut totals = [0.0; M];
    for m in 0..M {
        // By halves, which is how vectors add up.
        let mut half = LANES / 2;
        while half > 0 {
            for lane in 0..half {
                few[m][lane] += few[m][lane + half];
            }
            half /= 2;
        }
        totals[m] = few[m][0];
        for k in narrow..line.len() {
            totals[m] = x[m][k].mul_add(line[k].widen(), totals[m]);
        }
    }
    totals
}

/// `sums[m][c] += x[m][at + c] * line[at + c]`.
#[inline(always)]
fn add_products<const M: usize, const C: usize, W: Stored>(
    sums: &mut [[f32; C]; M],
    x: &[&[f32]; M],
    line: &[W],
    at: usize,
) {
    fetch_ahead::<C, W>(line[at..].as_ptr());
    let mut wide = [0.0; C];
    for (wide, w) in wide.iter_mut().zip(&line[at..at + C]) {
        *wide = w.widen();
    }
    for m in 0..M {
        let x = &x[m][at..at + C];
        for c in 0..C {
            sums[m][c] = x[c].mul_add(wide[c], sums[m][c]);
        }
    }
}

/// Asks for the `C` values that come a page after these: the processor's own prefetching stops at the
/// end of a page. With it a core of an AMD EPYC (Zen 5) reads 30 GB/s instead of 20.
#[inline(always)]
pub fn fetch_ahead<const C: usize, W>(at: *const W) {
    #[cfg(target_arch = "x86_64")]
    for line in (0..C * size_of::<W>()).step_by(64) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let ahead = at.cast::<i8>().wrapping_add(4096 + line);
        // SAFETY: a prefetch of any address does nothing but fill a cache.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(ahead) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// Sums of the rows of a matrix, `stride` apart, weighted by vectors:
/// `out[column * x.len() + m] = sum_k x[m][k] * matrix[k * stride + column]`, for as many columns as
/// `out` has room for.
///
/// # Panics
///
/// If there is no vector, these differ in length, or the matrix ends too early.
pub fn sum_rows<W: Stored>(x: &[&[f32]], matrix: &[W], stride: usize, out: &mut [f32]) {
    Arch::new().dispatch(SumRows {
        x,
        matrix,
        stride,
        out,
    });
}

struct SumRows<'a, W> {
    x: &'a [&'a [f32]],
    matrix: &'a [W],
    stride: usize,
    out: &'a mut [f32],
}

impl<W: Stored> WithSimd for SumRows<'_, W> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let vectors = self.x.len();
        let columns = self.out.len() / vectors;
        for (pair, x) in self.x.chunks(2).enumerate() {
            let mut start = 0;
            while start < columns {
                let matrix = &self.matrix[start..];
                let out = &mut self.out[start * vectors + 2 * pair..];
                let left = columns - start;
                let panel = Panel {
                    matrix,
                    stride: self.stride,
                    out,
                    between: vectors,
                };
                // As many sums as the registers hold; heads are 64, 96 or 128 wide.
                start += match *x {
                    [a] if left >= 128 => panel.sum::<1, 128>(&[a]),
                    [a] if left >= 96 => panel.sum::<1, 96>(&[a]),
                    [a] if left >= 64 => panel.sum::<1, 64>(&[a]),
                    [a] if left >= LANES => panel.sum::<1, LANES>(&[a]),
                    [a] => panel.sum::<1, 1>(&[a]),
                    [a, b] if left >= 64 => panel.sum::<2, 64>(&[a, b]),
                    [a, b] if left >= LANES => panel.sum::<2, LANES>(&[a, b]),
                    [a, b] => panel.sum::<2, 1>(&[a, b]),
                    _ => unreachable!("chunks of one or two"),
                };
            }
        }
    }
}

/// Columns of a matrix from the first on, and where their sums go, `between` apart.
struct Panel<'a, W> {
    matrix: &'a [W],
    stride: usize,
    out: &'a mut [f32],
    between: usize,
}

impl<W: Stored> Panel<'_, W> {
    /// The sums of the first `C` columns.
    #[inline(always)]
    fn sum<const M: usize, const C: usize>(self, x: &[&[f32]; M]) -> usize {
        let mut sums = [[0.0f32; C]; M];
        for k in 0..x[0].len() {
            let line = &self.matrix[k * self.stride..k * self.stride + C];
            let mut wide = [0.0; C];
            for (wide, w) in wide.iter_mut().zip(line) {
                *wide = w.widen();
            }
            for m in 0..M {
                let weight = x[m][k];
                for column in 0..C {
                    sums[m][column] = weight.mul_add(wide[column], sums[m][column]);
                }
            }
        }
        for column in 0..C {
            for m in 0..M {
                self.out[column * self.between + m] = sums[m][column];
            }
        }
        C
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_widens_to_itself() {
        for bits in 0..=u16::MAX {
            let (half, brain) = (f16::from_bits(bits), bf16::from_bits(bits));
            let same = |a: f32, b: f32| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
            assert!(same(half.widen(), half.to_f32()), "{bits:x}");
            assert!(same(brain.widen(), brain.to_f32()), "{bits:x}");
        }
    }
}
