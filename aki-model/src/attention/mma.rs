//! The attention of a decoder block as a Burn module.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};

use super::{AttentionLayout, LayerCache, RotaryConfig, mma_attention};

/// Configuration of [`MmaAttention`].
#[derive(Clone, Debug, PartialEq)]
pub struct MmaAttentionConfig {
    /// Width of the tokens.
    pub d_model: usize,
    /// Query heads; `d_model / heads` channels each.
    pub heads: usize,
    /// Key and value heads, a divisor of `heads`.
    pub kv_heads: usize,
    /// Base of the rotary position embedding; `None` for no embedding of positions.
    pub rope_theta: Option<f64>,
}

/// Self-attention under a layout's visibility rule, with fused projections without biases.
///
/// `y = softmax(rope(q) rope(k)^T / sqrt(head_dim) + mask) v Wo`, where `q`, `k` and `v` are the
/// parts of one product `x Wqkv`, as in Phi-3; `rope` is the identity unless
/// [`MmaAttentionConfig::with_rope`] asks for it. Positions are the layout's.
#[derive(Module, Debug)]
pub struct MmaAttention {
    qkv_proj: Linear,
    o_proj: Linear,
    heads: usize,
    kv_heads: usize,
    #[module(skip)]
    rope: Option<RotaryConfig>,
}

impl MmaAttentionConfig {
    /// A configuration with as many key and value heads as query heads.
    pub fn new(d_model: usize, heads: usize) -> Self {
        Self {
            d_model,
            heads,
            kv_heads: heads,
            rope_theta: None,
        }
    }

    /// Groups the key and value heads: `kv_heads` of them serve all query heads.
    #[must_use]
    pub fn with_kv_heads(mut self, kv_heads: usize) -> Self {
        self.kv_heads = kv_heads;
        self
    }

    /// Turns queries and keys by the positions of their tokens, with wavelengths in a geometric
    /// series of base `theta` (10,000 in Phi and Llama 2).
    #[must_use]
    pub fn with_rope(mut self, theta: f64) -> Self {
        self.rope_theta = Some(theta);
        self
    }

    /// Draws the weights.
    ///
    /// # Panics
    ///
    /// If `heads` does not divide `d_model`, or `kv_heads` does not divide `heads`, or if heads of an
    /// odd number of channels are to be turned.
    pub fn init(&self, device: &Device) -> MmaAttention {
        let Self {
            d_model,
            heads,
            kv_heads,
            rope_theta,
        } = *self;
        assert!(
            heads > 0 && d_model.is_multiple_of(heads),
            "{heads} heads do not divide {d_model}"
        );
        assert!(
            kv_heads > 0 && heads.is_multiple_of(kv_heads),
            "{kv_heads} key/value heads do not divide {heads} heads"
        );
        let head_dim = d_model / heads;
        assert!(
            rope_theta.is_none() || head_dim.is_multiple_of(2),
            "a rotary embedding turns pairs of channels, and a head has {head_dim}"
        );
        let qkv = (heads + 2 * kv_heads) * head_dim;
        MmaAttention {
            qkv_proj: LinearConfig::new(d_model, qkv)
                .with_bias(false)
                .init(device),
            o_proj: LinearConfig::new(d_model, d_model)
                .with_bias(false)
                .init(device),
            heads,
            kv_heads,
            rope: rope_theta.map(|theta| RotaryConfig { head_dim, theta }),
        }
    }
}

impl MmaAttention {
    /// Attention of each token over those the layout shows it.
    ///
    /// With a cache the new tokens' keys and values are appended to it, and the layout's keys are
    /// the cached tokens and the new ones together.
    ///
    /// # Shapes
    ///
    /// - `x_btd` and the output: `[batch, query_len, d_model]`
    pub fn forward(
        &self,
        x_btd: Tensor<3>,
        layout: &AttentionLayout,
        cache: Option<&mut LayerCache>,
    ) -> Tensor<3> {
        let [batch, len, d_model] = x_btd.dims();
        let head_dim = d_model / self.heads;
        let qkv = self.qkv_proj.forward(x_btd);
        let part = |from: usize, heads: usize| {
            qkv.clone()
                .slice([0..batch, 0..len, from * head_dim..(from + heads) * head_dim])
                .reshape([batch, len, heads, head_dim])
                .swap_dims(1, 2)
        };
        let rope = self.rope.as_ref();
        let table = rope.map(|rope| layout.rotary(rope, &qkv.device()));
        let turn = |x_bhtd| match &table {
            Some(table) => table.apply(x_bhtd),
            None => x_bhtd,
        };
        let q_bhtd = turn(part(0, self.heads));
        let k_bhsd = turn(part(self.heads, self.kv_heads));
        let v_bhsd = part(self.heads + self.kv_heads, self.kv_heads);
        let (k_bhsd, v_bhsd) = match cache {
            Some(cache) => cache.append(k_bhsd, v_bhsd),
            None => (k_bhsd, v_bhsd),
        };
        let y_bhtd = mma_attention(q_bhtd, k_bhsd, v_bhsd, layout);
        self.o_proj
            .forward(y_bhtd.swap_dims(1, 2).reshape([batch, len, d_model]))
    }
}
