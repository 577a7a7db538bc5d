//! Embedding and head in two parts: the pretrained vocabulary and the few tokens added to it.

use burn::module::{Initializer, Module, Param};
use burn::nn::{Embedding, EmbeddingConfig, Linear, LinearConfig};
use burn::tensor::{Device, Int, Tensor};

/// An embedding whose ids `0..base` live in the pretrained table and the rest in a small extra one.
#[derive(Module, Debug)]
pub struct DecoupledEmbedding {
    /// The pretrained table, `[vocab_size, hidden]`; it may have more rows than `base`.
    weight: Param<Tensor<2>>,
    additional_embedding: Embedding,
    base: usize,
}

/// A head to match: the first `base` logits from the pretrained matrix, the rest from an extra
/// linear layer. Both have a bias, as AKI's checkpoint does.
#[derive(Module, Debug)]
pub struct DecoupledHead {
    /// `[vocab_size, hidden]`, as the checkpoint stores it.
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
    additional_fc: Linear,
    base: usize,
}

/// Hugging Face's `initializer_range`.
const INITIAL: Initializer = Initializer::Normal {
    mean: 0.0,
    std: 0.02,
};

impl DecoupledEmbedding {
    /// Draws a table of `vocab` rows of which the first `base` are used, and one of `added` rows.
    pub fn new(vocab: usize, base: usize, added: usize, hidden: usize, device: &Device) -> Self {
        Self {
            weight: INITIAL.init([vocab, hidden], device),
            additional_embedding: EmbeddingConfig::new(added, hidden)
                .with_initializer(INITIAL)
                .init(device),
            base,
        }
    }

    /// Looks ids up.
    ///
    /// # Shapes
    ///
    /// - `ids_bt`: `[batch, len]`, each below `base + added`
    /// - output: `[batch, len, hidden]`
    pub fn forward(&self, ids_bt: Tensor<2, Int>) -> Tensor<3> {
        let base = self.base as i64;
        let pretrained_btd =
            burn::tensor::module::embedding(self.weight.val(), ids_bt.clone().clamp_max(base - 1));
        let added_btd = self
            .additional_embedding
            .forward(ids_bt.clone().sub_scalar(base).clamp_min(0));
        let is_added = ids_bt.greater_equal_scalar(base).unsqueeze_dim::<3>(2);
        let is_added = is_added.expand(pretrained_btd.shape());
        pretrained_btd.mask_where(is_added, added_btd)
    }
}

impl DecoupledHead {
    /// Draws a head of `vocab` rows of which the first `base` are used, and one of `added` rows.
    pub fn new(vocab: usize, base: usize, added: usize, hidden: usize, device: &Device) -> Self {
        Self {
            weight: INITIAL.init([vocab, hidden], device),
            bias: Initializer::Zeros.init([vocab], device),
            additional_fc: LinearConfig::new(hidden, added)
                .with_initializer(INITIAL)
                .init(device),
            base,
        }
    }

    /// Logits over the whole vocabulary.
    ///
    /// # Shapes
    ///
    /// - `x_td`: `[tokens, hidden]`
    /// - output: `[tokens, base + added]`
    pub fn forward(&self, x_td: Tensor<2>) -> Tensor<2> {
        let [_, hidden] = x_td.dims();
        let weight = self.weight.val().slice([0..self.base, 0..hidden]);
        let bias = self.bias.val().slice([0..self.base]).unsqueeze();
        let pretrained = x_td.clone().matmul(weight.transpose()) + bias;
        Tensor::cat(vec![pretrained, self.additional_fc.forward(x_td)], 1)
    }
}
