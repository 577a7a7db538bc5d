//! Gradients of a step: their sum over the parts of a batch, their norm, and clipping by it.

use aki_model::is_cpu;
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{DType, FloatDType, Tensor};
use rayon::prelude::*;

/// Numbers of a gradient that one of the CPU's threads takes at a time.
const BLOCK: usize = 1 << 14;

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
            Some(sum) => added(sum.cast(FloatDType::F32), part.cast(FloatDType::F32)),
            None => part,
        };
        self.sum.register(param.id, sum);
    }
}

/// Whether a gradient lies in this program's memory, where Burn would leave it to one thread.
fn is_here<const D: usize>(grad: &Tensor<D>) -> bool {
    grad.dtype() == DType::F32 && is_cpu(&grad.device())
}

/// A gradient in f32 on the CPU after `work` on its numbers.
fn worked_on<const D: usize>(grad: Tensor<D>, work: impl FnOnce(&mut [f32])) -> Tensor<D> {
    let device = grad.device();
    // Without a copy, where nothing else has it.
    let mut numbers = grad.into_data();
    work(numbers.as_mut_slice().expect("its type was looked at"));
    Tensor::from_data(numbers, (&device, DType::F32))
}

fn added<const D: usize>(sum: Tensor<D>, part: Tensor<D>) -> Tensor<D> {
    if !is_here(&sum) {
        return sum + part;
    }
    let part = part.into_data();
    let part = part.as_slice::<f32>().expect("its type was looked at");
    worked_on(sum, |sum| {
        let blocks = sum.par_chunks_mut(BLOCK).zip(part.par_chunks(BLOCK));
        blocks.for_each(|(sum, part)| {
            for (sum, part) in sum.iter_mut().zip(part) {
                *sum += part;
            }
        });
    })
}

/// The norm of all gradients together. It is waited for.
pub(super) fn global_norm<M: Module>(module: &M, grads: &mut GradientsParams) -> f64 {
    let mut squares = Squares {
        grads,
        here: 0.0,
        elsewhere: None,
    };
    module.visit(&mut squares);
    let elsewhere = squares.elsewhere.map(|sum| sum.into_scalar::<f32>());
    (squares.here + elsewhere.map_or(0.0, f64::from)).sqrt()
}

/// Sums of squares.
struct Squares<'a> {
    grads: &'a mut GradientsParams,
    here: f64,
    elsewhere: Option<Tensor<1>>,
}

impl ModuleVisitor for Squares<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(mut grad) = self.grads.remove::<D>(param.id) else {
            return;
        };
        if is_here(&grad) {
            grad = worked_on(grad, |numbers| self.here += sum_of_squares(numbers));
        } else {
            let square = grad.clone().cast(FloatDType::F32).square().sum();
            self.elsewhere = Some(match self.elsewhere.take() {
                Some(sum) => sum + square,
                None => square,
            });
        }
        self.grads.register(param.id, grad);
    }
}

/// In one order, whatever the threads.
fn sum_of_squares(numbers: &[f32]) -> f64 {
    let blocks = numbers.par_chunks(BLOCK).map(|block| {
        let mut sums = [0.0_f32; 32];
        let (lanes, rest) = block.as_chunks::<32>();
        for lanes in lanes {
            for (sum, number) in sums.iter_mut().zip(lanes) {
                *sum += number * number;
            }
        }
        for (sum, number) in sums.iter_mut().zip(rest) {
            *sum += number * number;
        }
        sums.into_iter().map(f64::from).sum()
    });
    blocks.collect::<Vec<f64>>().into_iter().sum()
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
            if is_here(&grad) {
                let factor = self.factor as f32;
                let grad = worked_on(grad, |numbers| {
                    let blocks = numbers.par_chunks_mut(BLOCK);
                    blocks.for_each(|block| block.iter_mut().for_each(|it| *it *= factor));
                });
                self.grads.register(param.id, grad);
                return;
            }
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
            let mut grads = part(&module, 5);
            let factor = clip_factor(global_norm(&module, &mut grads), max_norm);
            global_norm(&module, &mut scaled(&module, grads, factor))
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
