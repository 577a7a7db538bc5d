//! The fused attention as one operation of Burn, with a backward pass of its own.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Autodiff, AutodiffBackend, Backend, backend_extension};

use super::Kernels;
use crate::backward::backward;

/// Attention over the visible pairs without the matrix of scores, on the backends that have an
/// engine for it. Use [`mma_attention`](super::mma_attention), which checks its arguments.
///
/// The layout comes as its table ([`LayoutTable::values`](super::LayoutTable::values)), one
/// contiguous tensor of `i32`. On an autodiff backend the output carries gradients and the
/// log-sum-exp none; the backward pass is not to be called there.
#[backend_extension(
    Cube: cfg(feature = "cube"),
    Flex: cfg(feature = "flex"),
    Autodiff,
    Fusion: cfg(feature = "cube"),
)]
pub trait AttentionOps: Backend {
    /// The output and, for the backward pass, each row's log-sum-exp of its scaled scores in f32,
    /// `[batch, heads, query_len]`; 0 for a row that sees nothing.
    #[fusion(meta = meta::forward)]
    fn attention_forward(
        q_bhtd: FloatTensor<Self>,
        k_bhsd: FloatTensor<Self>,
        v_bhsd: FloatTensor<Self>,
        layout: IntTensor<Self>,
        kernels: Kernels,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// The gradients of queries, keys and values.
    #[allow(clippy::too_many_arguments, reason = "what a backward pass needs")]
    #[fusion(meta = meta::backward)]
    fn attention_backward(
        q_bhtd: FloatTensor<Self>,
        k_bhsd: FloatTensor<Self>,
        v_bhsd: FloatTensor<Self>,
        out_bhtd: FloatTensor<Self>,
        lse_bht: FloatTensor<Self>,
        grad_bhtd: FloatTensor<Self>,
        layout: IntTensor<Self>,
        kernels: Kernels,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

/// What Fusion must know of the outputs before anything is computed.
#[cfg(feature = "cube")]
#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "Fusion hands references over"
)]
mod meta {
    use burn::backend::fusion::custom::TensorSpec;
    use burn::tensor::{DType, Shape};

    use crate::attention::Kernels;

    pub fn forward(
        q: &TensorSpec,
        _: &TensorSpec,
        _: &TensorSpec,
        _: &TensorSpec,
        _: &Kernels,
    ) -> (TensorSpec, TensorSpec) {
        let lse = Shape::new([q.shape[0], q.shape[1], q.shape[2]]);
        (q.clone(), TensorSpec::new(lse, DType::F32))
    }

    #[allow(clippy::too_many_arguments, reason = "mirrors the operation")]
    pub fn backward(
        q: &TensorSpec,
        k: &TensorSpec,
        v: &TensorSpec,
        _: &TensorSpec,
        _: &TensorSpec,
        _: &TensorSpec,
        _: &TensorSpec,
        _: &Kernels,
    ) -> (TensorSpec, TensorSpec, TensorSpec) {
        (q.clone(), k.clone(), v.clone())
    }
}

impl<B: AttentionOps, C: CheckpointStrategy> AttentionOps for Autodiff<B, C> {
    fn attention_forward(
        q_bhtd: FloatTensor<Self>,
        k_bhsd: FloatTensor<Self>,
        v_bhsd: FloatTensor<Self>,
        layout: IntTensor<Self>,
        kernels: Kernels,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let nodes = [q_bhtd.node(), k_bhsd.node(), v_bhsd.node()];
        let (q, k, v) = (
            q_bhtd.into_primitive(),
            k_bhsd.into_primitive(),
            v_bhsd.into_primitive(),
        );
        let (out, lse) =
            B::attention_forward(q.clone(), k.clone(), v.clone(), layout.clone(), kernels);
        let kept = lse.clone();
        let out = match Gradient.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let saved = Saved {
                    inputs: [q, k, v],
                    out: out.clone(),
                    lse,
                    layout,
                    way: kernels,
                };
                prep.finish(saved, out)
            }
            OpsKind::UnTracked(prep) => prep.finish(out),
        };
        (out, Self::from_inner(kept))
    }

    fn attention_backward(
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: IntTensor<Self>,
        _: Kernels,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        unreachable!("Burn differentiates once, so nothing asks for the gradient of a gradient")
    }
}

/// What a forward pass leaves for its backward pass. `way` is what it was told besides tensors.
#[derive(Clone, Debug)]
pub(super) struct Saved<B: Backend, W> {
    pub(super) inputs: [FloatTensor<B>; 3],
    pub(super) out: FloatTensor<B>,
    pub(super) lse: FloatTensor<B>,
    pub(super) layout: IntTensor<B>,
    pub(super) way: W,
}

#[derive(Debug)]
struct Gradient;

impl<B: AttentionOps> Backward<B, 3> for Gradient {
    type State = Saved<B, Kernels>;

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        backward::<B, _, 3>(ops, grads, |saved, grad, _| {
            let Saved {
                inputs: [q, k, v],
                out,
                lse,
                layout,
                way,
            } = saved;
            let (dq, dk, dv) = B::attention_backward(q, k, v, out, lse, grad, layout, way);
            [dq, dk, dv].map(Some)
        });
    }
}
