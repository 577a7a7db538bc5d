//! The vision transformer of SigLIP and of CLIP, up to its last hidden state.
//!
//! Field names are those of `transformers`' `SiglipVisionModel` and `CLIPVisionModel`, misspellings
//! among them, so that weights keep their names.

use burn::module::{Initializer, Module, ModuleVisitor, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Embedding, EmbeddingConfig, Gelu, LayerNorm, LayerNormConfig, LinearConfig};
use burn::tensor::activation::sigmoid;
use burn::tensor::{DType, Device, Tensor};

use super::pooling::PoolingHead;
use super::{VisionActivation, VisionConfig, VisionType};
use crate::attention::{AttentionLayout, mma_attention};
use crate::linear::Linear;
use crate::project;

impl VisionConfig {
    /// Draws the weights.
    pub fn init(&self, device: &Device) -> VisionTower {
        let hidden = self.hidden_size;
        let norm = || {
            LayerNormConfig::new(hidden)
                .with_epsilon(self.layer_norm_eps)
                .init(device)
        };
        let linear = |from, to| Linear::from(LinearConfig::new(from, to).init(device));
        let layer = |_| TowerLayer {
            layer_norm1: norm(),
            self_attn: TowerAttention {
                q_proj: linear(hidden, hidden),
                k_proj: linear(hidden, hidden),
                v_proj: linear(hidden, hidden),
                out_proj: linear(hidden, hidden),
                heads: self.num_attention_heads,
            },
            layer_norm2: norm(),
            mlp: Mlp::new(self, device),
        };
        let normal = Initializer::Normal {
            mean: 0.0,
            std: 0.02,
        };
        let patch = [self.patch_size; 2];
        let siglip = self.model_type == VisionType::Siglip;
        VisionTower {
            embeddings: Embeddings {
                class_embedding: (!siglip).then(|| normal.init([hidden], device)),
                patch_embedding: Conv2dConfig::new([3, hidden], patch)
                    .with_stride(patch)
                    .with_bias(siglip)
                    .init(device),
                position_embedding: EmbeddingConfig::new(self.num_tokens(), hidden)
                    .with_initializer(normal)
                    .init(device),
            },
            pre_layrnorm: (!siglip).then(norm),
            encoder: Encoder {
                layers: (0..self.num_hidden_layers).map(layer).collect(),
            },
            post_layernorm: norm(),
            head: self.vision_use_head.then(|| PoolingHead::new(self, device)),
            normalised: siglip,
        }
    }
}

/// A vision tower: patches, positions and transformer layers.
#[derive(Module, Debug)]
pub struct VisionTower {
    embeddings: Embeddings,
    pre_layrnorm: Option<LayerNorm>,
    encoder: Encoder,
    post_layernorm: LayerNorm,
    head: Option<PoolingHead>,
    /// Whether the last hidden state is normalised. CLIP's is not: there the last norm is for the
    /// class token's pooled output alone.
    normalised: bool,
}

#[derive(Module, Debug)]
#[expect(
    clippy::struct_field_names,
    reason = "these are the checkpoint's names"
)]
struct Embeddings {
    class_embedding: Option<Param<Tensor<1>>>,
    patch_embedding: Conv2d,
    position_embedding: Embedding,
}

#[derive(Module, Debug)]
struct Encoder {
    layers: Vec<TowerLayer>,
}

#[derive(Module, Debug)]
struct TowerLayer {
    layer_norm1: LayerNorm,
    self_attn: TowerAttention,
    layer_norm2: LayerNorm,
    mlp: Mlp,
}

#[derive(Module, Debug)]
struct TowerAttention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    out_proj: Linear,
    heads: usize,
}

/// `fc2(activation(fc1(x)))`.
#[derive(Module, Debug)]
pub(super) struct Mlp {
    fc1: Linear,
    fc2: Linear,
    #[module(skip)]
    activation: VisionActivation,
}

/// Whether any weight is trained.
struct Trained(bool);

impl ModuleVisitor for Trained {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0 |= param.is_require_grad();
    }
}

impl VisionTower {
    /// Whether any of its weights are to be trained, on a device that can.
    pub(crate) fn is_trained(&self) -> bool {
        let mut trained = Trained(false);
        self.visit(&mut trained);
        trained.0
    }

    /// The type of its numbers.
    pub(crate) fn dtype(&self) -> DType {
        self.embeddings.position_embedding.weight.val().dtype()
    }

    pub(crate) fn device(&self) -> Device {
        self.embeddings.position_embedding.weight.device()
    }

    /// Each linear layer made into another.
    #[must_use]
    pub(crate) fn map_linears(mut self, change: &mut dyn FnMut(Linear) -> Linear) -> Self {
        let layers = self.encoder.layers.into_iter().map(|mut layer| {
            layer.self_attn.q_proj = change(layer.self_attn.q_proj);
            layer.self_attn.k_proj = change(layer.self_attn.k_proj);
            layer.self_attn.v_proj = change(layer.self_attn.v_proj);
            layer.self_attn.out_proj = change(layer.self_attn.out_proj);
            layer.mlp = layer.mlp.map_linears(change);
            layer
        });
        self.encoder.layers = layers.collect();
        self.head = self.head.map(|head| head.map_linears(change));
        self
    }

    /// The last hidden state: what `transformers` calls `last_hidden_state`.
    ///
    /// # Shapes
    ///
    /// - `pixels_nchw`: `[pictures, 3, image_size, image_size]`, normalised
    /// - output: `[pictures, tokens, hidden_size]`, CLIP's class token first
    pub fn forward(&self, pixels_nchw: Tensor<4>) -> Tensor<3> {
        let mut x_npd = self.embeddings.forward(pixels_nchw);
        if let Some(norm) = &self.pre_layrnorm {
            x_npd = norm.forward(x_npd);
        }
        let [pictures, tokens, _] = x_npd.dims();
        let layout = AttentionLayout::everything(pictures, tokens, tokens);
        for layer in &self.encoder.layers {
            x_npd = layer.forward(x_npd, &layout);
        }
        if self.normalised {
            x_npd = self.post_layernorm.forward(x_npd);
        }
        x_npd
    }
}

impl Embeddings {
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
        let bias = self.patch_embedding.bias.as_ref().map(Param::val);
        let x_pd = project(patches_npd, weight, bias);
        let mut x_npd = x_pd.reshape([pictures, rows * columns, hidden]);
        if let Some(class) = &self.class_embedding {
            let class_n1d = class.val().unsqueeze::<3>().expand([pictures, 1, hidden]);
            x_npd = Tensor::cat(vec![class_n1d, x_npd], 1);
        }
        x_npd + self.position_embedding.weight.val().unsqueeze()
    }
}

impl TowerLayer {
    fn forward(&self, x_npd: Tensor<3>, layout: &AttentionLayout) -> Tensor<3> {
        let x_npd = x_npd.clone()
            + self
                .self_attn
                .forward(self.layer_norm1.forward(x_npd), layout);
        x_npd.clone() + self.mlp.forward(self.layer_norm2.forward(x_npd))
    }
}

impl TowerAttention {
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
        let y_npd = y_nhpd.swap_dims(1, 2).reshape([pictures, patches, hidden]);
        self.out_proj.forward(y_npd)
    }
}

impl Mlp {
    pub(super) fn new(config: &VisionConfig, device: &Device) -> Self {
        let (hidden, inside) = (config.hidden_size, config.intermediate_size);
        Self {
            fc1: LinearConfig::new(hidden, inside).init(device).into(),
            fc2: LinearConfig::new(inside, hidden).init(device).into(),
            activation: config.activation(),
        }
    }

    #[must_use]
    pub(super) fn map_linears(self, change: &mut dyn FnMut(Linear) -> Linear) -> Self {
        Self {
            fc1: change(self.fc1),
            fc2: change(self.fc2),
            ..self
        }
    }

    fn forward(&self, x_npd: Tensor<3>) -> Tensor<3> {
        let x_npd = self.fc1.forward(x_npd);
        let x_npd = match self.activation {
            VisionActivation::Gelu => Gelu::new().forward(x_npd),
            VisionActivation::GeluPytorchTanh => Gelu::new_approximate().forward(x_npd),
            VisionActivation::QuickGelu => x_npd.clone() * sigmoid(x_npd.mul_scalar(1.702)),
        };
        self.fc2.forward(x_npd)
    }
}
