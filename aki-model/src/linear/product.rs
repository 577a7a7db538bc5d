//! Products of many rows in f32 on the CPU, as operations with a backward pass of their own.
//!
//! Forward and backward, all are products of two matrices that are read as they lie: `y = x W + b`,
//! `dx = dy W^T` and `dW = x^T dy`. Results are written once, where Burn's product writes zeros before
//! and adds the bias after.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{DType, Tensor};
use rayon::prelude::*;

use crate::attention::flex::gemm::{Matrix, product};
use crate::attention::flex::heads::tensor;
use crate::backward::backward;
use crate::fused::is_allowed;

/// Fewer rows than this are a decoder's, or so little work that the products do not show.
const MANY_ROWS: usize = 256;
/// Up to this width `gemm` may take sums in an order that depends on how a matrix lies.
const NARROW: usize = 16;
/// Columns of a task.
const TASK_COLUMNS: usize = 128;

/// Products of f32 matrices. Use [`project`].
#[backend_extension(Flex, Autodiff)]
pub trait ProductOps: Backend {
    /// `a b`, `[rows, inner]` by `[inner, columns]`.
    fn matrix_product(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self>;

    /// `a b + bias`, a bias a column.
    fn biased_product(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self>;

    /// The sum of each column.
    fn column_sums(a: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// Whether the kernel here takes the product of `x` over its last axis.
pub fn serves<const D: usize>(x: &Tensor<D>, weight: &Tensor<2>) -> bool {
    x.dims()[..D - 1].iter().product::<usize>() >= MANY_ROWS
        && weight.dims().into_iter().all(|width| width > NARROW)
        && [x.dtype(), weight.dtype()] == [DType::F32; 2]
        && is_allowed(&x.device())
}

/// `x W + b`, `[rows, from]` by `[from, to]`.
pub fn project(x: Tensor<2>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<2> {
    let (x, weight) = (x.into_dispatch(), weight.into_dispatch());
    Tensor::from_dispatch(match bias {
        Some(bias) => Dispatch::biased_product(x, weight, bias.into_dispatch()),
        None => Dispatch::matrix_product(x, weight),
    })
}

impl ProductOps for Flex {
    fn matrix_product(a: FlexTensor, b: FlexTensor) -> FlexTensor {
        multiplied(a, b, None)
    }

    fn biased_product(a: FlexTensor, b: FlexTensor, bias: FlexTensor) -> FlexTensor {
        multiplied(a, b, Some(bias.to_contiguous().storage()))
    }

    fn column_sums(a: FlexTensor) -> FlexTensor {
        let a = a.to_contiguous();
        let columns = a.layout().shape()[1];
        let a = a.storage::<f32>();
        let mut sums = vec![0.0; columns];
        sums.par_chunks_mut(TASK_COLUMNS)
            .enumerate()
            .for_each(|(task, sums)| {
                for row in a.chunks(columns) {
                    let row = &row[task * TASK_COLUMNS..][..sums.len()];
                    for (sum, value) in sums.iter_mut().zip(row) {
                        *sum += value;
                    }
                }
            });
        tensor(sums, &[columns], DType::F32)
    }
}

fn multiplied(a: FlexTensor, b: FlexTensor, bias: Option<&[f32]>) -> FlexTensor {
    let [a, b] = [a, b].map(|it| match it.layout().has_positive_strides() {
        true => it,
        false => it.to_contiguous(),
    });
    let shape = [a.layout().shape()[0], b.layout().shape()[1]];
    tensor(product(matrix(&a), matrix(&b), bias), &shape, DType::F32)
}

fn matrix(tensor: &FlexTensor) -> Matrix<'_> {
    let layout = tensor.layout();
    let shape = [0, 1].map(|axis| layout.shape()[axis]);
    let strides = [0, 1].map(|axis| layout.strides()[axis] as usize);
    Matrix::strided(&tensor.storage()[layout.start_offset()..], shape, strides)
}

impl<B: ProductOps, C: CheckpointStrategy> ProductOps for Autodiff<B, C> {
    fn matrix_product(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self> {
        let nodes = [a.node(), b.node()];
        let kept = Kept::<B>::of::<C>(&a, &b);
        let out = B::matrix_product(a.into_primitive(), b.into_primitive());
        match Product.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(kept, out),
            OpsKind::UnTracked(prep) => prep.finish(out),
        }
    }

    fn biased_product(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let nodes = [a.node(), b.node(), bias.node()];
        let kept = Kept::<B>::of::<C>(&a, &b);
        let out = B::biased_product(
            a.into_primitive(),
            b.into_primitive(),
            bias.into_primitive(),
        );
        match Biased.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(kept, out),
            OpsKind::UnTracked(prep) => prep.finish(out),
        }
    }

    fn column_sums(_: FloatTensor<Self>) -> FloatTensor<Self> {
        unreachable!("Burn differentiates once, so nothing asks for the gradient of a gradient")
    }
}

/// The factors that the gradients are made of: each is needed for the other's.
#[derive(Clone, Debug)]
struct Kept<B: Backend> {
    a: Option<FloatTensor<B>>,
    b: Option<FloatTensor<B>>,
}

impl<B: ProductOps> Kept<B> {
    fn of<C: CheckpointStrategy>(
        a: &FloatTensor<Autodiff<B, C>>,
        b: &FloatTensor<Autodiff<B, C>>,
    ) -> Self {
        Self {
            a: b.is_tracked().then(|| a.primitive().clone()),
            b: a.is_tracked().then(|| b.primitive().clone()),
        }
    }

    /// The gradients of `a` and `b` where they are asked for.
    fn gradients(self, grad: &FloatTensor<B>) -> [Option<FloatTensor<B>>; 2] {
        let of_a = |b| B::matrix_product(grad.clone(), B::float_swap_dims(b, 0, 1));
        let of_b = |a| B::matrix_product(B::float_swap_dims(a, 0, 1), grad.clone());
        [self.b.map(of_a), self.a.map(of_b)]
    }
}

#[derive(Debug)]
struct Product;

impl<B: ProductOps> Backward<B, 2> for Product {
    type State = Kept<B>;

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        backward::<B, _, 2>(ops, grads, |kept, grad, _| kept.gradients(&grad));
    }
}

#[derive(Debug)]
struct Biased;

impl<B: ProductOps> Backward<B, 3> for Biased {
    type State = Kept<B>;

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        backward::<B, _, 3>(ops, grads, |kept, grad, [_, _, bias]| {
            let [of_a, of_b] = kept.gradients(&grad);
            [of_a, of_b, bias.then(|| B::column_sums(grad))]
        });
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::module::linear;
    use burn::tensor::{Device, TensorData};
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn random<const D: usize>(shape: [usize; D], seed: u64) -> Tensor<D> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let numbers = (0..shape.iter().product()).map(|_| rng.random_range(-1.0f32..1.0));
        let data = TensorData::new(numbers.collect::<Vec<_>>(), shape);
        Tensor::from_data(data, &Device::flex())
    }

    fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().try_to_vec().unwrap()
    }

    type Layer = fn(Tensor<2>, Tensor<2>, Option<Tensor<1>>) -> Tensor<2>;

    /// The output, and the gradients of `x`, weight and bias where they are trained.
    fn run(
        layer: Layer,
        [x, weight]: [Tensor<2>; 2],
        bias: Option<Tensor<1>>,
        [x_trained, weight_trained]: [bool; 2],
    ) -> [Option<Vec<f32>>; 4] {
        let leaf = |x: Tensor<2>, trained| Tensor::from_inner(x).set_require_grad(trained);
        let (x, weight) = (leaf(x, x_trained), leaf(weight, weight_trained));
        let bias = bias.map(|bias| Tensor::from_inner(bias).set_require_grad(weight_trained));
        let y = layer(x.clone(), weight.clone(), bias.clone());
        let of_y = Tensor::from_inner(random(y.dims(), 9));
        let grads = (y.clone() * of_y).sum().backward();
        [
            Some(numbers(y)),
            x.grad(&grads).map(numbers),
            weight.grad(&grads).map(numbers),
            bias.and_then(|bias| bias.grad(&grads)).map(numbers),
        ]
    }

    #[track_caller]
    fn assert_near(ours: &[Option<Vec<f32>>; 4], burns: &[Option<Vec<f32>>; 4]) {
        for (ours, burns) in ours.iter().zip(burns) {
            let (Some(ours), Some(burns)) = (ours, burns) else {
                assert_eq!(ours, burns);
                continue;
            };
            assert_eq!(ours.len(), burns.len());
            let largest = burns.iter().fold(0.0, |high: f32, it| high.max(it.abs()));
            for (ours, burns) in ours.iter().zip(burns) {
                assert!((ours - burns).abs() <= 2e-6 * largest, "{ours} {burns}");
            }
        }
    }

    #[test]
    fn outputs_and_gradients_are_burns() {
        let trained = [[true, true], [true, false], [false, true]];
        let sizes = [
            [1, 17, 40],
            [300, 64, 97],
            [259, 601, 18],
            [70, 33, 530],
            [1030, 100, 50],
        ];
        for (at, [rows, from, to]) in sizes.into_iter().enumerate() {
            for bias in [None, Some(random([to], 3))] {
                let inputs = [random([rows, from], 1), random([from, to], 2)];
                let trained = trained[at % 3];
                let run = |layer| run(layer, inputs.clone(), bias.clone(), trained);
                let found = run(project);
                assert_eq!(found[1].is_some(), trained[0]);
                assert_eq!(found[2].is_some(), trained[1]);
                assert_eq!(found[3].is_some(), trained[1] && bias.is_some());
                assert_near(&found, &run(linear));
            }
        }
    }

    /// How inputs lie in memory, and how many threads there are, changes no bit.
    #[test]
    fn views_and_threads_do_not_change_a_bit() {
        for [rows, from, to] in [[256, 17, 17], [300, 70, 33], [700, 520, 1100]] {
            let (x, weight) = (random([rows, from], 1), random([from, to], 2));
            let bias = Some(random([to], 3));
            let both = [true, true];
            let expected = run(project, [x.clone(), weight.clone()], bias.clone(), both);
            let turned = |it: Tensor<2>| {
                let [height, width] = it.dims();
                let numbers = numbers(it.transpose());
                let data = TensorData::new(numbers, [width, height]);
                Tensor::<2>::from_data(data, &Device::flex()).transpose()
            };
            let part = |it: Tensor<2>| {
                let [height, width] = it.dims();
                let wide = Tensor::cat(vec![it.clone(), it], 1);
                wide.slice([0..height, width..2 * width])
            };
            let backward = |it: Tensor<2>| {
                let numbers = numbers(it.clone().flip([0]));
                let data = TensorData::new(numbers, it.shape());
                Tensor::<2>::from_data(data, &Device::flex()).flip([0])
            };
            for inputs in [
                [turned(x.clone()), turned(weight.clone())],
                [part(x.clone()), part(weight.clone())],
                [backward(x.clone()), backward(weight.clone())],
            ] {
                let found = run(project, inputs, bias.clone(), both);
                assert!(found == expected, "{rows} x {from} x {to}");
            }
            for threads in 1..=4 {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
                let found = pool
                    .build()
                    .unwrap()
                    .install(|| run(project, [x.clone(), weight.clone()], bias.clone(), both));
                assert!(found == expected, "{threads} threads");
            }
        }
    }
}
