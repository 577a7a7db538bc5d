//! Texts and pictures as the network takes them.

use aki_data::text::Part;
use aki_data::{Message, Picture, PictureOrder, Role, Sequence};
use aki_model::MediaSpan;
use aki_model::attention::{AttentionLayout, Document, Policy};
use aki_model::generate::Prompt;
use burn::module::Module;
use burn::tensor::{Tensor, TensorData};

use super::ModelFolder;
use crate::TrainError;

impl ModelFolder {
    /// A question about some pictures, or none.
    ///
    /// # Errors
    ///
    /// [`TrainError::Data`] if the text cannot be encoded.
    pub fn prompt(&self, question: &str, pictures: &[&Picture]) -> Result<Prompt, TrainError> {
        let question = Message {
            role: Role::User,
            text: question.to_owned(),
            pictures: pictures.len(),
        };
        self.conversation(&[question], pictures)
    }

    /// A conversation of several turns; its messages say how many of the pictures each shows.
    ///
    /// # Errors
    ///
    /// As [`Self::prompt`].
    pub fn conversation(
        &self,
        messages: &[Message],
        pictures: &[&Picture],
    ) -> Result<Prompt, TrainError> {
        self.prepared(self.sequence(messages)?, pictures)
    }

    /// A question whose pictures stand where `parts` has them, with no newline beside them.
    ///
    /// # Errors
    ///
    /// As [`Self::prompt`]; [`TrainError::Request`] if conversations are written by a chat template, which has
    /// pictures in lines, or if the model learned pictures after their texts.
    pub fn placed(&self, parts: &[Part], pictures: &[&Picture]) -> Result<Prompt, TrainError> {
        self.check_placed()?;
        let media_len = self.config.model.media_len();
        let sequence = self
            .template()
            .question(&self.tokenizer, parts, media_len)?;
        self.prepared(sequence, pictures)
    }

    /// Whether [`Self::placed`] can be.
    ///
    /// # Errors
    ///
    /// [`TrainError::Request`] if it cannot.
    pub fn check_placed(&self) -> Result<(), TrainError> {
        if self.chat_template.is_some() {
            let reason = "the model's texts are written by a chat template, in which every picture has a \
                          line of its own; ask with --prompt aki";
            return Err(TrainError::Request(reason.to_owned()));
        }
        if self.config.order != PictureOrder::ImageText {
            let reason = "this model learned pictures after their texts (\"order\" in config.json); ask with \
                          --prompt aki";
            return Err(TrainError::Request(reason.to_owned()));
        }
        Ok(())
    }

    /// The ids of [`Self::conversation`], without its pictures.
    ///
    /// # Errors
    ///
    /// As [`Self::prompt`]; [`TrainError::Request`] if a chat template is to write what the model learned
    /// in the other order.
    pub fn sequence(&self, messages: &[Message]) -> Result<Sequence, TrainError> {
        let media_len = self.config.model.media_len();
        let tokenizer = &self.tokenizer;
        if self.chat_template.is_some() && self.config.order != PictureOrder::ImageText {
            return Err(TrainError::Request(
                "this model learned pictures after their texts (\"order\" in config.json), and a chat \
                 template puts them before"
                    .to_owned(),
            ));
        }
        Ok(match &self.chat_template {
            Some(template) => template.prompt(tokenizer, messages, media_len)?,
            None => self
                .template()
                .conversation(tokenizer, messages, media_len)?,
        })
    }

    /// A prompt as it is, special tokens and `<image>` spelled out in it.
    ///
    /// # Errors
    ///
    /// As [`Self::prompt`], or if there are not as many pictures as `<image>`.
    pub fn raw_prompt(&self, text: &str, pictures: &[&Picture]) -> Result<Prompt, TrainError> {
        let media_len = self.config.model.media_len();
        let sequence = Sequence::from_raw_prompt(&self.tokenizer, text, media_len)?;
        self.prepared(sequence, pictures)
    }

    /// A sequence with its pictures.
    ///
    /// # Errors
    ///
    /// [`TrainError::Request`] if it is empty, or if there are not as many pictures as `<image>`;
    /// [`TrainError::TooLong`] if the text is longer than the model can take.
    pub fn prepared(
        &self,
        sequence: Sequence,
        pictures: &[&Picture],
    ) -> Result<Prompt, TrainError> {
        self.prepared_under(self.config.attention, sequence, pictures)
    }

    /// As [`Self::prepared`], under another rule than the model's own.
    pub(super) fn prepared_under(
        &self,
        policy: Policy,
        sequence: Sequence,
        pictures: &[&Picture],
    ) -> Result<Prompt, TrainError> {
        let (len, places) = (sequence.input_ids.len(), sequence.media.len());
        if len == 0 {
            return Err(TrainError::Request("the prompt is empty".to_owned()));
        }
        if places != pictures.len() {
            return Err(TrainError::Request(format!(
                "<image> stands {places} times in the prompt, and the pictures given are {}",
                pictures.len()
            )));
        }
        self.check_length("the prompt", len)?;
        let document = Document {
            tokens: 0..len,
            media: sequence.media.clone(),
            question_end: sequence.question_end,
        };
        let layout = AttentionLayout::from_spans(policy, len, &[vec![document]])
            .map_err(|error| TrainError::Request(error.to_string()))?;
        let span = |(picture, tokens)| MediaSpan {
            row: 0,
            tokens,
            picture,
        };
        Ok(Prompt {
            input_ids: sequence.input_ids,
            pixels: self.pixels(pictures),
            spans: (0..).zip(sequence.media).map(span).collect(),
            layout,
        })
    }

    /// Whether a text is one that the model can take.
    ///
    /// # Errors
    ///
    /// [`TrainError::TooLong`] if not.
    pub fn check_length(&self, what: &str, len: usize) -> Result<(), TrainError> {
        match self.config.model.language.max_position_embeddings {
            Some(longest) if len > longest => Err(TrainError::TooLong {
                what: what.to_owned(),
                len,
                longest,
            }),
            _ => Ok(()),
        }
    }

    /// Tokens that may follow a text of `len` tokens.
    pub fn room(&self, len: usize) -> usize {
        let longest = self.config.model.language.max_position_embeddings;
        longest.map_or(usize::MAX, |longest| longest.saturating_sub(len))
    }

    /// Pictures as the vision tower takes them, `[pictures, 3, image_size, image_size]`.
    fn pixels(&self, pictures: &[&Picture]) -> Option<Tensor<4>> {
        if pictures.is_empty() {
            return None;
        }
        let side = self.config.model.vision.image_size;
        let device = self.aki.devices().swap_remove(0);
        let values = self.pixel_values(pictures);
        let data = TensorData::new(values, [pictures.len(), 3, side, side]);
        Some(Tensor::from_data(data, &device))
    }

    /// The numbers of [`Self::pixels`].
    pub(crate) fn pixel_values(&self, pictures: &[&Picture]) -> Vec<f32> {
        let side = self.config.model.vision.image_size as u32;
        let (mean, std) = (self.config.norm_mean, self.config.norm_std);
        pictures
            .iter()
            .flat_map(|picture| picture.resize(side, side).normalised_chw(mean, std))
            .collect()
    }
}
