//! SigLIP's vision transformer, without its pooling head (AKI does not use it).
//!
//! Field names are those of `transformers`' `SiglipVisionModel`, so that weights keep their names.

use burn::module::{Initializer, Module};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{
    Embedding, EmbeddingConfig, Gelu, LayerNorm, LayerNormConfig, Linear, LinearConfig,
};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::attention::{AttentionLayout, mma_attention};
use crate::sizes::{at_least_one, positive};

/// Shape of a [`SiglipVision`] tower; the names are those of its `config.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiglipConfig {
    /// Side of the square picture, pixels.
    pub image_size: usize,
    /// Side of the square patch, pixels.
    pub patch_size: usize,
    /// Width of the tokens.
    pub hidden_size: usize,
    /// Width inside the feed-forward layers.
    pub intermediate_size: usize,
    /// Encoder layers.
    pub num_hidden_layers: usize,
    /// Attention heads.
    pub num_attention_heads: usize,
    /// Added to the variance in the layer norms; 1e-6 in SigLIP.
    pub layer_norm_eps: f64,
}

impl SiglipConfig {
    /// Patches of a picture, one token each.
    pub fn num_patches(&self) -> usize {
        (self.image_size / self.patch_size).pow(2)
    }

    /// What is wrong with the numbers, if anything.
    ///
    /// # Errors
    ///
    /// A sentence that names the keys at fault.
    pub fn validate(&self) -> Result<(), String> {
        at_least_one(&[
            ("image_size", self.image_size),
            ("patch_size", self.patch_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_attention_heads", self.num_attention_heads),
        ])?;
        positive("layer_norm_eps", self.layer_norm_eps)?;
        if self.image_size < self.patch_size {
            return Err(format!(
                "patch_size {} must be at most image_size {}",
                self.patch_size, self.image_size
            ));
        }
        if self.num_attention_heads == 0
            || !self.hidden_size.is_multiple_of(self.num_attention_heads)
        {
            return Err(format!(
                "num_attention_heads {} must divide hidden_size {}",
                self.num_attention_heads, self.hidden_size
            ));
        }
        Ok(())
    }

    /// Draws the weights.
    pub fn init(&self, device: &Device) -> SiglipVision {
        let layer = |_| {
            let norm = || {
                LayerNormConfig::new(self.hidden_size)
                    .with_epsilon(self.layer_norm_eps)
                    .init(device)
            };
            let linear = |from, to| LinearConfig::new(from, to).init(device);
            let hidden = self.hidden_size;
            SiglipLayer {
                layer_norm1: norm(),
                self_attn: SiglipAttention {
                    q_proj: linear(hidden, hidden),
                    k_proj: linear(hidden, hidden),
                    v_proj: linear(hidden, hidden),
                    out_proj: linear(hidden, hidden),
                    heads: self.num_attention_heads,
                },
                layer_norm2: norm(),
                mlp: SiglipMlp {
                    fc1: linear(hidden, self.intermediate_size),
                    fc2: linear(self.intermediate_size, hidden),
                },
            }
        };
        let patch = [self.patch_size; 2];
        SiglipVision {
            embeddings: SiglipEmbeddings {
                patch_embedding: Conv2dConfig::new([3, self.hidden_size], patch)
                    .with_stride(patch)
                    .init(device),
                position_embedding: EmbeddingConfig::new(self.num_patches(), self.hidden_size)
                    .with_initializer(Initializer::Normal {
                        mean: 0.0,
                        std: 0.02,
                    })
                    .init(device),
            },
            encoder: SiglipEncoder {
                layers: (0..self.num_hidden_layers).map(layer).collect(),
            },
            post_layernorm: LayerNormConfig::new(self.hidden_size)
                .with_epsilon(self.layer_norm_eps)
                .init(device),
        }
    }
}

/// SigLIP's vision tower up to `post_layernorm`.
#[derive(Module, Debug)]
pub struct SiglipVision {
    embeddings: SiglipEmbeddings,
    encoder: SiglipEncoder,
    post_layernorm: LayerNorm,
}

#[derive(Module, Debug)]
struct SiglipEmbeddings {
    patch_embedding: Conv2d,
    position_embedding: Embedding,
}

#[derive(Module, Debug)]
struct SiglipEncoder {
    layers: Vec<SiglipLayer>,
}

#[derive(Module, Debug)]
struct SiglipLayer {
    layer_norm1: LayerNorm,
    self_attn: SiglipAttention,
    layer_norm2: LayerNorm,
    mlp: SiglipMlp,
}

#[derive(Module, Debug)]
struct SiglipAttention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    out_proj: Linear,
    heads: usize,
}

#[derive(Module, Debug)]
struct SiglipMlp {
    fc1: Linear,
    fc2: Linear,
}

impl SiglipVision {
    /// The last hidden state, normalised.
    ///
    /// # Shapes
    ///
    /// - `pixels_nchw`: `[pictures, 3, image_size, image_size]`, values from -1 to 1
    /// - output: `[pictures, patches, hidden_size]`
    pub fn forward(&self, pixels_nchw: Tensor<4>) -> Tensor<3> {
        let mut x_npd = self.embeddings.forward(pixels_nchw);
        let [pictures, patches, _] = x_npd.dims();
        let layout = AttentionLayout::everything(pictures, patches, patches);
        for layer in &self.encoder.layers {
            x_npd = layer.forward(x_npd, &layout);
        }
        self.post_layernorm.forward(x_npd)
    }
}

impl SiglipEmbeddings {
    /// The patch convolution has stride = kernel, so it is one product over cut-out patches: the
    /// same sums, and a matrix product is what every backend is best at.
    fn forward(&self, pixels_nchw: Tensor<4>) -> Tensor<3> {
        let weight = self.patch_embedding.weight.val();
        let [hidden, channels, patch, _] = weight.dims();
        let [pictures, _, height, width] = pixels_nchw.dims();
        let (rows, columns) = (height / patch, width / patch);
        let patches_npd = pixels_nchw
            .slice([
                0..pictures,
                0..channels,
                0..rows * patch,
                0..columns * patch,
            ])
            .reshape([pictures, channels, rows, patch, columns, patch])
            .permute([0, 2, 4, 1, 3, 5])
            .reshape([pictures * rows * columns, channels * patch * patch]);
        let weight = weight
            .reshape([hidden, channels * patch * patch])
            .transpose();
        let mut x_pd = patches_npd.matmul(weight);
        if let Some(bias) = &self.patch_embedding.bias {
            x_pd = x_pd + bias.val().unsqueeze();
        }
        let positions = self.position_embedding.weight.val().unsqueeze();
        x_pd.reshape([pictures, rows * columns, hidden]) + positions
    }
}

impl SiglipLayer {
    fn forward(&self, x_npd: Tensor<3>, layout: &AttentionLayout) -> Tensor<3> {
        let x_npd = x_npd.clone()
            + self
                .self_attn
                .forward(self.layer_norm1.forward(x_npd), layout);
        x_npd.clone() + self.mlp.forward(self.layer_norm2.forward(x_npd))
    }
}

impl SiglipAttention {
    fn forward(&self, x_npd: Tensor<3>, layout: &AttentionLayout) -> Tensor<3> {
        let [pictures, patches, hidden] = x_npd.dims();
        let heads = |projection: &Linear| {
            projection
                .forward(x_npd.clone())
                .reshape([pictures, patches, self.heads, hidden / self.heads])
                .swap_dims(1, 2)
        };
        let y_nhpd = mma_attention(
            heads(&self.q_proj),
            heads(&self.k_proj),
            heads(&self.v_proj),
            layout,
        );
        self.out_proj
            .forward(y_nhpd.swap_dims(1, 2).reshape([pictures, patches, hidden]))
    }
}

impl SiglipMlp {
    fn forward(&self, x_npd: Tensor<3>) -> Tensor<3> {
        // SigLIP was trained with the tanh approximation.
        self.fc2
            .forward(Gelu::new_approximate().forward(self.fc1.forward(x_npd)))
    }
}
