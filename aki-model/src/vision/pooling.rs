//! SigLIP's pooling head: weights that AKI's checkpoints carry and its network does not use.

use burn::module::{Initializer, Module, Param};
use burn::nn::{LayerNorm, LayerNormConfig, LinearConfig};
use burn::tensor::{Device, Tensor};

use super::VisionConfig;
use super::tower::Mlp;
use crate::linear::Linear;

/// The weights of `SiglipMultiheadAttentionPoolingHead` in `transformers`, kept so that a checkpoint
/// that is read and written again is whole. Nothing is computed with them.
#[derive(Module, Debug)]
pub(super) struct PoolingHead {
    probe: Param<Tensor<3>>,
    attention: PoolingAttention,
    layernorm: LayerNorm,
    mlp: Mlp,
}

#[derive(Module, Debug)]
struct PoolingAttention {
    in_proj_weight: Param<Tensor<2>>,
    in_proj_bias: Param<Tensor<1>>,
    out_proj: Linear,
}

impl PoolingHead {
    pub(super) fn new(config: &VisionConfig, device: &Device) -> Self {
        let hidden = config.hidden_size;
        let normal = Initializer::Normal {
            mean: 0.0,
            std: 0.02,
        };
        Self {
            probe: normal.init([1, 1, hidden], device),
            attention: PoolingAttention {
                in_proj_weight: normal.init([3 * hidden, hidden], device),
                in_proj_bias: Initializer::Zeros.init([3 * hidden], device),
                out_proj: LinearConfig::new(hidden, hidden).init(device).into(),
            },
            layernorm: LayerNormConfig::new(hidden)
                .with_epsilon(config.layer_norm_eps)
                .init(device),
            mlp: Mlp::new(config, device),
        }
    }

    /// Each linear layer made into another.
    #[must_use]
    pub(super) fn map_linears(mut self, change: &mut dyn FnMut(Linear) -> Linear) -> Self {
        self.attention.out_proj = change(self.attention.out_proj);
        self.mlp = self.mlp.map_linears(change);
        self
    }
}
