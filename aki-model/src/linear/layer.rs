//! The linear layers of the network, whose matrix may lie packed and under an adapter.

use burn::module::{Module, Param};
use burn::nn;
use burn::tensor::{DType, Device, Tensor};

use super::{Bits, PackedMatrix, project};
use crate::adapters::Adapter;

/// `y = x W + b`, to which an adapter adds its part.
///
/// Its parameters have the names of [`nn::Linear`]'s, and it draws the same.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[from, to]`; none where it is packed.
    weight: Option<Param<Tensor<2>>>,
    bias: Option<Param<Tensor<1>>>,
    packed: Option<PackedMatrix>,
    adapter: Option<Adapter>,
}

/// A layer's matrix.
pub(crate) enum Matrix<'a> {
    Plain(&'a Param<Tensor<2>>),
    Packed(&'a PackedMatrix),
}

impl From<nn::Linear> for Linear {
    fn from(linear: nn::Linear) -> Self {
        Self {
            weight: Some(linear.weight),
            bias: linear.bias,
            packed: None,
            adapter: None,
        }
    }
}

impl Linear {
    /// Applies the layer over the last axis of `x`.
    ///
    /// # Panics
    ///
    /// If the last axis of `x` is not the layer's input width.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let bias = self.bias.as_ref().map(Param::val);
        let y = match self.matrix() {
            Matrix::Plain(weight) => project(x.clone(), weight.val(), bias),
            Matrix::Packed(packed) => {
                let y = packed.product(x.clone());
                match bias {
                    Some(bias) => y + bias.unsqueeze(),
                    None => y,
                }
            }
        };
        match &self.adapter {
            Some(adapter) => y + adapter.forward(x),
            None => y,
        }
    }

    pub(crate) fn matrix(&self) -> Matrix<'_> {
        match (&self.weight, &self.packed) {
            (Some(weight), _) => Matrix::Plain(weight),
            (None, Some(packed)) => Matrix::Packed(packed),
            (None, None) => unreachable!("a layer has its matrix, plain or packed"),
        }
    }

    /// Input and output width.
    pub(crate) fn dims(&self) -> [usize; 2] {
        match self.matrix() {
            Matrix::Plain(weight) => weight.lazy_shape().dims(),
            Matrix::Packed(packed) => packed.dims(),
        }
    }

    /// Whether the matrix has its numbers already.
    pub(crate) fn is_read(&self) -> bool {
        match self.matrix() {
            Matrix::Plain(weight) => weight.is_initialized(),
            Matrix::Packed(packed) => packed.is_read(),
        }
    }

    pub(crate) fn adapter(&self) -> Option<&Adapter> {
        self.adapter.as_ref()
    }

    /// Where the layer is, and what an adapter's factors are held in: what the matrix is, or was before
    /// it was packed. A matrix that nobody has read yet is not drawn for it.
    pub(crate) fn place(&self) -> (Device, DType) {
        match (self.matrix(), &self.adapter) {
            (Matrix::Plain(weight), _) if weight.is_initialized() => {
                (weight.device(), weight.dtype())
            }
            (Matrix::Plain(weight), _) => (weight.lazy_device(), DType::F32),
            (Matrix::Packed(packed), Some(adapter)) => {
                (packed.device(), adapter.factors()[0].dtype())
            }
            (Matrix::Packed(packed), None) => (packed.device(), DType::F32),
        }
    }

    #[must_use]
    pub(crate) fn with_adapter(mut self, adapter: Option<Adapter>) -> Self {
        self.adapter = adapter;
        self
    }

    /// The layer with its matrix in the place of the one it has.
    #[must_use]
    pub(crate) fn with_weight(mut self, weight: Tensor<2>) -> Self {
        self.weight = Some(Param::from_tensor(weight));
        self.packed = None;
        self
    }

    /// The layer with its matrix packed, unless it is already. A matrix that nobody has read yet is not
    /// drawn for it: packed words are to be loaded.
    #[must_use]
    pub(crate) fn packed(mut self, bits: Bits) -> Self {
        if let Some(weight) = self.weight.take() {
            self.packed = Some(match weight.is_initialized() {
                true => PackedMatrix::new(weight.val(), bits),
                false => PackedMatrix::of_undrawn(weight, bits),
            });
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use burn::nn::LinearConfig;
    use burn::tensor::{Distribution, Tensor};

    use super::*;

    fn random<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
        Tensor::random(shape, Distribution::Uniform(-1.0, 1.0), device)
    }

    fn largest<const D: usize>(x: Tensor<D>) -> f32 {
        x.abs().max().into_scalar()
    }

    #[track_caller]
    fn assert_near<const D: usize>(ours: Tensor<D>, expected: Tensor<D>) {
        assert_eq!(ours.dims(), expected.dims());
        let (scale, off) = (largest(expected.clone()), largest(ours - expected));
        assert!(off <= 1e-5 * scale, "{off} of {scale}");
    }

    /// Of many rows, and of as few as have a kernel of their own.
    #[test]
    fn factors_give_what_their_product_gives_and_so_do_gradients() {
        let device = Device::flex().autodiff();
        for rows in [2, 9] {
            let layer = Linear::from(LinearConfig::new(24, 40).init(&device));
            let dense = layer.clone();
            let (a, b) = (random([24, 3], &device), random([3, 40], &device));
            let layer = layer.with_adapter(Some(Adapter::of(a.clone(), b.clone(), 6.0)));

            let [x, y_grad] = [24, 40].map(|width| random([2, rows, width], &device));
            let through = |y: Tensor<3>| (y * y_grad.clone()).sum().backward();
            let ours = x.clone().require_grad();
            let y = layer.forward(ours.clone());
            let theirs = x.require_grad();
            let [of_a, of_b] = [a, b].map(|factor| factor.detach().require_grad());
            let moved = of_a.clone().matmul(of_b.clone()).mul_scalar(2.0);
            let expected = dense.forward(theirs.clone())
                + (theirs.clone().reshape([2 * rows, 24]).matmul(moved)).reshape([2, rows, 40]);
            assert_near(y.clone().inner(), expected.clone().inner());

            let (our_grads, their_grads) = (through(y), through(expected));
            let grad = ours.grad(&our_grads).unwrap();
            assert_near(grad, theirs.grad(&their_grads).unwrap());
            let factors = layer.adapter().unwrap().factors();
            for (ours, theirs) in factors.into_iter().zip([of_a, of_b]) {
                let grad = ours.grad(&our_grads).unwrap();
                assert_near(grad, theirs.grad(&their_grads).unwrap());
            }
        }
    }
}
