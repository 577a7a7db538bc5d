//! AKI: vision tower, resampler and language model put together.

use std::ops::Range;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, FloatDType, Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::attention::{AttentionLayout, KvCache};
use crate::language::{LanguageConfig, LanguageModel};
use crate::resampler::{PerceiverResampler, ResamplerConfig};
use crate::vision::{SiglipConfig, SiglipVision};

/// Shape of an [`Aki`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AkiConfig {
    /// The vision tower.
    pub vision: SiglipConfig,
    /// The resampler between the two.
    pub resampler: ResamplerConfig,
    /// The language model.
    pub language: LanguageConfig,
}

impl AkiConfig {
    /// What is wrong with the numbers, if anything. `base_vocab` and `vocab` are the tokenizer's,
    /// without and with the added tokens.
    ///
    /// # Errors
    ///
    /// A sentence that names the keys at fault.
    pub fn validate(&self, base_vocab: usize, vocab: usize) -> Result<(), String> {
        self.vision
            .validate()
            .map_err(|fault| format!("model.vision: {fault}"))?;
        self.language
            .validate()
            .map_err(|fault| format!("model.language: {fault}"))?;
        self.resampler
            .validate()
            .map_err(|fault| format!("model.resampler: {fault}"))?;
        let LanguageConfig {
            vocab_size,
            added_tokens,
            ..
        } = self.language;
        if base_vocab > vocab_size || vocab != base_vocab + added_tokens {
            return Err(format!(
                "model.language: vocab_size {vocab_size} and added_tokens {added_tokens} do not fit \
                 the tokenizer, which has {base_vocab} ids and {} added ones",
                vocab - base_vocab
            ));
        }
        Ok(())
    }

    /// Draws the weights in a fixed order, so that one seed (`device.seed`) gives one model.
    /// `base_vocab` is the tokenizer's vocabulary without the added tokens.
    pub fn init(&self, base_vocab: usize, device: &Device) -> Aki {
        let aki = Aki {
            vision_encoder: self.vision.init(device),
            vision_tokenizer: self.resampler.init(
                self.vision.hidden_size,
                self.language.hidden_size,
                device,
            ),
            lang_model: self.language.init(base_vocab, device),
        };
        // Burn draws a parameter when it is first read; reading them all now fixes the order.
        aki.visit(&mut Draw);
        aki
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
    vision_encoder: SiglipVision,
    vision_tokenizer: PerceiverResampler,
    lang_model: LanguageModel,
}

impl Aki {
    /// Encodes pictures into media tokens. What comes out does not depend on any question, so it
    /// can serve several.
    ///
    /// # Shapes
    ///
    /// - `pixels_nchw`: `[pictures, 3, image_size, image_size]`, values from -1 to 1
    /// - output: `[pictures, num_latents, hidden]`
    pub fn encode(&self, pixels_nchw: Tensor<4>) -> Tensor<3> {
        self.vision_tokenizer
            .forward(self.vision_encoder.forward(pixels_nchw))
    }

    /// Token embeddings with the media tokens put in place.
    ///
    /// # Shapes
    ///
    /// - `ids_bt`: `[batch, len]`; what ids stand in the spans does not matter
    /// - `media_nld`: `[pictures, num_latents, hidden]`
    /// - output: `[batch, len, hidden]`
    ///
    /// # Panics
    ///
    /// If a span leaves its row, names no picture or is not `num_latents` long.
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

    /// Logits of hidden states, `[tokens, hidden]` to `[tokens, vocabulary]`.
    pub fn logits(&self, x_td: Tensor<2>) -> Tensor<2> {
        self.lang_model.logits(x_td)
    }

    /// Cross entropy and the likeliest token at chosen places. Logits are made for those alone.
    ///
    /// # Shapes
    ///
    /// - `hidden_btd`: `[batch, len, hidden]`
    /// - `places`: flat positions `row * len + token` of the token **before** each label
    /// - `labels`: the token ids to predict there
    /// - output: losses in f32 and ids, `[places]` each
    pub fn score(
        &self,
        hidden_btd: Tensor<3>,
        places: &[usize],
        labels: &[u32],
    ) -> (Tensor<1>, Tensor<1, Int>) {
        let [batch, len, hidden] = hidden_btd.dims();
        let device = hidden_btd.device();
        let count = places.len();
        let integers = |values: Vec<i32>| {
            Tensor::<1, Int>::from_data(TensorData::new(values, [count]), &device)
        };
        let places = integers(places.iter().map(|&place| place as i32).collect());
        let labels = integers(labels.iter().map(|&label| label as i32).collect());
        let x_td = hidden_btd.reshape([batch * len, hidden]).select(0, places);
        let logits = self.logits(x_td).cast(FloatDType::F32);
        let likeliest = logits.clone().argmax(1).reshape([count]);
        let losses = log_softmax(logits, 1)
            .gather(1, labels.reshape([count, 1]))
            .neg();
        (losses.reshape([count]), likeliest)
    }

    /// An empty cache for generation.
    pub fn cache(&self) -> KvCache {
        self.lang_model.cache()
    }
}
