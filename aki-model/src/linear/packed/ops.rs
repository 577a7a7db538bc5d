//! The product with a packed matrix as one operation of Burn, with a backward pass of its own.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Autodiff, Backend, backend_extension};

use super::Bits;
use crate::backward::backward;

/// Products with a packed matrix. Use [`PackedMatrix`](super::PackedMatrix).
///
/// On an autodiff backend the gradient in `x` is the product with the matrix turned over: the packed
/// words are all that is kept for it, and neither `x` nor the matrix.
#[backend_extension(
    Cube: cfg(feature = "cube"),
    Flex: cfg(feature = "flex"),
    Autodiff,
    Fusion: cfg(feature = "cube"),
)]
pub trait PackedOps: Backend {
    /// `x M^T`, or `x M` if `turned`, with `x` of `[rows, from]` and the matrix `M`, whose rows are
    /// packed in `words`.
    #[fusion(meta = meta::product)]
    fn packed_product(
        x: FloatTensor<Self>,
        words: IntTensor<Self>,
        bits: Bits,
        turned: bool,
    ) -> FloatTensor<Self>;
}

/// What Fusion must know of the output before anything is computed.
#[cfg(feature = "cube")]
#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "Fusion hands references over"
)]
mod meta {
    use burn::backend::fusion::custom::TensorSpec;
    use burn::tensor::Shape;

    use super::super::{BLOCK, Bits};

    pub fn product(x: &TensorSpec, words: &TensorSpec, bits: &Bits, turned: &bool) -> TensorSpec {
        let to = match turned {
            true => bits.blocks(words.shape[1]) * BLOCK,
            false => words.shape[0],
        };
        TensorSpec::new(Shape::new([x.shape[0], to]), x.dtype)
    }
}

impl<B: PackedOps, C: CheckpointStrategy> PackedOps for Autodiff<B, C> {
    fn packed_product(
        x: FloatTensor<Self>,
        words: IntTensor<Self>,
        bits: Bits,
        turned: bool,
    ) -> FloatTensor<Self> {
        let node = x.node();
        let out = B::packed_product(x.into_primitive(), words.clone(), bits, turned);
        match Gradient.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((words, bits, turned), out),
            OpsKind::UnTracked(prep) => prep.finish(out),
        }
    }
}

#[derive(Debug)]
struct Gradient;

impl<B: PackedOps> Backward<B, 1> for Gradient {
    type State = (IntTensor<B>, Bits, bool);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        backward::<B, _, 1>(ops, grads, |(words, bits, turned), grad, _| {
            [Some(B::packed_product(grad, words, bits, !turned))]
        });
    }
}
