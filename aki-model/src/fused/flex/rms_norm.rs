//! RMS norm, `y = x r gamma` with `r = 1 / sqrt(mean(x^2) + epsilon)`.
//!
//! With the gradient `g` of `y`, `n = x r` and the width `d`, those of `x` and `gamma` are
//! `r (g gamma - n sum(g gamma n) / d)` and the sum of `g n` over the rows.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::{LANES, rows_of_task, total};

/// The normalised rows and their `r`.
pub(super) fn forward(x: &[f32], gamma: &[f32], epsilon: f32) -> (Vec<f32>, Vec<f32>) {
    let width = gamma.len();
    let task = rows_of_task(width);
    let mut y = vec![0.0; x.len()];
    let mut reciprocals = vec![0.0; x.len() / width];
    y.par_chunks_mut(task * width)
        .zip(x.par_chunks(task * width))
        .zip(reciprocals.par_chunks_mut(task))
        .for_each(|((y, x), reciprocals)| {
            Arch::new().dispatch(Forward {
                x,
                gamma,
                epsilon,
                y,
                reciprocals,
            });
        });
    (y, reciprocals)
}

// Types instead of closures, which may be called without being inlined.
struct Forward<'a> {
    x: &'a [f32],
    gamma: &'a [f32],
    epsilon: f32,
    y: &'a mut [f32],
    reciprocals: &'a mut [f32],
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let width = self.gamma.len();
        let rows = self.x.chunks_exact(width);
        let rows = rows.zip(self.y.chunks_exact_mut(width));
        for ((x, y), reciprocal) in rows.zip(self.reciprocals) {
            let mean = sum_of_squares(x) / width as f32;
            let r = 1.0 / (mean + self.epsilon).sqrt();
            for ((y, x), gamma) in y.iter_mut().zip(x).zip(self.gamma) {
                *y = x * r * gamma;
            }
            *reciprocal = r;
        }
    }
}

/// Turns the gradient of the output into that of the input; gives that of `gamma`.
pub(super) fn backward(
    x: &[f32],
    gamma: &[f32],
    reciprocals: &[f32],
    grad: &mut [f32],
) -> Vec<f32> {
    let width = gamma.len();
    let task = rows_of_task(width);
    let mut of_tasks = vec![0.0; x.len().div_ceil(task * width) * width];
    grad.par_chunks_mut(task * width)
        .zip(x.par_chunks(task * width))
        .zip(reciprocals.par_chunks(task))
        .zip(of_tasks.par_chunks_mut(width))
        .for_each(|(((grad, x), reciprocals), of_gamma)| {
            Arch::new().dispatch(Backward {
                x,
                gamma,
                reciprocals,
                grad,
                of_gamma,
            });
        });
    let mut of_gamma = vec![0.0; width];
    for of_task in of_tasks.chunks_exact(width) {
        for (sum, value) in of_gamma.iter_mut().zip(of_task) {
            *sum += value;
        }
    }
    of_gamma
}

struct Backward<'a> {
    x: &'a [f32],
    gamma: &'a [f32],
    reciprocals: &'a [f32],
    grad: &'a mut [f32],
    of_gamma: &'a mut [f32],
}

impl WithSimd for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self {
            gamma, of_gamma, ..
        } = self;
        let width = gamma.len();
        let rows = self.grad.chunks_exact_mut(width);
        let rows = rows.zip(self.x.chunks_exact(width));
        for ((grad, x), r) in rows.zip(self.reciprocals) {
            let mean = sum_of_products(grad, gamma, x) * r / width as f32;
            let each = grad.iter_mut().zip(x).zip(gamma.iter().zip(&mut *of_gamma));
            for ((grad, x), (gamma, of_gamma)) in each {
                let n = x * r;
                *of_gamma = grad.mul_add(n, *of_gamma);
                *grad = r * (-n).mul_add(mean, *grad * gamma);
            }
        }
    }
}

#[inline(always)]
fn sum_of_squares(x: &[f32]) -> f32 {
    let mut sums = [0.0; LANES];
    let (lanes, rest) = x.as_chunks::<LANES>();
    for lanes in lanes {
        for (sum, x) in sums.iter_mut().zip(lanes) {
            *sum = x.mul_add(*x, *sum);
        }
    }
    for (sum, x) in sums.iter_mut().zip(rest) {
        *sum = x.mul_add(*x, *sum);
    }
    total(sums)
}

/// `sum(a b c)`
#[inline(always)]
fn sum_of_products(a: &[f32], b: &[f32], c: &[f32]) -> f32 {
    let mut sums = [0.0; LANES];
    let [(a, a_rest), (b, b_rest), (c, c_rest)] = [a, b, c].map(<[f32]>::as_chunks::<LANES>);
    for ((a, b), c) in a.iter().zip(b).zip(c) {
        for (((sum, a), b), c) in sums.iter_mut().zip(a).zip(b).zip(c) {
            *sum = (a * b).mul_add(*c, *sum);
        }
    }
    for (((sum, a), b), c) in sums.iter_mut().zip(a_rest).zip(b_rest).zip(c_rest) {
        *sum = (a * b).mul_add(*c, *sum);
    }
    total(sums)
}
