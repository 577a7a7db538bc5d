//! The fused operations as operations of Burn, with backward passes of their own.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, Backend, backend_extension};

use crate::backward::backward;

/// Operations on the rows of tensors in f32, of which the last axis is a row.
///
/// On an autodiff backend the first tensor that is given back carries gradients, and the backward
/// passes are not to be called.
#[backend_extension(Flex, Autodiff)]
pub trait FusedOps: Backend {
    /// `x r gamma` with `r = 1 / sqrt(mean(x^2) + epsilon)`, and the `r` of each row.
    fn rms_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        epsilon: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// The gradients of `x` and `gamma`.
    fn rms_norm_backward(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        reciprocals: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// `silu(gate) * up` of rows that are gate and up.
    fn swiglu(both: FloatTensor<Self>) -> FloatTensor<Self>;

    /// The gradient of gate and up.
    fn swiglu_backward(both: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl<B: FusedOps, C: CheckpointStrategy> FusedOps for Autodiff<B, C> {
    fn rms_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        epsilon: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let nodes = [x.node(), gamma.node()];
        let (x, gamma) = (x.into_primitive(), gamma.into_primitive());
        let (y, reciprocals) = B::rms_norm(x.clone(), gamma.clone(), epsilon);
        let given = Self::from_inner(reciprocals.clone());
        let y = match RmsNormGradient
            .prepare::<C>(nodes)
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => prep.finish([x, gamma, reciprocals], y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        };
        (y, given)
    }

    fn rms_norm_backward(
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        unreachable!("Burn differentiates once, so nothing asks for the gradient of a gradient")
    }

    fn swiglu(both: FloatTensor<Self>) -> FloatTensor<Self> {
        let node = both.node();
        let both = both.into_primitive();
        let y = B::swiglu(both.clone());
        match SwiGluGradient
            .prepare::<C>([node])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => prep.finish(both, y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }

    fn swiglu_backward(_: FloatTensor<Self>, _: FloatTensor<Self>) -> FloatTensor<Self> {
        unreachable!("Burn differentiates once, so nothing asks for the gradient of a gradient")
    }
}

#[derive(Debug)]
struct RmsNormGradient;

impl<B: FusedOps> Backward<B, 2> for RmsNormGradient {
    /// `x`, `gamma` and the reciprocals.
    type State = [FloatTensor<B>; 3];

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        backward::<B, _, 2>(ops, grads, |[x, gamma, reciprocals], grad, _| {
            let (of_x, of_gamma) = B::rms_norm_backward(x, gamma, reciprocals, grad);
            [Some(of_x), Some(of_gamma)]
        });
    }
}

#[derive(Debug)]
struct SwiGluGradient;

impl<B: FusedOps> Backward<B, 1> for SwiGluGradient {
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        backward::<B, _, 1>(ops, grads, |both, grad, _| {
            [Some(B::swiglu_backward(both, grad))]
        });
    }
}
