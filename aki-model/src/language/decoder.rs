//! The decoder blocks: RMSNorm, attention under the layout's rule, RMSNorm, SwiGLU.
//!
//! Field names are those of `transformers`' `Phi3ForCausalLM`, so that weights keep their names.
//! Llama, Mistral and Qwen2 keep queries, keys and values apart; read from their checkpoints, they are
//! put into one matrix, which gives the same sums in one product.

use burn::module::Module;
use burn::nn::{LinearConfig, RmsNorm, RmsNormConfig};
use burn::tensor::{Device, Int, Tensor};

use super::{DecoupledEmbedding, DecoupledHead, LanguageConfig, LanguageType};
use crate::attention::{AttentionLayout, KvCache, LayerCache, MmaAttention, MmaAttentionConfig};
use crate::fused::{rms_norm, swiglu};
use crate::linear::{Bits, Linear};
use crate::weights::Projections;

/// A causal language model.
#[derive(Module, Debug)]
pub struct LanguageModel {
    pub(super) model: Decoder,
    pub(super) lm_head: DecoupledHead,
    #[module(skip)]
    projections: Projections,
}

#[derive(Module, Debug)]
pub(super) struct Decoder {
    pub(super) embed_tokens: DecoupledEmbedding,
    pub(super) layers: Vec<DecoderLayer>,
    pub(super) norm: RmsNorm,
}

#[derive(Module, Debug)]
pub(super) struct DecoderLayer {
    input_layernorm: RmsNorm,
    self_attn: MmaAttention,
    post_attention_layernorm: RmsNorm,
    mlp: SwiGluMlp,
}

/// `down(silu(gate) * up)`, gate and up fused in one matrix.
#[derive(Module, Debug)]
struct SwiGluMlp {
    gate_up_proj: Linear,
    down_proj: Linear,
}

impl LanguageConfig {
    /// Draws the weights. `base` is the tokenizer's vocabulary without the added tokens; ids from
    /// there on use the extra tables. A plain language model has `vocab_size` there.
    pub fn init(&self, base: usize, device: &Device) -> LanguageModel {
        let hidden = self.hidden_size;
        let norm = || {
            RmsNormConfig::new(hidden)
                .with_epsilon(self.rms_norm_eps)
                .init(device)
        };
        let linear = |from, to| {
            LinearConfig::new(from, to)
                .with_bias(false)
                .init(device)
                .into()
        };
        let layer = |_| DecoderLayer {
            input_layernorm: norm(),
            self_attn: MmaAttentionConfig::new(hidden, self.num_attention_heads)
                .with_kv_heads(self.num_key_value_heads)
                .with_head_dim(self.head_dim())
                .with_qkv_bias(self.model_type == LanguageType::Qwen2)
                .with_rope(self.rope_theta)
                .with_rope_scaling(self.rope_scaling.clone())
                .init(device),
            post_attention_layernorm: norm(),
            mlp: SwiGluMlp {
                gate_up_proj: linear(hidden, 2 * self.intermediate_size),
                down_proj: linear(self.intermediate_size, hidden),
            },
        };
        let (vocab, added) = (self.vocab_size, self.added_tokens);
        LanguageModel {
            model: Decoder {
                embed_tokens: DecoupledEmbedding::new(vocab, base, added, hidden, device),
                layers: (0..self.num_hidden_layers).map(layer).collect(),
                norm: norm(),
            },
            lm_head: DecoupledHead::new(
                vocab,
                base,
                added,
                hidden,
                self.tie_word_embeddings,
                device,
            ),
            projections: self.projections(),
        }
    }
}

impl LanguageModel {
    /// Token embeddings.
    ///
    /// # Shapes
    ///
    /// - `ids_bt`: `[batch, len]`
    /// - output: `[batch, len, hidden]`
    pub fn embed(&self, ids_bt: Tensor<2, Int>) -> Tensor<3> {
        self.model.embed_tokens.forward(ids_bt)
    }

    /// The last hidden state, normalised, of tokens given as embeddings.
    ///
    /// # Shapes
    ///
    /// - `x_btd` and output: `[batch, query_len, hidden]`
    ///
    /// # Panics
    ///
    /// If the cache is for another number of layers.
    pub fn forward(
        &self,
        x_btd: Tensor<3>,
        layout: &AttentionLayout,
        cache: Option<&mut KvCache>,
    ) -> Tensor<3> {
        self.forward_while(x_btd, layout, cache, &|| true)
            .expect("it goes on")
    }

    /// As [`Self::forward`]; none, and the cache of no use, if `going_on` says no before a block.
    pub(crate) fn forward_while(
        &self,
        mut x_btd: Tensor<3>,
        layout: &AttentionLayout,
        cache: Option<&mut KvCache>,
        going_on: &dyn Fn() -> bool,
    ) -> Option<Tensor<3>> {
        let mut caches: Vec<Option<&mut LayerCache>> = match cache {
            Some(cache) => {
                assert_eq!(
                    cache.layers.len(),
                    self.model.layers.len(),
                    "the cache is another model's"
                );
                cache.layers.iter_mut().map(Some).collect()
            }
            None => self.model.layers.iter().map(|_| None).collect(),
        };
        for (layer, cache) in self.model.layers.iter().zip(&mut caches) {
            if !going_on() {
                return None;
            }
            x_btd = layer.forward(x_btd, layout, cache.take());
        }
        Some(rms_norm(&self.model.norm, x_btd))
    }

    /// Sends a whole text through the blocks and shows the queries and keys, turned by their positions, of
    /// those in `layers`.
    ///
    /// # Shapes
    ///
    /// - `x_btd`: `[batch, len, hidden]`
    /// - what `see` is given: a block's number, `[batch, heads, len, head_dim]` and
    ///   `[batch, kv_heads, len, head_dim]`
    pub(crate) fn watch(
        &self,
        mut x_btd: Tensor<3>,
        layout: &AttentionLayout,
        layers: &[usize],
        mut see: impl FnMut(usize, [Tensor<4>; 2]),
    ) {
        for (number, layer) in self.model.layers.iter().enumerate() {
            if layers.contains(&number) {
                let normed = rms_norm(&layer.input_layernorm, x_btd.clone());
                see(number, layer.self_attn.queries_and_keys(normed, layout));
            }
            x_btd = layer.forward(x_btd, layout, None);
        }
    }

    /// Logits of hidden states.
    ///
    /// # Shapes
    ///
    /// - `x_td`: `[tokens, hidden]`
    /// - output: `[tokens, vocabulary with the added tokens]`
    pub fn logits(&self, x_td: Tensor<2>) -> Tensor<2> {
        self.lm_head.forward(x_td, &self.model.embed_tokens)
    }

    /// Tokens of the longest text that counts as short under `LongRoPE`.
    pub(crate) fn longest_short_text(&self) -> Option<usize> {
        let layer = self.model.layers.first()?;
        layer.self_attn.longest_short_text()
    }

    /// The linear layers of the blocks under their paths, in the order of the blocks.
    pub(crate) fn linears(&self) -> Vec<(String, &Linear)> {
        let mut linears = Vec::new();
        for (number, layer) in self.model.layers.iter().enumerate() {
            let [qkv, o] = layer.self_attn.linears();
            let all = [qkv, o, &layer.mlp.gate_up_proj, &layer.mlp.down_proj];
            linears.extend(Self::paths(number).into_iter().zip(all));
        }
        linears
    }

    /// Each of [`LanguageModel::linears`] made into another.
    pub(crate) fn map_linears<E>(
        mut self,
        mut change: impl FnMut(&str, Linear) -> Result<Linear, E>,
    ) -> Result<Self, E> {
        let mut layers = Vec::with_capacity(self.model.layers.len());
        for (number, mut layer) in self.model.layers.into_iter().enumerate() {
            let [qkv, o, gate_up, down] = Self::paths(number);
            let mut of_attention = [qkv, o].into_iter();
            layer.self_attn = layer.self_attn.map_linears(|linear| {
                let path = of_attention.next().expect("attention has two products");
                change(&path, linear)
            })?;
            layer.mlp.gate_up_proj = change(&gate_up, layer.mlp.gate_up_proj)?;
            layer.mlp.down_proj = change(&down, layer.mlp.down_proj)?;
            layers.push(layer);
        }
        self.model.layers = layers;
        Ok(self)
    }

    fn paths(layer: usize) -> [String; 4] {
        let names = [
            "self_attn.qkv_proj",
            "self_attn.o_proj",
            "mlp.gate_up_proj",
            "mlp.down_proj",
        ];
        names.map(|name| format!("model.layers.{layer}.{name}"))
    }

    /// The model with the rows of added tokens trained.
    pub(crate) fn train_added(mut self) -> Self {
        self.model.embed_tokens = self.model.embed_tokens.train_added();
        self.lm_head = self.lm_head.train_added();
        self
    }

    /// The head with its matrix packed.
    pub(crate) fn with_packed_head(mut self, bits: Bits) -> Self {
        self.lm_head = self.lm_head.packed(bits);
        self
    }

    /// How checkpoints hold the fused matrices.
    pub fn projections(&self) -> Projections {
        self.projections.clone()
    }

    /// An empty cache of the right depth with room for `capacity` tokens a row.
    pub fn cache(&self, capacity: usize) -> KvCache {
        KvCache::new(self.model.layers.len(), capacity)
    }
}

impl DecoderLayer {
    pub(super) fn forward(
        &self,
        x_btd: Tensor<3>,
        layout: &AttentionLayout,
        cache: Option<&mut LayerCache>,
    ) -> Tensor<3> {
        let normed = rms_norm(&self.input_layernorm, x_btd.clone());
        let x_btd = x_btd + self.self_attn.forward(normed, layout, cache);
        let normed = rms_norm(&self.post_attention_layernorm, x_btd.clone());
        x_btd + self.mlp.forward(normed)
    }
}

impl SwiGluMlp {
    fn forward(&self, x_btd: Tensor<3>) -> Tensor<3> {
        let both = self.gate_up_proj.forward(x_btd);
        self.down_proj.forward(swiglu(both))
    }
}
