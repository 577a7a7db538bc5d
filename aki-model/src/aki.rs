//! AKI: vision tower, resampler (or projector) and language model put together.

use std::convert::Infallible;
use std::ops::Range;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{DType, Device, FloatDType, Int, Tensor, TensorData};

use crate::attention::{AttentionLayout, KvCache};
use crate::config::AkiConfig;
use crate::language::{LanguageModel, Scores};
use crate::linear::{Bits, Linear};
use crate::projector::MlpProjector;
use crate::resampler::PerceiverResampler;
use crate::vision::VisionTower;
use crate::weights::{Projections, Quantization};

impl AkiConfig {
    /// Draws the weights in a fixed order, so that one seed (`device.seed`) gives one model.
    /// `base_vocab` is the tokenizer's vocabulary without the added tokens.
    ///
    /// # Panics
    ///
    /// If there is neither a resampler nor a projector ([`AkiConfig::validate`] says so).
    pub fn init(&self, base_vocab: usize, device: &Device) -> Aki {
        let aki = self.undrawn(base_vocab, device);
        // Burn draws a parameter when it is first read; reading them all now fixes the order.
        aki.visit(&mut Draw);
        aki
    }

    /// The network with weights that are drawn when they are first read: for weights to be loaded into,
    /// it costs no memory.
    ///
    /// # Panics
    ///
    /// As [`AkiConfig::init`].
    pub fn undrawn(&self, base_vocab: usize, device: &Device) -> Aki {
        let (from, to) = (self.vision.hidden_size, self.language.hidden_size);
        Aki {
            vision_encoder: self.vision.init(device),
            vision_tokenizer: match (&self.resampler, &self.projector) {
                (Some(resampler), _) => Connector::Resampler(resampler.init(from, to, device)),
                (None, Some(projector)) => Connector::Projector(projector.init(from, to, device)),
                (None, None) => panic!("the model has neither a resampler nor a projector"),
            },
            lang_model: self.language.init(base_vocab, device),
        }
    }
}

struct Draw;

impl ModuleVisitor for Draw {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let _drawn = param.val();
    }
}

/// A picture's media tokens in a row of the batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaSpan {
    /// The batch row.
    pub row: usize,
    /// The token positions in that row, as many as the resampler has latents.
    pub tokens: Range<usize>,
    /// Which of the batch's encoded pictures stands there.
    pub picture: usize,
}

/// The whole network.
#[derive(Module, Debug)]
pub struct Aki {
    vision_encoder: VisionTower,
    vision_tokenizer: Connector,
    lang_model: LanguageModel,
}

/// What makes media tokens of the tower's tokens.
#[derive(Module, Debug)]
enum Connector {
    Resampler(PerceiverResampler),
    Projector(MlpProjector),
}

impl Aki {
    /// Encodes pictures into media tokens. What comes out does not depend on any question, so it
    /// can serve several.
    ///
    /// # Shapes
    ///
    /// - `pixels_nchw`: `[pictures, 3, image_size, image_size]`, values from -1 to 1
    /// - output: `[pictures, media_len, hidden]`
    pub fn encode(&self, pixels_nchw: Tensor<4>) -> Tensor<3> {
        let patches_npd = self.patches(pixels_nchw);
        match &self.vision_tokenizer {
            Connector::Resampler(resampler) => resampler.forward(patches_npd),
            Connector::Projector(projector) => projector.forward(patches_npd),
        }
    }

    /// The vision tower's tokens, `[pictures, tokens, d_vision]`.
    fn patches(&self, pixels_nchw: Tensor<4>) -> Tensor<3> {
        let pixels_nchw = pixels_nchw.cast(self.vision_encoder.dtype());
        let frozen = !self.vision_encoder.is_trained();
        if frozen && self.vision_encoder.device().is_autodiff() {
            // No gradient will be asked for: nothing is kept for one.
            let tower = self.vision_encoder.valid();
            return Tensor::from_inner(tower.forward(pixels_nchw.inner()));
        }
        self.vision_encoder.forward(pixels_nchw)
    }

    /// From which of the vision tower's tokens each media token comes. Of a resampler's it is
    /// [`PerceiverResampler::rollout`] without what is left of the learned latents; a projector has one
    /// media token for each.
    ///
    /// # Shapes
    ///
    /// - `pixels_nchw`: as [`Aki::encode`]
    /// - output: `[pictures, media_len, tokens]` in f32; a row sums to 1
    pub fn sources(&self, pixels_nchw: Tensor<4>) -> Tensor<3> {
        let patches_npd = self.patches(pixels_nchw);
        let [pictures, tokens, _] = patches_npd.dims();
        match &self.vision_tokenizer {
            Connector::Resampler(resampler) => {
                let from_nlp = resampler.rollout(patches_npd).narrow(2, 0, tokens);
                // Without a layer nothing comes from a patch.
                let sums_nl1 = from_nlp.clone().sum_dim(2).clamp_min(f32::MIN_POSITIVE);
                from_nlp / sums_nl1
            }
            Connector::Projector(_) => {
                let own = Tensor::<2>::eye(tokens, &patches_npd.device()).cast(FloatDType::F32);
                own.unsqueeze::<3>().expand([pictures, tokens, tokens])
            }
        }
    }

    /// The network with a vision tower that is not trained: it runs without autodiff.
    #[must_use]
    pub fn freeze_vision(mut self) -> Self {
        self.vision_encoder = self.vision_encoder.freeze();
        self
    }

    /// What its numbers are computed in.
    pub fn dtype(&self) -> DType {
        self.vision_encoder.dtype()
    }

    /// Tokens of the longest text that counts as short, where the language model turns short and long
    /// texts by different angles (`LongRoPE`). A text that grows beyond it must be sent through the
    /// network anew: what was cached of it is of the short kind.
    pub fn longest_short_text(&self) -> Option<usize> {
        self.lang_model.longest_short_text()
    }

    /// How checkpoints hold the language model's fused matrices.
    pub fn projections(&self) -> Projections {
        self.lang_model.projections()
    }

    /// The network with its matrices packed as `how` says. One whose weights nobody has read yet stays so,
    /// for packed weights to be loaded into ([`load`](crate::weights::load)). A packed network is for use:
    /// gradients pass through packed matrices, and there are none in them.
    #[must_use]
    pub fn packed(mut self, how: &Quantization) -> Self {
        let packed = |bits: Bits| move |linear: Linear| linear.packed(bits);
        let tower = self.vision_encoder;
        self.vision_encoder = tower.map_linears(&mut packed(how.vision_encoder));
        let connect = &mut packed(how.vision_tokenizer);
        self.vision_tokenizer = match self.vision_tokenizer {
            Connector::Resampler(it) => Connector::Resampler(it.map_linears(connect)),
            Connector::Projector(it) => Connector::Projector(it.map_linears(connect)),
        };
        let blocks = |_: &str, linear: Linear| Ok::<_, Infallible>(linear.packed(how.blocks));
        let Ok(language) = self.lang_model.map_linears(blocks);
        self.lang_model = language.with_packed_head(how.head);
        self
    }

    pub(crate) fn map_language(mut self, map: impl FnOnce(LanguageModel) -> LanguageModel) -> Self {
        self.lang_model = map(self.lang_model);
        self
    }

    /// The network with another language model in the place of the one it has.
    #[must_use]
    pub fn with_language(self, language: LanguageModel) -> Self {
        self.map_language(|_| language)
    }

    /// The language model.
    pub fn language(&self) -> &LanguageModel {
        &self.lang_model
    }

    /// Token embeddings with the media tokens put in place.
    ///
    /// # Shapes
    ///
    /// - `ids_bt`: `[batch, len]`; what ids stand in the spans does not matter
    /// - `media_nld`: `[pictures, media_len, hidden]`
    /// - output: `[batch, len, hidden]`
    ///
    /// # Panics
    ///
    /// If a span leaves its row, names no picture or is not `media_len` long.
    pub fn fuse(
        &self,
        ids_bt: Tensor<2, Int>,
        media_nld: Option<Tensor<3>>,
        spans: &[MediaSpan],
    ) -> Tensor<3> {
        let text_btd = self.lang_model.embed(ids_bt);
        let Some(media_nld) = media_nld else {
            assert!(spans.is_empty(), "there are media spans and no pictures");
            return text_btd;
        };
        let [batch, len, hidden] = text_btd.dims();
        let [pictures, latents, _] = media_nld.dims();
        // One gather over [text; media]: any number of pictures anywhere, and a picture that
        // several rows share is stored once.
        let mut index: Vec<i32> = (0..(batch * len) as i32).collect();
        for span in spans {
            assert!(
                span.row < batch && span.tokens.end <= len,
                "media span outside the batch"
            );
            assert!(span.picture < pictures, "media span without its picture");
            assert_eq!(
                span.tokens.len(),
                latents,
                "media span of another length than the latents"
            );
            let first = (batch * len + span.picture * latents) as i32;
            for (at, from) in span.tokens.clone().zip(first..) {
                index[span.row * len + at] = from;
            }
        }
        let device = text_btd.device();
        let index = Tensor::from_data(TensorData::new(index, [batch * len]), &device);
        let table = Tensor::cat(
            vec![
                text_btd.reshape([batch * len, hidden]),
                media_nld.reshape([pictures * latents, hidden]),
            ],
            0,
        );
        table.select(0, index).reshape([batch, len, hidden])
    }

    /// The last hidden state of fused tokens.
    ///
    /// With a cache, `x_btd` holds the tokens that are new, and the layout's keys are the cached
    /// and the new ones together.
    ///
    /// # Shapes
    ///
    /// - `x_btd` and output: `[batch, query_len, hidden]`
    pub fn forward(
        &self,
        x_btd: Tensor<3>,
        layout: &AttentionLayout,
        cache: Option<&mut KvCache>,
    ) -> Tensor<3> {
        self.lang_model.forward(x_btd, layout, cache)
    }

    /// As [`Self::forward`]; none if `going_on` says no before one of the blocks.
    pub(crate) fn forward_while(
        &self,
        x_btd: Tensor<3>,
        layout: &AttentionLayout,
        cache: &mut KvCache,
        going_on: &dyn Fn() -> bool,
    ) -> Option<Tensor<3>> {
        self.lang_model
            .forward_while(x_btd, layout, Some(cache), going_on)
    }

    /// Logits of hidden states, `[tokens, hidden]` to `[tokens, vocabulary]`.
    pub fn logits(&self, x_td: Tensor<2>) -> Tensor<2> {
        self.lang_model.logits(x_td)
    }

    /// Cross entropy and the likeliest token at chosen places. Logits are made for those alone, a
    /// chunk at a time. Gradients come times `scale`, see [`LanguageModel::score`].
    ///
    /// # Shapes
    ///
    /// - `hidden_btd`: `[batch, len, hidden]`
    /// - `places`: flat positions `row * len + token` of the token **before** each label
    /// - `labels`: the token ids to predict there
    ///
    /// # Panics
    ///
    /// If there are no labels.
    pub fn score(
        &self,
        hidden_btd: Tensor<3>,
        places: &[usize],
        labels: &[u32],
        scale: f64,
    ) -> Scores {
        let [batch, len, hidden] = hidden_btd.dims();
        let device = hidden_btd.device();
        let count = places.len();
        let integers = |values: Vec<i32>| {
            Tensor::<1, Int>::from_data(TensorData::new(values, [count]), &device)
        };
        let places = integers(places.iter().map(|&place| place as i32).collect());
        let labels = integers(labels.iter().map(|&label| label as i32).collect());
        let x_td = hidden_btd.reshape([batch * len, hidden]).select(0, places);
        self.lang_model.score(x_td, labels, scale)
    }

    /// An empty cache for generation, with room for `capacity` tokens a row.
    pub fn cache(&self, capacity: usize) -> KvCache {
        self.lang_model.cache(capacity)
    }
}
