//! An average of the weights over the steps.

use aki_model::Aki;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, FloatDType, Tensor};

/// An average of a network's weights, in f32 and without gradients. Those that are not trained are the
/// network's own.
#[derive(Module, Debug)]
pub struct Average {
    aki: Aki,
    /// For each of the weights in their order, whether it is trained.
    #[module(skip)]
    trained: Vec<bool>,
    /// Steps in it, `[1]`; a tensor, so that checkpoints have it.
    steps: Param<Tensor<1>>,
}

impl Average {
    /// The average before the first step: the weights.
    pub fn new(weights: &Aki) -> Self {
        let trained = trained(weights);
        Self {
            aki: weights.valid().map(&mut Widen(trained.clone().into_iter())),
            trained,
            ..Self::undrawn(weights)
        }
    }

    /// One for a checkpoint's to be loaded into, and then [`told`](Self::told) what is trained. Nothing is
    /// drawn of weights that have not been.
    pub(crate) fn undrawn(weights: &Aki) -> Self {
        let device = weights.devices().swap_remove(0).without_autodiff();
        let steps = Tensor::zeros([1], (&device, DType::F32));
        Self {
            aki: weights.clone(),
            trained: Vec::new(),
            steps: Param::from_tensor(steps).set_require_grad(false),
        }
    }

    /// The average, knowing which of `weights` are trained.
    #[must_use]
    pub(crate) fn told(self, weights: &Aki) -> Self {
        Self {
            trained: trained(weights),
            ..self
        }
    }

    /// The average after a step that gave `weights`, as the `t`-th: `d average + (1 - d) weights`,
    /// where `d` is `decay`, or `(1 + t) / (10 + t)` if that is less. So the weights that training
    /// began with, which may be drawn, do not stay in it for long.
    ///
    /// # Panics
    ///
    /// If the average is not of the same network.
    #[must_use]
    pub fn after(self, weights: &Aki, decay: f64) -> Self {
        let steps = self.steps.map(|steps| steps.add_scalar(1.0));
        let taken = f64::from(steps.val().into_scalar::<f32>());
        let mut in_order = Weights(Vec::new());
        weights.visit(&mut in_order);
        let weights = in_order.0.into_iter().zip(self.trained.clone());
        let weights: Vec<_> = weights
            .map(|(weight, trained)| trained.then_some(weight))
            .collect();
        let aki = self.aki.map(&mut Blend {
            weights: weights.into_iter(),
            decay: decay.min((1.0 + taken) / (10.0 + taken)),
        });
        Self {
            aki,
            trained: self.trained,
            steps,
        }
    }

    /// The average in the type of `weights`.
    pub fn into_type_of(self, weights: &Aki) -> Aki {
        let mut types = Types(Vec::new());
        weights.visit(&mut types);
        self.aki.map(&mut Retype(types.0.into_iter()))
    }
}

/// The types of all weights.
struct Types(Vec<DType>);

impl ModuleVisitor for Types {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.push(param.val().dtype());
    }
}

struct Retype(std::vec::IntoIter<DType>);

impl ModuleMapper for Retype {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let dtype = self.0.next().expect("both are the same network");
        param.map(|average| average.cast(dtype))
    }
}

/// Which weights are trained, in their order.
fn trained(weights: &Aki) -> Vec<bool> {
    // Only in autodiff is it told.
    let mut trained = Trained(Vec::new());
    weights.valid().train().visit(&mut trained);
    trained.0
}

struct Trained(Vec<bool>);

impl ModuleVisitor for Trained {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.push(param.is_require_grad());
    }
}

/// Handles of all weights, as rows.
struct Weights(Vec<Tensor<1>>);

impl ModuleVisitor for Weights {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let weight = param.val().inner();
        let len = weight.shape().num_elements();
        self.0.push(weight.reshape([len]));
    }
}

struct Widen(std::vec::IntoIter<bool>);

impl ModuleMapper for Widen {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.0.next().expect("both are the same network") {
            true => param.map(|weight| weight.cast(FloatDType::F32)),
            false => param,
        }
    }
}

struct Blend {
    weights: std::vec::IntoIter<Option<Tensor<1>>>,
    decay: f64,
}

impl ModuleMapper for Blend {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(weight) = self.weights.next().expect("both are the same network") else {
            return param;
        };
        param.map(|average| {
            let weight = weight.cast(FloatDType::F32).reshape(average.shape());
            average.mul_scalar(self.decay) + weight.mul_scalar(1.0 - self.decay)
        })
    }
}

#[cfg(test)]
mod tests {
    use aki_model::AkiConfig;
    use burn::tensor::Device;

    use super::*;

    struct Fill(f64, DType);

    impl ModuleMapper for Fill {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|it| it.zeros_like().add_scalar(self.0).cast(self.1))
        }
    }

    /// The one value of all weights.
    struct Same(Option<f32>);

    impl ModuleVisitor for Same {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let weight = param.val();
            assert_eq!(weight.dtype(), DType::F32);
            assert!(!weight.is_require_grad());
            for value in weight.into_data().iter::<f32>() {
                assert_eq!(value.to_bits(), self.0.get_or_insert(value).to_bits());
            }
        }
    }

    #[test]
    fn it_follows_the_weights_in_f32() {
        let device = Device::flex().autodiff();
        let aki = AkiConfig::preset("aki-tiny").unwrap().undrawn(510, &device);
        let mut weights = aki.map(&mut Fill(1.0, DType::BF16));
        let mut average = Average::new(&weights);
        let mut expected = 1.0;
        for (value, decay) in [(1.5, 2.0 / 11.0), (2.5, 0.25), (3.5, 0.3)] {
            weights = weights.map(&mut Fill(value, DType::BF16));
            average = average.after(&weights, 0.3);
            expected = decay * expected + (1.0 - decay) * value;
            let mut same = Same(None);
            average.aki.visit(&mut same);
            let found = f64::from(same.0.unwrap());
            assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
        }
    }
}
