//! What lies between the products of a decoder block, each as one operation in f32 on the CPU: RMS norm,
//! `SwiGLU`, and the cross entropy of logits.
//!
//! Put together of Burn's operations, each of them goes through memory five to ten times, in one thread,
//! and autodiff keeps what comes of every step. Here each goes through memory once or twice, in rows that
//! are shared out to rayon's threads, and keeps its input alone. A row's numbers depend on nothing but
//! the row, and sums over rows have one order, so the number of threads changes no bit.
//!
//! GPUs, whose Burn fuses operations by itself, and other dtypes take Burn's operations. (Logits are f32
//! wherever they are scored on the CPU.)

#[cfg(feature = "flex")]
mod flex;
#[cfg(feature = "flex")]
mod ops;

use std::sync::atomic::{AtomicBool, Ordering};

#[cfg(feature = "flex")]
use burn::backend::Dispatch;
use burn::nn::RmsNorm;
use burn::tensor::activation::{log_softmax, silu};
use burn::tensor::{DType, Device, FloatDType, IndexingUpdateOp, Int, Tensor};

use crate::is_cpu;
#[cfg(feature = "flex")]
use ops::FusedOps;

static ALLOWED: AtomicBool = AtomicBool::new(true);

/// Whether the whole program may use these operations, and those of the same kind in `attention` and
/// `linear`, or has Burn's everywhere: for tests.
#[doc(hidden)]
pub fn allow(allowed: bool) {
    ALLOWED.store(allowed, Ordering::Relaxed);
}

/// Whether the operations here are there for such a tensor.
fn serves<const D: usize>(x: &Tensor<D>) -> bool {
    x.dtype() == DType::F32 && is_allowed(&x.device())
}

/// Whether operations of ours may stand in for Burn's on a device.
pub(crate) fn is_allowed(device: &Device) -> bool {
    is_cpu(device) && ALLOWED.load(Ordering::Relaxed)
}

/// `x / sqrt(mean(x^2) + epsilon) * gamma` over the last axis.
///
/// # Panics
///
/// If the last axis of `x` is not the norm's width.
pub(crate) fn rms_norm<const D: usize>(norm: &RmsNorm, x: Tensor<D>) -> Tensor<D> {
    #[cfg(feature = "flex")]
    if serves(&x) && norm.gamma.dtype() == DType::F32 {
        let [width] = norm.gamma.dims();
        assert_eq!(x.dims()[D - 1], width, "rms_norm: the norm is {width} wide");
        let gamma = norm.gamma.val();
        let (y, _) = Dispatch::rms_norm(x.into_dispatch(), gamma.into_dispatch(), norm.epsilon);
        return Tensor::from_dispatch(y);
    }
    norm.forward(x)
}

/// `silu(gate) * up` of `[.., gate and up]`, where `silu(x) = x / (1 + e^-x)`.
///
/// # Panics
///
/// If the last axis cannot be halved.
pub(crate) fn swiglu<const D: usize>(both: Tensor<D>) -> Tensor<D> {
    let width = both.dims()[D - 1];
    assert!(
        width.is_multiple_of(2),
        "swiglu: {width} are not two halves"
    );
    #[cfg(feature = "flex")]
    if serves(&both) {
        return Tensor::from_dispatch(Dispatch::swiglu(both.into_dispatch()));
    }
    let mut halves = both.chunk(2, D - 1).into_iter();
    let (Some(gate), Some(up)) = (halves.next(), halves.next()) else {
        unreachable!("an even axis has two halves");
    };
    silu(gate) * up
}

/// What comes of logits and labels.
pub(crate) struct CrossEntropy {
    /// Of each label, `[labels]`, f32.
    pub(crate) losses: Tensor<1>,
    /// The likeliest word in place of each label, `[labels]`.
    pub(crate) likeliest: Tensor<1, Int>,
    /// For each part of the logits, `[labels, words]`, the gradient of the sum of the losses times the
    /// scale, f32. There is none without a scale.
    pub(crate) gradients: Vec<Tensor<2>>,
}

/// Cross entropy of logits, which come in parts that share the words among them, without autodiff.
///
/// # Shapes
///
/// - `logits`: each `[labels, words of the part]`
/// - `labels`: `[labels]`, numbers of words, counted through the parts
///
/// # Panics
///
/// If there is no part, or a label is no word.
pub(crate) fn cross_entropy(
    logits: Vec<Tensor<2>>,
    labels: Tensor<1, Int>,
    scale: Option<f64>,
) -> CrossEntropy {
    #[cfg(feature = "flex")]
    if is_allowed(&logits[0].device()) {
        let logits = logits.into_iter().map(|part| part.cast(FloatDType::F32));
        return flex::cross_entropy(logits.collect(), labels, scale);
    }
    burns_cross_entropy(logits, labels, scale)
}

fn burns_cross_entropy(
    logits: Vec<Tensor<2>>,
    labels: Tensor<1, Int>,
    scale: Option<f64>,
) -> CrossEntropy {
    let widths: Vec<usize> = logits.iter().map(|part| part.dims()[1]).collect();
    let logits = Tensor::cat(logits, 1).cast(FloatDType::F32);
    let likeliest = logits.clone().argmax(1).squeeze_dim::<1>(1);
    let labels = labels.unsqueeze_dim::<2>(1);
    let logs = log_softmax(logits, 1);
    let losses = logs.clone().gather(1, labels.clone());
    let gradients = scale.map(|scale| {
        let minus_one = losses.ones_like().neg();
        let gradient = logs
            .exp()
            .scatter(1, labels, minus_one, IndexingUpdateOp::Add)
            .mul_scalar(scale);
        gradient.split_with_sizes(widths, 1)
    });
    CrossEntropy {
        losses: losses.neg().squeeze_dim::<1>(1),
        likeliest,
        gradients: gradients.unwrap_or_default(),
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests;
