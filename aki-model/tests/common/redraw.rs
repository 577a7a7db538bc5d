//! Weights from a generator of one's own: the device's is shared with the tests beside.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The same numbers on any device, from -1 to 1.
pub fn redrawn<M: Module>(module: M) -> M {
    module.map(&mut Redraw(ChaCha8Rng::seed_from_u64(11)))
}

struct Redraw(ChaCha8Rng);

impl ModuleMapper for Redraw {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|tensor| {
            let shape = tensor.shape();
            let values: Vec<f32> = (0..shape.num_elements())
                .map(|_| self.0.random_range(-1.0f32..1.0))
                .collect();
            Tensor::from_data(TensorData::new(values, shape), &tensor.device())
        })
    }
}
