//! Linear layers, `y = x W + b`, fast where Burn's matrix product is not.
//!
//! Decoding multiplies one token, or one a batch row, with every weight of the network, so it takes
//! as long as reading the weights does. On the CPU such products have a kernel of their own that reads
//! f32, f16 and bf16 weights as they are stored, on all threads, and sums in f32. Larger products of
//! half precision widen the weights a tile at a time. Products of many rows in f32, those of training,
//! are operations with a backward pass of their own there. Everything else is Burn's product: GPUs, rows in
//! f32 that are neither few nor many, and half precision that carries gradients.

#[cfg(feature = "flex")]
mod flex;
mod layer;
mod packed;
#[cfg(feature = "flex")]
mod product;
#[cfg(feature = "flex")]
pub(crate) mod vector;

use burn::module::Param;
use burn::nn;
use burn::tensor::Tensor;

pub(crate) use layer::{Linear, Matrix};
pub use packed::Bits;
pub(crate) use packed::{BLOCK, PackedMatrix, pack, unpack_rows};

/// Applies a layer; [`project`] with its weight and bias.
///
/// # Panics
///
/// If the last axis of `x` is not the layer's input width.
pub fn linear<const D: usize>(x: Tensor<D>, layer: &nn::Linear) -> Tensor<D> {
    project(x, layer.weight.val(), layer.bias.as_ref().map(Param::val))
}

/// `x W + b` over the last axis of `x`.
///
/// The weight may be any view; a transposed one of `[to, from]`, as checkpoints store it, is the
/// fastest for few rows.
///
/// # Shapes
///
/// - `x`: `[.., from]`
/// - `weight`: `[from, to]`, of `x`'s dtype; `bias`: `[to]`
/// - output: `[.., to]`
///
/// # Panics
///
/// If shapes or dtypes disagree.
pub fn project<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
) -> Tensor<D> {
    // GPUs would read the bytes of the one as the other.
    assert_eq!(x.dtype(), weight.dtype(), "linear: the weight's dtype");
    #[cfg(feature = "flex")]
    {
        let (few, many) = (flex::serves(&x, &weight), product::serves(&x, &weight));
        if few || many {
            let mut shape = x.dims();
            let [from, to] = weight.dims();
            assert_eq!(shape[D - 1], from, "linear: the weight is {from} wide");
            let rows = shape[..D - 1].iter().product::<usize>();
            let x = x.reshape([rows, from]);
            let y = match (many, bias) {
                (true, bias) => product::project(x, weight, bias),
                (false, Some(bias)) => flex::project(x, weight) + bias.unsqueeze(),
                (false, None) => flex::project(x, weight),
            };
            shape[D - 1] = to;
            return y.reshape(shape);
        }
    }
    burn::tensor::module::linear(x, weight, bias)
}
