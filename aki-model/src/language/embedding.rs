//! Embedding and head in two parts: the pretrained vocabulary and the few tokens added to it.

use burn::module::{Initializer, Module, Param, ParamId};
use burn::nn::{Embedding, EmbeddingConfig, Linear, LinearConfig};
use burn::tensor::{DType, Device, Int, Tensor};

use crate::linear::{Bits, PackedMatrix};
use crate::project;

/// An embedding whose ids `0..base` live in the pretrained table and the rest, if there are any, in a
/// small extra one.
#[derive(Module, Debug)]
pub struct DecoupledEmbedding {
    /// The pretrained table, `[vocab_size, hidden]`; it may have more rows than `base`.
    weight: Param<Tensor<2>>,
    additional_embedding: Option<Embedding>,
    base: usize,
}

/// A head to match: the first `base` logits from the pretrained matrix, the rest from an extra
/// linear layer. With added tokens both have a bias, as AKI's checkpoint does; without, neither.
#[derive(Module, Debug)]
pub struct DecoupledHead {
    /// `[vocab_size, hidden]`, as the checkpoint stores it; none where it is packed, or where the embedding
    /// serves.
    weight: Option<Param<Tensor<2>>>,
    packed: Option<PackedMatrix>,
    bias: Option<Param<Tensor<1>>>,
    additional_fc: Option<Linear>,
    base: usize,
}

/// A part of the head: it gives the logits of some of the vocabulary.
pub(super) struct HeadPart {
    matrix: HeadMatrix,
    pub(super) bias: Option<Tensor<1>>,
    /// Whether a gradient of weight or bias will be asked for.
    pub(super) trained: bool,
}

enum HeadMatrix {
    /// `[vocabulary, hidden]`.
    Plain(Tensor<2>),
    /// `[hidden, vocabulary]`, and how many words of it are used.
    Packed(PackedMatrix, usize),
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
            additional_embedding: (added > 0).then(|| {
                EmbeddingConfig::new(added, hidden)
                    .with_initializer(INITIAL)
                    .init(device)
            }),
            base,
        }
    }

    /// The embedding with the rows of added tokens trained.
    pub(super) fn train_added(mut self) -> Self {
        let added = self.additional_embedding;
        self.additional_embedding = added.map(|added| added.set_require_grad(true));
        self
    }

    /// Looks ids up.
    ///
    /// # Shapes
    ///
    /// - `ids_bt`: `[batch, len]`, each below `base + added`
    /// - output: `[batch, len, hidden]`
    pub fn forward(&self, ids_bt: Tensor<2, Int>) -> Tensor<3> {
        let Some(added) = &self.additional_embedding else {
            return burn::tensor::module::embedding(self.weight.val(), ids_bt);
        };
        let base = self.base as i64;
        let pretrained_btd =
            burn::tensor::module::embedding(self.weight.val(), ids_bt.clone().clamp_max(base - 1));
        let added_btd = added.forward(ids_bt.clone().sub_scalar(base).clamp_min(0));
        let is_added = ids_bt.greater_equal_scalar(base).unsqueeze_dim::<3>(2);
        let is_added = is_added.expand(pretrained_btd.shape());
        pretrained_btd.mask_where(is_added, added_btd)
    }
}

impl DecoupledHead {
    /// Draws a head of `vocab` rows of which the first `base` are used, and one of `added` rows. A
    /// `tied` head has no matrix of its own.
    pub fn new(
        vocab: usize,
        base: usize,
        added: usize,
        hidden: usize,
        tied: bool,
        device: &Device,
    ) -> Self {
        Self {
            weight: (!tied).then(|| INITIAL.init([vocab, hidden], device)),
            packed: None,
            bias: (added > 0).then(|| Initializer::Zeros.init([vocab], device)),
            additional_fc: (added > 0).then(|| {
                LinearConfig::new(hidden, added)
                    .with_initializer(INITIAL)
                    .init(device)
            }),
            base,
        }
    }

    /// The head with its matrix packed; a tied one has none.
    pub(super) fn packed(mut self, bits: Bits) -> Self {
        let Some(weight) = self.weight.take() else {
            return self;
        };
        let [vocab, hidden] = weight.lazy_shape().dims();
        let (device, shape) = (weight.lazy_device(), [hidden, vocab]);
        let turned = move |_: &Device, _| weight.val().transpose();
        let turned = Param::uninitialized(ParamId::new(), turned, device, false, shape.into());
        self.packed = Some(PackedMatrix::of_undrawn(turned, bits));
        self
    }

    /// The head with the rows of added tokens trained.
    pub(super) fn train_added(mut self) -> Self {
        let added = self.additional_fc;
        self.additional_fc = added.map(|added| added.set_require_grad(true));
        self
    }

    /// Logits over the whole vocabulary. `embedding` serves where the head is tied to it.
    ///
    /// # Shapes
    ///
    /// - `x_td`: `[tokens, hidden]`
    /// - output: `[tokens, base + added]`
    pub fn forward(&self, x_td: Tensor<2>, embedding: &DecoupledEmbedding) -> Tensor<2> {
        let parts = self.parts(embedding).into_iter();
        Tensor::cat(parts.map(|part| part.logits(x_td.clone())).collect(), 1)
    }

    /// The pretrained part, and that of the added tokens if there are any.
    pub(super) fn parts(&self, embedding: &DecoupledEmbedding) -> Vec<HeadPart> {
        let bias = self.bias.as_ref().map(Param::val);
        let (matrix, matrix_trained) = if let Some(packed) = &self.packed {
            (HeadMatrix::Packed(packed.clone(), self.base), false)
        } else {
            let weight = self.weight.as_ref().unwrap_or(&embedding.weight).val();
            let trained = weight.is_require_grad();
            (HeadMatrix::Plain(weight.slice([0..self.base])), trained)
        };
        let mut parts = vec![HeadPart {
            matrix,
            trained: matrix_trained || trained(bias.as_ref()),
            bias: bias.map(|bias| bias.slice([0..self.base])),
        }];
        parts.extend(self.additional_fc.as_ref().map(|added| {
            let (weight, bias) = (added.weight.val(), added.bias.as_ref().map(Param::val));
            HeadPart {
                trained: weight.is_require_grad() || trained(bias.as_ref()),
                matrix: HeadMatrix::Plain(weight.transpose()),
                bias,
            }
        }));
        parts
    }
}

fn trained(bias: Option<&Tensor<1>>) -> bool {
    bias.is_some_and(Tensor::is_require_grad)
}

impl HeadPart {
    /// `x W^T + b`.
    pub(super) fn logits(&self, x_td: Tensor<2>) -> Tensor<2> {
        match &self.matrix {
            HeadMatrix::Plain(weight) => {
                project(x_td, weight.clone().transpose(), self.bias.clone())
            }
            HeadMatrix::Packed(packed, used) => {
                let rows = x_td.dims()[0];
                let logits = packed.product(x_td).slice([0..rows, 0..*used]);
                match &self.bias {
                    Some(bias) => logits + bias.clone().unsqueeze(),
                    None => logits,
                }
            }
        }
    }

    /// `[vocabulary, hidden]`; a packed matrix is unpacked for it.
    pub(super) fn weight(&self) -> Tensor<2> {
        match &self.matrix {
            HeadMatrix::Plain(weight) => weight.clone(),
            HeadMatrix::Packed(packed, used) => packed.unpacked().transpose().slice([0..*used]),
        }
    }

    /// The part outside autodiff; a matrix that gradients go through is plain, of the dtype that they have.
    pub(super) fn inner(&self, plain: Option<DType>) -> Self {
        let matrix = match (&self.matrix, plain) {
            (HeadMatrix::Packed(packed, used), None) => {
                HeadMatrix::Packed(packed.clone().valid(), *used)
            }
            (HeadMatrix::Packed(..), Some(dtype)) => {
                HeadMatrix::Plain(self.weight().inner().cast(dtype))
            }
            (HeadMatrix::Plain(weight), _) => HeadMatrix::Plain(weight.clone().inner()),
        };
        Self {
            matrix,
            bias: self.bias.clone().map(Tensor::inner),
            trained: self.trained,
        }
    }
}
