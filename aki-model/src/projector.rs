//! The simpler way from patches to media tokens: one token a patch, through two linear layers.

use burn::module::Module;
use burn::nn::{Gelu, LinearConfig};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::linear::Linear;
use crate::sizes::at_least_one;

/// Shape of an [`MlpProjector`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProjectorConfig {
    /// Width between the two layers; the language model's width in LLaVA 1.5.
    pub hidden_size: usize,
}

impl ProjectorConfig {
    /// What is wrong with the numbers, if anything.
    ///
    /// # Errors
    ///
    /// A sentence that names the key at fault.
    pub fn validate(&self) -> Result<(), String> {
        at_least_one(&[("hidden_size", self.hidden_size)])
    }

    /// Draws the weights for patches of width `d_vision` and a language model of width `d_model`.
    pub fn init(&self, d_vision: usize, d_model: usize, device: &Device) -> MlpProjector {
        MlpProjector {
            linear_1: LinearConfig::new(d_vision, self.hidden_size)
                .init(device)
                .into(),
            linear_2: LinearConfig::new(self.hidden_size, d_model)
                .init(device)
                .into(),
        }
    }
}

/// `linear_2(gelu(linear_1(x)))` for each token of the tower, two layers as in LLaVA 1.5
/// ([paper](https://arxiv.org/abs/2310.03744)), which takes the tower's last layer but one and leaves out
/// CLIP's class token; here the last hidden state is taken whole.
///
/// Field names are those of `transformers`' `LlavaMultiModalProjector`.
#[derive(Module, Debug)]
pub struct MlpProjector {
    linear_1: Linear,
    linear_2: Linear,
}

impl MlpProjector {
    /// Each linear layer made into another.
    #[must_use]
    pub(crate) fn map_linears(self, change: &mut dyn FnMut(Linear) -> Linear) -> Self {
        Self {
            linear_1: change(self.linear_1),
            linear_2: change(self.linear_2),
        }
    }

    /// A media token for each patch.
    ///
    /// # Shapes
    ///
    /// - `patches_npd`: `[pictures, patches, d_vision]`
    /// - output: `[pictures, patches, d_model]`
    pub fn forward(&self, patches_npd: Tensor<3>) -> Tensor<3> {
        let hidden = self.linear_1.forward(patches_npd);
        self.linear_2.forward(Gelu::new().forward(hidden))
    }
}
