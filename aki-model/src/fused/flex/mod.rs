//! The fused operations on the CPU, parallel over blocks of rows and vectorised for the machine they run
//! on.

#![allow(
    clippy::inline_always,
    reason = "only what is inlined into `with_simd` is compiled for the machine's vectors"
)]
#![allow(
    clippy::needless_range_loop,
    reason = "loops over a constant range in several arrays at once become vectors"
)]

mod cross_entropy;
mod rms_norm;
mod swiglu;

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::DType;

pub(super) use cross_entropy::cross_entropy;

use super::ops::FusedOps;
use crate::attention::flex::heads::tensor;
use crate::attention::flex::softmax::exp2;

/// Sums of a row that are kept side by side: four registers of the widest kind hide what an addition
/// takes.
const LANES: usize = 64;

/// Numbers that make a task worth its while.
const TASK: usize = 1 << 15;

impl FusedOps for Flex {
    fn rms_norm(x: FlexTensor, gamma: FlexTensor, epsilon: f64) -> (FlexTensor, FlexTensor) {
        let (x, gamma) = (contiguous(x), contiguous(gamma));
        let shape = x.layout().shape().to_vec();
        let (y, reciprocals) = rms_norm::forward(x.storage(), gamma.storage(), epsilon as f32);
        let rows = [reciprocals.len()];
        (
            tensor(y, &shape, DType::F32),
            tensor(reciprocals, &rows, DType::F32),
        )
    }

    fn rms_norm_backward(
        x: FlexTensor,
        gamma: FlexTensor,
        reciprocals: FlexTensor,
        grad: FlexTensor,
    ) -> (FlexTensor, FlexTensor) {
        let (x, gamma, mut grad) = (contiguous(x), contiguous(gamma), contiguous(grad));
        let of_gamma = rms_norm::backward(
            x.storage(),
            gamma.storage(),
            reciprocals.storage(),
            grad.storage_mut(),
        );
        let width = [of_gamma.len()];
        (grad, tensor(of_gamma, &width, DType::F32))
    }

    fn swiglu(both: FlexTensor) -> FlexTensor {
        let both = contiguous(both);
        let mut shape = both.layout().shape().to_vec();
        let last = shape.last_mut().expect("rows have an axis");
        *last /= 2;
        let width = *last;
        tensor(swiglu::forward(both.storage(), width), &shape, DType::F32)
    }

    fn swiglu_backward(both: FlexTensor, grad: FlexTensor) -> FlexTensor {
        let (mut both, grad) = (contiguous(both), contiguous(grad));
        let width = grad.layout().shape().last().copied();
        let width = width.expect("rows have an axis");
        swiglu::backward(both.storage_mut(), grad.storage(), width);
        both
    }
}

/// The tensor as one run of numbers: itself, so that what nothing else has can be written over, or a copy.
fn contiguous(tensor: FlexTensor) -> FlexTensor {
    tensor.to_contiguous()
}

/// Rows of a task. It depends on their width alone, so that sums over a task's rows do not depend on the
/// threads.
fn rows_of_task(width: usize) -> usize {
    TASK.div_ceil(width.max(1))
}

/// The sum, by halves, which is how vectors add up.
#[inline(always)]
fn total(mut sums: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            sums[lane] += sums[lane + half];
        }
        half /= 2;
    }
    sums[0]
}

/// `e^x` for `x` of at most 0, within 2 units in the last place; 0 below the smallest normal number;
/// `NaN` stays `NaN`.
#[inline(always)]
fn exp(x: f32) -> f32 {
    use std::f32::consts::{LN_2, LOG2_E};
    /// What `LOG2_E` lacks of log2(e).
    const REST: f32 = (std::f64::consts::LOG2_E - LOG2_E as f64) as f32;
    let x = if x < -104.0 { -104.0 } else { x };
    let power = x * LOG2_E;
    // What rounding took from the power.
    let rest = x.mul_add(REST, x.mul_add(LOG2_E, -power));
    let y = exp2(power);
    y.mul_add(rest * LN_2, y)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without vectors a fused multiplication and addition is a call of a function.
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn the_machines_vectors_are_used() {
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            assert!(!matches!(pulp::Arch::new(), pulp::Arch::Scalar));
        }
    }

    #[test]
    fn powers_of_e() {
        for step in 0..=8_700 {
            let x = step as f32 / -100.0;
            let expected = f64::from(x).exp();
            let error = (f64::from(exp(x)) - expected).abs() / expected;
            assert!(error < 2.0 * f64::from(f32::EPSILON), "{x}: {error}");
        }
        let bits = |x: f32| exp(x).to_bits();
        assert_eq!([bits(0.0), bits(-0.0)], [1.0f32; 2].map(f32::to_bits));
        assert_eq!([bits(-200.0), bits(f32::NEG_INFINITY)], [0; 2]);
        assert!(exp(f32::NAN).is_nan());
    }
}
