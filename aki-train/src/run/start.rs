//! The weights that a run begins with.

use aki_model::Aki;
use aki_model::weights::{self, Checkpoint as Weights};
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Tensor};

use super::Run;
use crate::TrainError;
use crate::config::{LoraConfig, RunConfig};
use crate::folder::Stored;
use crate::optimizer::Cast;

impl Run<'_> {
    /// The network that the first stage begins with, in the run's precision.
    pub(super) fn fresh_model(&self) -> Result<Aki, TrainError> {
        let device = &self.options.device;
        let dtype = self.config.training.precision.dtype();
        let Some(start) = &self.config.start else {
            device.seed(self.config.seed);
            let aki = self.config.model.init(self.tokenizer.base_vocab(), device);
            return Ok(aki.map(&mut Cast(dtype)));
        };
        let undrawn = self
            .config
            .model
            .undrawn(self.tokenizer.base_vocab(), device);
        match Stored::find(start)? {
            Stored::Checkpoint(checkpoint) => {
                let aki = checkpoint.load_model(undrawn)?;
                Ok(aki.map(&mut Cast(dtype)))
            }
            Stored::Folder(folder) => {
                let weights = Weights::open(&folder)?;
                let aki = weights::load(undrawn, &weights, Some(dtype.into()))?;
                Ok(aki.map(&mut Lay))
            }
        }
    }

    /// The network with the run's adapters.
    pub(super) fn adapted(&self, aki: Aki, lora: &LoraConfig) -> Aki {
        // They are the same whether the weights before them were drawn or read, and drawn from other
        // numbers.
        self.options.device.seed(self.config.seed.wrapping_add(1));
        aki.with_adapters(&lora.adapters())
    }
}

/// A run's network with its adapters and without weights, for those of a checkpoint; nothing is drawn.
pub(crate) fn undrawn(config: &RunConfig, base_vocab: usize, device: &Device) -> Aki {
    let aki = config.model.undrawn(base_vocab, device);
    match &config.training.lora {
        Some(lora) => aki.with_adapters(&lora.adapters()),
        None => aki,
    }
}

/// Lays weights in memory as those read from a checkpoint of a run lie. Those of a model folder are
/// transposed views; sums over them go another way, and a run that is resumed would end with other last
/// bits where weights are frozen.
struct Lay;

impl ModuleMapper for Lay {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|tensor| {
            let (device, dtype) = (tensor.device(), tensor.dtype());
            Tensor::from_data(tensor.into_data(), (&device, dtype))
        })
    }
}
