//! The two factors of an adapter.

use burn::module::{Module, Param, ParamId};
use burn::tensor::{DType, Device, Distribution, FloatDType, Tensor};

use crate::linear::project;

/// `alpha / rank * (x A) B`.
#[derive(Module, Debug)]
pub struct Adapter {
    /// `[from, rank]`.
    a: Param<Tensor<2>>,
    /// `[rank, to]`.
    b: Param<Tensor<2>>,
    alpha: f64,
}

impl Adapter {
    /// When it is first read `A` is drawn as PEFT does, uniformly up to `1 / sqrt(from)`; `B` is 0. One
    /// seed (`device.seed`) gives one adapter.
    pub(super) fn undrawn(
        [from, to]: [usize; 2],
        rank: usize,
        alpha: f64,
        (device, dtype): (&Device, DType),
    ) -> Self {
        // Kaiming's uniform bound with a = sqrt(5): sqrt(6 / ((1 + 5) from)).
        let bound = 1.0 / (from as f64).sqrt();
        let uniform = Distribution::Uniform(-bound, bound);
        let a = move |device: &Device, trained| {
            let a = Tensor::<2>::random([from, rank], uniform, (device, DType::F32));
            a.cast(float(dtype)).set_require_grad(trained)
        };
        let b = move |device: &Device, trained| {
            Tensor::<2>::zeros([rank, to], (device, dtype)).set_require_grad(trained)
        };
        let [shape_a, shape_b] = [[from, rank], [rank, to]].map(Into::into);
        Self {
            a: Param::uninitialized(ParamId::new(), a, device.clone(), true, shape_a),
            b: Param::uninitialized(ParamId::new(), b, device.clone(), true, shape_b),
            alpha,
        }
    }

    /// An adapter of given factors.
    pub(crate) fn of(a: Tensor<2>, b: Tensor<2>, alpha: f64) -> Self {
        let [a, b] = [a, b].map(Param::from_tensor);
        Self { a, b, alpha }
    }

    /// Columns of `A`.
    pub fn rank(&self) -> usize {
        self.a.lazy_shape()[1]
    }

    /// The scale before the rank divides it.
    pub fn alpha(&self) -> f64 {
        self.alpha
    }

    /// `A` and `B`, `[from, rank]` and `[rank, to]`.
    pub fn factors(&self) -> [Tensor<2>; 2] {
        [self.a.val(), self.b.val()]
    }

    fn scale(&self) -> f64 {
        self.alpha / self.rank() as f64
    }

    /// What is added to `x W`, over the last axis of `x`.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let x = project(x, self.a.val(), None).mul_scalar(self.scale());
        project(x, self.b.val(), None)
    }

    /// What is added to `W`, transposed: `[to, from]`, f32.
    pub(super) fn product(&self) -> Tensor<2> {
        let [a, b] = self
            .factors()
            .map(|it| it.detach().cast(FloatDType::F32).transpose());
        b.matmul(a).mul_scalar(self.scale())
    }
}

/// A type that [`Linear`](crate::linear::Linear) holds weights in.
pub(super) fn float(dtype: DType) -> FloatDType {
    match dtype {
        DType::F64 => FloatDType::F64,
        DType::F16 => FloatDType::F16,
        DType::BF16 => FloatDType::BF16,
        _ => FloatDType::F32,
    }
}
