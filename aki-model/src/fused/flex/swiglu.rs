//! `SwiGLU`, `y = silu(gate) up` with `silu(x) = x s(x)` and the sigmoid `s(x) = 1 / (1 + e^-x)`.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::{exp, rows_of_task};

/// Numbers that are worked out side by side: as many as the registers hold all that is needed of.
const LANES: usize = 16;

/// Rows of gate and up, each `width` wide.
pub(super) fn forward(both: &[f32], width: usize) -> Vec<f32> {
    let task = rows_of_task(2 * width) * width;
    let mut y = vec![0.0; both.len() / 2];
    y.par_chunks_mut(task)
        .zip(both.par_chunks(2 * task))
        .for_each(|(y, both)| Arch::new().dispatch(Forward { both, y, width }));
    y
}

// Types instead of closures, which may be called without being inlined.
struct Forward<'a> {
    both: &'a [f32],
    y: &'a mut [f32],
    width: usize,
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let rows = self.both.chunks_exact(2 * self.width);
        for (both, y) in rows.zip(self.y.chunks_exact_mut(self.width)) {
            let (gate, up) = both.split_at(self.width);
            for ((y, gate), up) in y.iter_mut().zip(gate).zip(up) {
                *y = gate * sigmoid(*gate) * up;
            }
        }
    }
}

/// Turns gate and up into their gradients, given that of the output.
pub(super) fn backward(both: &mut [f32], grad: &[f32], width: usize) {
    let task = rows_of_task(2 * width) * width;
    both.par_chunks_mut(2 * task)
        .zip(grad.par_chunks(task))
        .for_each(|(both, grad)| Arch::new().dispatch(Backward { both, grad, width }));
}

struct Backward<'a> {
    both: &'a mut [f32],
    grad: &'a [f32],
    width: usize,
}

impl WithSimd for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let rows = self.both.chunks_exact_mut(2 * self.width);
        for (both, grad) in rows.zip(self.grad.chunks_exact(self.width)) {
            let (gate, up) = both.split_at_mut(self.width);
            let (gates, gate) = gate.as_chunks_mut::<LANES>();
            let (ups, up) = up.as_chunks_mut::<LANES>();
            let (grads, grad) = grad.as_chunks::<LANES>();
            for ((gate, up), grad) in gates.iter_mut().zip(ups).zip(grads) {
                // Of a constant length, or the compiler makes no vectors of it.
                for lane in 0..LANES {
                    [gate[lane], up[lane]] = gradients(gate[lane], up[lane], grad[lane]);
                }
            }
            for ((gate, up), grad) in gate.iter_mut().zip(up).zip(grad) {
                [*gate, *up] = gradients(*gate, *up, *grad);
            }
        }
    }
}

#[inline(always)]
fn gradients(gate: f32, up: f32, grad: f32) -> [f32; 2] {
    let s = sigmoid(gate);
    let silu = gate * s;
    // s + x s (1 - s)
    let slope = silu.mul_add(1.0 - s, s);
    [grad * up * slope, grad * silu]
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    // Of the negative, so that it is never too large.
    let e = exp(-x.abs());
    let above = if x < 0.0 { e } else { 1.0 };
    above / (1.0 + e)
}
