//! The attention of a decoder block as a Burn module.

use burn::module::Module;
use burn::nn::LinearConfig;
use burn::tensor::{Device, Tensor};

#[cfg(feature = "flex")]
use super::projected::{self, Parts};
use super::{AttentionLayout, LayerCache, RopeScaling, RotaryConfig, mma_attention};
use crate::linear::Linear;

/// Configuration of [`MmaAttention`].
#[derive(Clone, Debug, PartialEq)]
pub struct MmaAttentionConfig {
    /// Width of the tokens.
    pub d_model: usize,
    /// Query heads.
    pub heads: usize,
    /// Channels of a head; `d_model / heads` unless asked otherwise.
    pub head_dim: usize,
    /// Key and value heads, a divisor of `heads`.
    pub kv_heads: usize,
    /// Base of the rotary position embedding; `None` for no embedding of positions.
    pub rope_theta: Option<f64>,
    /// How the rotary embedding's wavelengths are stretched.
    pub rope_scaling: Option<RopeScaling>,
    /// Whether queries, keys and values have biases, as in Qwen2.
    pub qkv_bias: bool,
}

/// Self-attention under a layout's visibility rule, with queries, keys and values from one product.
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
    head_dim: usize,
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
            head_dim: d_model / heads.max(1),
            rope_theta: None,
            rope_scaling: None,
            qkv_bias: false,
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

    /// Stretches the rotary embedding's wavelengths.
    #[must_use]
    pub fn with_rope_scaling(mut self, scaling: Option<RopeScaling>) -> Self {
        self.rope_scaling = scaling;
        self
    }

    /// Heads of another width than `d_model / heads`.
    #[must_use]
    pub fn with_head_dim(mut self, head_dim: usize) -> Self {
        self.head_dim = head_dim;
        self
    }

    /// Gives queries, keys and values biases.
    #[must_use]
    pub fn with_qkv_bias(mut self, qkv_bias: bool) -> Self {
        self.qkv_bias = qkv_bias;
        self
    }

    /// Draws the weights.
    ///
    /// # Panics
    ///
    /// If heads have no channels, or `kv_heads` does not divide `heads`, or if heads of an odd number
    /// of channels are to be turned, or the scaling is for heads of another width.
    pub fn init(&self, device: &Device) -> MmaAttention {
        let Self {
            d_model,
            heads,
            kv_heads,
            head_dim,
            rope_theta,
            ..
        } = *self;
        assert!(
            heads > 0 && head_dim > 0,
            "{heads} heads of {head_dim} channels"
        );
        assert!(
            kv_heads > 0 && heads.is_multiple_of(kv_heads),
            "{kv_heads} key/value heads do not divide {heads} heads"
        );
        assert!(
            rope_theta.is_none() || head_dim.is_multiple_of(2),
            "a rotary embedding turns pairs of channels, and a head has {head_dim}"
        );
        if let Some(Err(fault)) = self.rope_scaling.as_ref().map(|it| it.validate(head_dim)) {
            panic!("{fault}");
        }
        let linear = |from, to, bias| {
            LinearConfig::new(from, to)
                .with_bias(bias)
                .init(device)
                .into()
        };
        MmaAttention {
            qkv_proj: linear(d_model, (heads + 2 * kv_heads) * head_dim, self.qkv_bias),
            o_proj: linear(heads * head_dim, d_model, false),
            heads,
            kv_heads,
            head_dim,
            rope: rope_theta.map(|theta| RotaryConfig {
                head_dim,
                theta,
                scaling: self.rope_scaling.clone(),
            }),
        }
    }
}

impl MmaAttention {
    /// The products before attention and after it.
    pub(crate) fn linears(&self) -> [&Linear; 2] {
        [&self.qkv_proj, &self.o_proj]
    }

    /// Each of [`MmaAttention::linears`] made into another, in their order.
    pub(crate) fn map_linears<E>(
        self,
        mut change: impl FnMut(Linear) -> Result<Linear, E>,
    ) -> Result<Self, E> {
        Ok(Self {
            qkv_proj: change(self.qkv_proj)?,
            o_proj: change(self.o_proj)?,
            ..self
        })
    }

    /// Tokens of the longest text that counts as short under `LongRoPE`.
    pub(crate) fn longest_short_text(&self) -> Option<usize> {
        match self.rope.as_ref()?.scaling.as_ref()? {
            RopeScaling::LongRope {
                original_max_position_embeddings,
                ..
            } => Some(*original_max_position_embeddings),
            _ => None,
        }
    }

    /// Attention of each token over those the layout shows it.
    ///
    /// With a cache the new tokens' keys and values are appended to it, and the layout's keys are
    /// the cached tokens and the new ones together, or all places of the cache.
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
        let [batch, len, _] = x_btd.dims();
        let head_dim = self.head_dim;
        let qkv = self.qkv_proj.forward(x_btd);
        #[cfg(feature = "flex")]
        if let (None, Some(rope)) = (&cache, &self.rope)
            && projected::serves(&qkv, layout)
        {
            let table = layout.rotary(rope, &qkv.device());
            let parts = Parts {
                heads: self.heads,
                kv_heads: self.kv_heads,
                head_dim,
            };
            let y_btd = projected::attention(qkv, &table, layout, parts);
            return self.o_proj.forward(y_btd);
        }
        let [q_bhtd, k_bhsd, v_bhsd] = self.split(&qkv, layout);
        let (k_bhsd, v_bhsd) = match cache {
            Some(cache) => cache.append(k_bhsd, v_bhsd, layout.key_len()),
            None => (k_bhsd, v_bhsd),
        };
        let y_bhtd = mma_attention(q_bhtd, k_bhsd, v_bhsd, layout);
        let y_btd = y_bhtd
            .swap_dims(1, 2)
            .reshape([batch, len, self.heads * head_dim]);
        self.o_proj.forward(y_btd)
    }

    /// The queries and keys of a whole text, turned by their positions.
    ///
    /// # Shapes
    ///
    /// - `x_btd`: `[batch, len, d_model]`
    /// - output: `[batch, heads, len, head_dim]` and `[batch, kv_heads, len, head_dim]`
    pub(crate) fn queries_and_keys(
        &self,
        x_btd: Tensor<3>,
        layout: &AttentionLayout,
    ) -> [Tensor<4>; 2] {
        let [q_bhtd, k_bhsd, _] = self.split(&self.qkv_proj.forward(x_btd), layout);
        [q_bhtd, k_bhsd]
    }

    /// Queries, keys and values of the one product, the first two turned.
    fn split(&self, qkv: &Tensor<3>, layout: &AttentionLayout) -> [Tensor<4>; 3] {
        let ([batch, len, _], head_dim) = (qkv.dims(), self.head_dim);
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
        [
            turn(part(0, self.heads)),
            turn(part(self.heads, self.kv_heads)),
            part(self.heads + self.kv_heads, self.kv_heads),
        ]
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::{Distribution, Tolerance};

    use super::*;
    use crate::attention::{Document, Policy, reference};

    /// What is shown of attention is what attention is made of, in the engine for CPUs too: with the
    /// values and the last product it gives the module's output.
    #[test]
    fn queries_and_keys_are_those_of_the_output() {
        let device = Device::flex();
        device.seed(8);
        let scaling = RopeScaling::LongRope {
            short_factor: vec![1.0, 1.5],
            long_factor: vec![2.0, 3.0],
            original_max_position_embeddings: 6,
            attention_factor: 1.2,
        };
        let attention = MmaAttentionConfig::new(24, 6)
            .with_kv_heads(2)
            .with_rope(10_000.0)
            .with_rope_scaling(Some(scaling))
            .with_qkv_bias(true)
            .init(&device);
        let document = Document {
            tokens: 0..11,
            media: vec![1..5],
            question_end: Some(8),
        };
        let x_btd = Tensor::<3>::random([1, 11, 24], Distribution::Normal(0.0, 2.0), &device);
        for policy in [Policy::Causal, Policy::Mma] {
            let layout = AttentionLayout::from_spans(policy, 11, &[vec![document.clone()]])
                .expect("a layout");
            let [q, k] = attention.queries_and_keys(x_btd.clone(), &layout);
            let [_, _, v] = attention.split(&attention.qkv_proj.forward(x_btd.clone()), &layout);
            let weights_bhts = reference::probabilities(q, k, &layout);
            let y_bhtd = weights_bhts.matmul(reference::repeat_heads(v, 6));
            let y_btd = attention
                .o_proj
                .forward(y_bhtd.swap_dims(1, 2).reshape([1, 11, 24]));
            let expected = attention.forward(x_btd.clone(), &layout, None);
            y_btd
                .into_data()
                .assert_approx_eq::<f32>(&expected.into_data(), Tolerance::rel_abs(1e-4, 1e-5));
        }
    }
}
