//! The PerceiverResampler: any number of patches in, a fixed number of media tokens out.

use burn::module::{Initializer, Module, Param};
use burn::nn::{Gelu, LayerNorm, LayerNormConfig, LinearConfig};
use burn::tensor::{Device, FloatDType, Tensor};
use serde::{Deserialize, Serialize};

use crate::attention::{AttentionLayout, mma_attention, reference};
use crate::linear::Linear;
use crate::sizes::{at_least_one, layers};

/// Shape of a [`PerceiverResampler`]. Its width is the vision tower's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResamplerConfig {
    /// Layers of cross-attention and feed-forward; 6 in AKI-4B.
    pub depth: usize,
    /// Attention heads; 8 in AKI-4B.
    pub heads: usize,
    /// Channels a head; 64 in AKI-4B.
    pub head_dim: usize,
    /// Learned latents, which are the media tokens the language model gets; 144 in AKI-4B.
    pub num_latents: usize,
}

impl Default for ResamplerConfig {
    /// AKI-4B's, which is also what its `config.json` takes for granted.
    fn default() -> Self {
        Self {
            depth: 6,
            heads: 8,
            head_dim: 64,
            num_latents: 144,
        }
    }
}

impl ResamplerConfig {
    /// What is wrong with the numbers, if anything.
    ///
    /// # Errors
    ///
    /// A sentence that names the key at fault.
    pub fn validate(&self) -> Result<(), String> {
        at_least_one(&[
            ("heads", self.heads),
            ("head_dim", self.head_dim),
            ("num_latents", self.num_latents),
        ])?;
        layers("depth", self.depth)
    }

    /// Draws the weights for patches of width `d_vision` and a language model of width `d_model`.
    pub fn init(&self, d_vision: usize, d_model: usize, device: &Device) -> PerceiverResampler {
        let inner = self.heads * self.head_dim;
        let norm = || LayerNormConfig::new(d_vision).init(device);
        let plain = |from, to| LinearConfig::new(from, to).with_bias(false).init(device);
        let linear = |from, to| Linear::from(plain(from, to));
        let layer = |_| ResamplerLayer {
            attention: PerceiverAttention {
                norm_media: norm(),
                norm_latents: norm(),
                to_q: linear(d_vision, inner),
                to_kv: linear(d_vision, 2 * inner),
                to_out: linear(inner, d_vision),
                heads: self.heads,
            },
            feed_forward: FeedForward {
                norm: norm(),
                up: linear(d_vision, 4 * d_vision),
                down: linear(4 * d_vision, d_vision),
            },
        };
        PerceiverResampler {
            latents: Initializer::Normal {
                mean: 0.0,
                std: 1.0,
            }
            .init([self.num_latents, d_vision], device),
            layers: (0..self.depth).map(layer).collect(),
            norm: norm(),
            projection: LinearConfig::new(d_vision, d_model).init(device).into(),
        }
    }
}

/// Learned latents that read the patches, layer after layer, and are projected to the language
/// model's width.
///
/// `latents += attention(latents over [patches, latents]); latents += feed_forward(latents)`.
#[derive(Module, Debug)]
pub struct PerceiverResampler {
    latents: Param<Tensor<2>>,
    layers: Vec<ResamplerLayer>,
    norm: LayerNorm,
    projection: Linear,
}

#[derive(Module, Debug)]
struct ResamplerLayer {
    attention: PerceiverAttention,
    feed_forward: FeedForward,
}

#[derive(Module, Debug)]
struct PerceiverAttention {
    norm_media: LayerNorm,
    norm_latents: LayerNorm,
    to_q: Linear,
    to_kv: Linear,
    to_out: Linear,
    heads: usize,
}

#[derive(Module, Debug)]
struct FeedForward {
    norm: LayerNorm,
    up: Linear,
    down: Linear,
}

impl PerceiverResampler {
    /// Media tokens for each picture.
    ///
    /// # Shapes
    ///
    /// - `patches_npd`: `[pictures, patches, d_vision]`
    /// - output: `[pictures, num_latents, d_model]`
    pub fn forward(&self, patches_npd: Tensor<3>) -> Tensor<3> {
        let (mut x_nld, layout) = self.begin(&patches_npd);
        for layer in &self.layers {
            x_nld = layer.forward(&patches_npd, x_nld, &layout);
        }
        self.projection.forward(self.norm.forward(x_nld))
    }

    /// From which patches each media token comes, by attention rollout
    /// ([Abnar and Zuidema](https://arxiv.org/abs/2005.00928)): a layer's latents are half what they were
    /// and half what they looked at, patches or other latents, with the mean of the heads:
    /// `R = R / 2 + (A_patches + A_latents R) / 2`. The last layer's attention alone would leave out what
    /// earlier layers read and what latents tell each other.
    ///
    /// # Shapes
    ///
    /// - `patches_npd`: `[pictures, patches, d_vision]`
    /// - output: `[pictures, num_latents, patches + num_latents]` in f32; a row sums to 1, and its last
    ///   part is what is left of the learned latents
    pub fn rollout(&self, patches_npd: Tensor<3>) -> Tensor<3> {
        let [pictures, patches, _] = patches_npd.dims();
        let (mut x_nld, layout) = self.begin(&patches_npd);
        let (device, latents) = (x_nld.device(), x_nld.dims()[1]);
        let zeros =
            |len| Tensor::<3>::zeros([pictures, latents, len], &device).cast(FloatDType::F32);
        let own = Tensor::<2>::eye(latents, &device).cast(FloatDType::F32);
        let own_nll = own.unsqueeze::<3>().expand([pictures, latents, latents]);
        let mut from_nls = Tensor::cat(vec![zeros(patches), own_nll], 2);
        for layer in &self.layers {
            let [q, k, _] = layer.attention.heads_of(patches_npd.clone(), x_nld.clone());
            let seen_nls = reference::probabilities(q, k, &layout)
                .mean_dim(1)
                .squeeze_dim::<3>(1);
            let of_patches = seen_nls.clone().narrow(2, 0, patches);
            let of_latents = seen_nls.narrow(2, patches, latents);
            let read = Tensor::cat(vec![of_patches, zeros(latents)], 2)
                + of_latents.matmul(from_nls.clone());
            from_nls = (from_nls + read).div_scalar(2.0);
            x_nld = layer.forward(&patches_npd, x_nld, &layout);
        }
        from_nls
    }

    /// The learned latents, once for each picture, and what they see: all patches and each other.
    fn begin(&self, patches_npd: &Tensor<3>) -> (Tensor<3>, AttentionLayout) {
        let [pictures, patches, width] = patches_npd.dims();
        let [latents, _] = self.latents.dims();
        let layout = AttentionLayout::everything(pictures, latents, patches + latents);
        let x_nld = self.latents.val().unsqueeze::<3>();
        (x_nld.expand([pictures, latents, width]), layout)
    }

    /// Each linear layer made into another.
    #[must_use]
    pub(crate) fn map_linears(mut self, change: &mut dyn FnMut(Linear) -> Linear) -> Self {
        let layers = self.layers.into_iter().map(|mut layer| {
            layer.attention.to_q = change(layer.attention.to_q);
            layer.attention.to_kv = change(layer.attention.to_kv);
            layer.attention.to_out = change(layer.attention.to_out);
            layer.feed_forward.up = change(layer.feed_forward.up);
            layer.feed_forward.down = change(layer.feed_forward.down);
            layer
        });
        self.layers = layers.collect();
        self.projection = change(self.projection);
        self
    }
}

impl ResamplerLayer {
    fn forward(
        &self,
        patches_npd: &Tensor<3>,
        x_nld: Tensor<3>,
        layout: &AttentionLayout,
    ) -> Tensor<3> {
        let y_nld = self
            .attention
            .forward(patches_npd.clone(), x_nld.clone(), layout);
        let x_nld = x_nld + y_nld;
        x_nld.clone() + self.feed_forward.forward(x_nld)
    }
}

impl PerceiverAttention {
    fn forward(
        &self,
        patches_npd: Tensor<3>,
        latents_nld: Tensor<3>,
        layout: &AttentionLayout,
    ) -> Tensor<3> {
        let [q_nhld, k_nhsd, v_nhsd] = self.heads_of(patches_npd, latents_nld);
        let [pictures, heads, latents, head_dim] = q_nhld.dims();
        let y_nhld = mma_attention(q_nhld, k_nhsd, v_nhsd, layout);
        let y_nld = y_nhld
            .swap_dims(1, 2)
            .reshape([pictures, latents, heads * head_dim]);
        self.to_out.forward(y_nld)
    }

    /// Queries of the latents; keys and values of the patches and, behind them, the latents.
    fn heads_of(&self, patches_npd: Tensor<3>, latents_nld: Tensor<3>) -> [Tensor<4>; 3] {
        let [pictures, latents, _] = latents_nld.dims();
        let latents_nld = self.norm_latents.forward(latents_nld);
        let keys_nsd = Tensor::cat(
            vec![self.norm_media.forward(patches_npd), latents_nld.clone()],
            1,
        );
        let len = keys_nsd.dims()[1];
        let kv = self.to_kv.forward(keys_nsd);
        let inner = kv.dims()[2] / 2;
        let head_dim = inner / self.heads;
        let heads = |x: Tensor<3>, len: usize| {
            x.reshape([pictures, len, self.heads, head_dim])
                .swap_dims(1, 2)
        };
        [
            heads(self.to_q.forward(latents_nld), latents),
            heads(kv.clone().slice([0..pictures, 0..len, 0..inner]), len),
            heads(kv.slice([0..pictures, 0..len, inner..2 * inner]), len),
        ]
    }
}

impl FeedForward {
    fn forward(&self, x_nld: Tensor<3>) -> Tensor<3> {
        let hidden = self.up.forward(self.norm.forward(x_nld));
        self.down.forward(Gelu::new().forward(hidden))
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::{Distribution, Tolerance};

    use super::*;

    /// Against the product of whole matrices, `A = [[1, 0], [A_patches, A_latents]]` of patches and
    /// latents together, each layer's the mean of `A` and 1.
    #[test]
    fn rollout_is_the_product_of_the_layers() {
        let device = Device::flex();
        device.seed(2);
        let config = ResamplerConfig {
            depth: 3,
            heads: 2,
            head_dim: 8,
            num_latents: 4,
        };
        let resampler = config.init(16, 8, &device);
        let patches = Tensor::<3>::random([1, 5, 16], Distribution::Normal(0.0, 3.0), &device);
        let one = Tensor::<2>::eye(9, &device);
        let (mut x, layout) = resampler.begin(&patches);
        let mut product = one.clone();
        for layer in &resampler.layers {
            let [q, k, _] = layer.attention.heads_of(patches.clone(), x.clone());
            let heads = reference::probabilities(q, k, &layout).squeeze_dim::<3>(0);
            let seen = heads.mean_dim(0).squeeze_dim::<2>(0);
            let all = Tensor::cat(vec![one.clone().narrow(0, 0, 5), seen], 0);
            product = (all + one.clone()).div_scalar(2.0).matmul(product);
            x = layer.forward(&patches, x, &layout);
        }
        let rollout = resampler.rollout(patches).squeeze_dim::<2>(0);
        for sum in rollout.clone().sum_dim(1).into_data().iter::<f32>() {
            assert!((sum - 1.0).abs() < 1e-5, "{sum}");
        }
        let expected = product.narrow(0, 5, 4).into_data();
        rollout
            .into_data()
            .assert_approx_eq::<f32>(&expected, Tolerance::rel_abs(1e-5, 1e-6));
    }
}
