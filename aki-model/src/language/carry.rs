//! A gradient that was worked out by hand, as one operation of Burn.

#[cfg(feature = "flex")]
use burn::backend::Flex;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, TensorMetadata, backend_extension};
use burn::tensor::{FloatDType, Shape, Tensor};

use crate::backward::backward;

/// 0, `[1]` in f32, the gradient of which in `x` is `gradient`.
///
/// A sum of `x * gradient` would have that gradient too, but goes through memory several times, and what
/// it comes to may be more than f16 holds.
pub(super) fn carry<const D: usize>(x: Tensor<D>, gradient: Tensor<D>) -> Tensor<1> {
    let gradient = gradient.cast(x.dtype());
    Tensor::from_dispatch(Dispatch::carry(x.into_dispatch(), gradient.into_dispatch()))
}

/// See [`carry`].
#[backend_extension(
    Cube: cfg(feature = "cube"),
    Flex: cfg(feature = "flex"),
    Autodiff,
    Fusion: cfg(feature = "cube"),
)]
pub trait CarryOps: Backend {
    #[allow(missing_docs, reason = "the function of the same name has them")]
    #[fusion(default)]
    fn carry(x: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        drop(gradient);
        zero::<Self>(&x)
    }
}

fn zero<B: Backend>(x: &FloatTensor<B>) -> FloatTensor<B> {
    B::float_zeros(Shape::new([1]), &x.device(), FloatDType::F32)
}

#[cfg(feature = "flex")]
impl CarryOps for Flex {}

#[cfg(feature = "cube")]
impl CarryOps for burn_cubecl::CubeBackend {}

impl<B: CarryOps, C: CheckpointStrategy> CarryOps for Autodiff<B, C> {
    fn carry(x: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        let node = x.node();
        let zero = zero::<B>(&x.into_primitive());
        match Carried.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(gradient.into_primitive(), zero),
            OpsKind::UnTracked(prep) => prep.finish(zero),
        }
    }
}

#[derive(Debug)]
struct Carried;

impl<B: Backend> Backward<B, 1> for Carried {
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        backward::<B, _, 1>(ops, grads, |gradient, grad, _| {
            let grad = B::float_cast(grad, gradient.dtype().into());
            let ones = Shape::from(vec![1; gradient.shape().num_dims()]);
            [Some(B::float_mul(gradient, B::float_reshape(grad, ones)))]
        });
    }
}
