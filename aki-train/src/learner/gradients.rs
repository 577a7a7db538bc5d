//! Gradients of a step: their sum over the parts of a batch, their norm, and clipping by it.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{DType, FloatDType, Tensor};

/// Adds gradients of the parts of a batch, in the order in which they are given. Sums are f32, so that
/// those of half precision lose nothing; a single part's stay as they are.
#[derive(Default)]
pub(super) struct GradientSum(Option<GradientsParams>);

impl GradientSum {
    /// Adds the gradients of a part; parameters that it has none for stay as they are.
    pub(super) fn add<M: Module>(&mut self, module: &M, part: GradientsParams) {
        self.0 = Some(match self.0.take() {
            Some(sum) => {
                let mut both = Both { sum, part };
                module.visit(&mut both);
                both.sum
            }
            None => part,
        });
    }

    /// The sum.
    pub(super) fn take(self) -> GradientsParams {
        self.0.unwrap_or_default()
    }
}

struct Both {
    sum: GradientsParams,
    part: GradientsParams,
}

impl ModuleVisitor for Both {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(part) = self.part.remove::<D>(param.id) else {
            return;
        };
        let sum = match self.sum.remove::<D>(param.id) {
            Some(sum) => sum.cast(FloatDType::F32) + part.cast(FloatDType::F32),
            None => part,
        };
        self.sum.register(param.id, sum);
    }
}

/// The norm of all gradients together. It is waited for.
pub(super) fn global_norm<M: Module>(module: &M, grads: &GradientsParams) -> f64 {
    let mut squares = Squares { grads, sum: None };
    module.visit(&mut squares);
    let sum = squares.sum.map_or(0.0, |sum| sum.into_scalar::<f32>());
    f64::from(sum).sqrt()
}

struct Squares<'a> {
    grads: &'a GradientsParams,
    sum: Option<Tensor<1>>,
}

impl ModuleVisitor for Squares<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(grad) = self.grads.get::<D>(param.id) {
            let square = grad.cast(FloatDType::F32).square().sum();
            self.sum = Some(match self.sum.take() {
                Some(sum) => sum + square,
                None => square,
            });
        }
    }
}

/// What gradients are multiplied with so that their norm is at most `max_norm`. (Burn's own clipping
/// takes each tensor by itself.)
pub(super) fn clip_factor(norm: f64, max_norm: f64) -> f64 {
    // The small number is PyTorch's, against division by zero.
    (max_norm / (norm + 1e-6)).min(1.0)
}

/// All gradients times `factor`. Those of f16 become f32, in which small ones survive.
pub(super) fn scaled<M: Module>(
    module: &M,
    grads: GradientsParams,
    factor: f64,
) -> GradientsParams {
    #[expect(
        clippy::float_cmp,
        reason = "exactly 1 is what clipping gives where there is none"
    )]
    if factor == 1.0 {
        return grads;
    }
    let mut scale = Scale { grads, factor };
    module.visit(&mut scale);
    scale.grads
}

struct Scale {
    grads: GradientsParams,
    factor: f64,
}

impl ModuleVisitor for Scale {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(grad) = self.grads.remove::<D>(param.id) {
            let dtype = grad.dtype();
            let grad = grad.cast(FloatDType::F32).mul_scalar(self.factor);
            let grad = match dtype {
                DType::BF16 => grad.cast(dtype),
                _ => grad,
            };
            self.grads.register(param.id, grad);
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::nn::{Linear, LinearConfig};
    use burn::tensor::{Device, Tensor};

    use super::*;

    fn part(module: &Linear, rows: usize) -> GradientsParams {
        let device = module.weight.device();
        let x = Tensor::<2>::ones([rows, 3], &device);
        GradientsParams::from_grads(module.forward(x).sum().backward(), module)
    }

    fn module() -> Linear {
        LinearConfig::new(3, 4).init(&Device::flex().autodiff())
    }

    #[test]
    fn the_norm_is_of_all_tensors_together() {
        // Each of the 12 + 4 gradients is 5, so their norm is 20.
        let module = module();
        let clipped = |max_norm| {
            let grads = part(&module, 5);
            let factor = clip_factor(global_norm(&module, &grads), max_norm);
            global_norm(&module, &scaled(&module, grads, factor))
        };
        assert!((clipped(f64::MAX) - 20.0).abs() < 1e-4);
        assert!((clipped(2.0) - 2.0).abs() < 1e-4);
        assert!((clipped(50.0) - 20.0).abs() < 1e-4);
    }

    #[test]
    fn parts_add_up_in_f32() {
        let module = module();
        let mut sum = GradientSum::default();
        for rows in [256, 1] {
            let mut grads = part(&module, rows);
            let weight = grads.remove::<2>(module.weight.id).expect("gradient");
            grads.register(module.weight.id, weight.cast(FloatDType::BF16));
            sum.add(&module, grads);
        }
        // In bf16 this is 256.
        let weight = sum.take().get::<2>(module.weight.id).expect("gradient");
        assert!((weight.max().into_scalar::<f32>() - 257.0).abs() < 0.5);
    }

    #[test]
    fn small_gradients_of_f16_outlive_their_scale() {
        let module = module();
        let tiny = Tensor::<2>::full([3, 4], 6e-5, &Device::flex()).cast(FloatDType::F16);
        let mut grads = GradientsParams::new();
        grads.register(module.weight.id, tiny);
        let grads = scaled(&module, grads, 1.0 / 65536.0);
        let weight = grads.get::<2>(module.weight.id).expect("gradient");
        assert!(weight.min().into_scalar::<f32>() > 8e-10);
    }
}
