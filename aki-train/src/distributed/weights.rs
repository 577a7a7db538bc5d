//! Weights that one rank gives the others.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{DType, Tensor, TensorData};

use super::Ranks;
use crate::TrainError;

/// The module with rank 0's weights, and its parameters' numbers, by which an optimizer's state is found
/// again. Quantized weights stay what they are: they are made of others.
///
/// # Errors
///
/// None; see [`Ranks::first`].
pub fn begin_alike<M: Module>(ranks: Ranks, module: M) -> Result<M, TrainError> {
    if !ranks.are_several() {
        return Ok(module);
    }
    let mut ids = Ids(Vec::new());
    module.visit(&mut ids);
    let ids = ranks.first(|| Ok(ids.0))?;
    let module = module.map(&mut Renumber(ids.into_iter()));
    Ok(give(ranks, module, |_| Some(0)))
}

/// Gives all ranks weights, each from the rank that `owner` says, if any.
pub(super) fn give<M: Module>(
    ranks: Ranks,
    module: M,
    owner: impl Fn(ParamId) -> Option<usize>,
) -> M {
    module.map(&mut Give { ranks, owner })
}

struct Ids(Vec<u64>);

impl ModuleVisitor for Ids {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.push(param.id.val());
    }
}

struct Renumber(std::vec::IntoIter<u64>);

impl ModuleMapper for Renumber {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, value, mapper) = param.consume();
        let id = self.0.next().map_or(id, ParamId::from);
        Param::from_mapped_value(id, value, mapper)
    }
}

struct Give<F> {
    ranks: Ranks,
    owner: F,
}

impl<F: Fn(ParamId) -> Option<usize>> ModuleMapper for Give<F> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, value, mapper) = param.consume();
        let quantized = matches!(value.dtype(), DType::QFloat(_));
        let value = match (self.owner)(id).filter(|_| !quantized) {
            Some(owner) => given(self.ranks, value, owner),
            None => value,
        };
        Param::from_mapped_value(id, value, mapper)
    }
}

/// The owner's value.
fn given<const D: usize>(ranks: Ranks, value: Tensor<D>, owner: usize) -> Tensor<D> {
    let (shape, dtype) = (value.shape(), value.dtype());
    if ranks.rank() == owner {
        let mut bytes = value.clone().inner().into_data().into_bytes().to_vec();
        ranks.broadcast(&mut bytes, owner);
        return value;
    }
    let device = value.device().without_autodiff();
    let mut bytes = vec![0; shape.num_elements() * dtype.size()];
    ranks.broadcast(&mut bytes, owner);
    let data = TensorData::from_bytes_vec(bytes, shape, dtype);
    let given = Tensor::<D>::from_data(data, (&device, dtype));
    if !value.device().is_autodiff() {
        return given;
    }
    let given = Tensor::from_inner(given);
    match value.is_require_grad() {
        true => given.require_grad(),
        false => given,
    }
}

#[cfg(test)]
mod tests {
    use burn::nn::LinearConfig;
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn a_weight_that_is_given_is_trained_on() {
        let module = LinearConfig::new(3, 4).init(&Device::flex().autodiff());
        let ids = vec![7, 8];
        let bias = module.bias.clone().expect("a bias").val().into_data();
        let module = module.map(&mut Renumber(ids.into_iter()));
        // The weight is another rank's; where there is none, zeros come.
        let module = give(Ranks::ALONE, module, |id| Some(usize::from(id.val() == 7)));
        let weight = module.weight.val();
        assert!(module.weight.id.val() == 7 && weight.is_require_grad());
        assert_eq!(weight.into_data(), TensorData::zeros::<f32, _>([3, 4]));
        let kept = module.bias.expect("a bias");
        assert_eq!((kept.id.val(), kept.val().into_data()), (8, bias));
    }
}
