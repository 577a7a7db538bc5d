//! Clipping by the global norm; Burn's own clips each tensor by itself.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{FloatDType, Tensor};

/// Scales all gradients by `min(1, max_norm / norm)`, `norm` being that of all of them together.
///
/// The norm stays on the device: nothing waits for it.
pub(super) fn clip_global_norm<M: Module>(
    module: &M,
    grads: GradientsParams,
    max_norm: f64,
) -> GradientsParams {
    let mut squares = Squares {
        grads: &grads,
        sum: None,
    };
    module.visit(&mut squares);
    let Some(sum) = squares.sum else { return grads };
    // The small number is PyTorch's, against division by zero.
    let factor = (sum.sqrt() + 1e-6)
        .recip()
        .mul_scalar(max_norm)
        .clamp_max(1.0);
    let mut scale = Scale { grads, factor };
    module.visit(&mut scale);
    scale.grads
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

struct Scale {
    grads: GradientsParams,
    factor: Tensor<1>,
}

impl ModuleVisitor for Scale {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(grad) = self.grads.remove::<D>(param.id) {
            let factor = self.factor.clone().cast(grad.dtype()).unsqueeze();
            self.grads.register(param.id, grad * factor);
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::nn::LinearConfig;
    use burn::tensor::Device;

    use super::*;

    fn norm(max_norm: f64) -> f32 {
        let device = Device::flex().autodiff();
        let module = LinearConfig::new(3, 4).init(&device);
        let x = Tensor::<2>::ones([5, 3], &device);
        let grads = module.forward(x).sum().backward();
        let grads = GradientsParams::from_grads(grads, &module);
        let clipped = clip_global_norm(&module, grads, max_norm);
        let weight = clipped.get::<2>(module.weight.id).unwrap();
        let bias = clipped.get::<1>(module.bias.as_ref().unwrap().id).unwrap();
        (weight.square().sum() + bias.square().sum())
            .sqrt()
            .into_scalar()
    }

    #[test]
    fn the_norm_is_of_all_tensors_together() {
        // Each of the 12 + 4 gradients is 5, so their norm is 20.
        assert!((norm(f64::MAX) - 20.0).abs() < 1e-4);
        assert!((norm(2.0) - 2.0).abs() < 1e-4);
        assert!((norm(50.0) - 20.0).abs() < 1e-4);
    }
}
