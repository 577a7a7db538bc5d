//! A model with what is asked of it: `aki generate` and `aki chat`.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use aki_data::{DataError, Picture};
use aki_model::generate::{
    Answer, Ended, GenerateOptions, Kept, Prompt, Sampler, Sampling, generate_kept,
};
use aki_train::answer::{AnswerText, NO_NUMBERS};
use aki_train::folder::ModelFolder;
use anyhow::{Context, Result, ensure};

use super::open_model;
use crate::args::ModelArgs;

/// How a picture is read from its file.
type OpenPicture = fn(&Path) -> Result<Picture, DataError>;

/// A model, pictures, and how answers are drawn.
pub struct Session {
    pub model: ModelFolder,
    /// What `--device` came to.
    pub device: String,
    pub pictures: Vec<Picture>,
    pub open: OpenPicture,
    sampling: Sampling,
    pub max_new_tokens: usize,
    /// The text before, of which the next prompt's beginning is not computed again.
    pub kept: Kept,
}

/// What ends an answer.
pub struct Ends<'a> {
    pub tokens: Vec<u32>,
    pub texts: &'a [String],
}

/// What an answer was, and how long it took.
pub struct Answered {
    pub generated: Answer,
    pub text: String,
    /// Seconds up to the logits of the first token.
    pub prefill: f64,
    /// Seconds after that.
    pub decode: f64,
    /// Time up to the first token, the preparing of the prompt left out.
    pub first: Duration,
    /// Tokens of the prompt that were known from the text before.
    pub known: usize,
}

impl Answered {
    /// # Errors
    ///
    /// If weights or activations overflowed.
    pub fn check(&self) -> Result<()> {
        ensure!(
            self.generated.ended != Ended::NoNumbers,
            "{NO_NUMBERS}; try --dtype f32"
        );
        Ok(())
    }

    /// Tokens a second after the first; none if there was no other.
    pub fn rate(&self) -> Option<f64> {
        // The token that ended it took as long as any.
        let stop = usize::from(matches!(self.generated.ended, Ended::Stop(_)));
        let steps = (self.generated.token_ids.len() + stop).saturating_sub(1);
        (steps > 0 && self.decode > 0.0).then(|| steps as f64 / self.decode)
    }
}

impl Session {
    pub fn open(args: &ModelArgs) -> Result<Self> {
        ensure!(
            args.max_new_tokens > 0,
            "--max-new-tokens must be at least 1"
        );
        let opener = |upright| -> OpenPicture {
            match upright {
                true => Picture::open_upright,
                false => Picture::open,
            }
        };
        let open_all = |open: OpenPicture| -> Result<Vec<_>, _> {
            args.image.iter().map(|file| open(file)).collect()
        };
        // What is wrong with them comes before what takes long.
        let mut open = opener(args.exif_orientation);
        let mut pictures = open_all(open)?;
        let (model, device) = open_model(&args.model, args.dtype, args.chat_template, args.device)?;
        if model.config.exif_orientation && !args.exif_orientation {
            open = opener(true);
            pictures = open_all(open)?;
        }
        let sampling = Sampling {
            repetition_penalty: args.repetition_penalty,
            temperature: args.temperature,
            top_k: args.top_k,
            top_p: args.top_p,
            min_p: args.min_p,
            seed: args.seed,
        };
        Ok(Self {
            model,
            device,
            pictures,
            open,
            sampling,
            max_new_tokens: args.max_new_tokens,
            kept: Kept::default(),
        })
    }

    /// Tokens that the model takes at most, if it has a limit.
    pub fn longest(&self) -> Option<usize> {
        self.model.config.model.language.max_position_embeddings
    }

    /// The longest answer to a prompt of `len` tokens.
    ///
    /// # Errors
    ///
    /// If there is no room for one.
    pub fn room(&self, len: usize) -> Result<usize> {
        let room = self.model.room(len);
        ensure!(
            room > 0,
            "the prompt fills the model: it takes {len} tokens and no more"
        );
        Ok(self.max_new_tokens.min(room))
    }

    /// Answers. `said` is given the text that each token adds, which may be none, and ends the answer by
    /// returning false; so does `going_on` before the first token.
    ///
    /// # Errors
    ///
    /// If there is no room for an answer, it is no text, or `said` fails.
    pub fn answer(
        &mut self,
        prompt: Prompt,
        ends: &Ends,
        prompt_logits: bool,
        going_on: &dyn Fn() -> bool,
        mut said: impl FnMut(&str) -> io::Result<bool>,
    ) -> Result<Answered> {
        let options = GenerateOptions {
            stop: ends.tokens.clone(),
            max_new_tokens: self.room(prompt.input_ids.len())?,
            prompt_logits,
        };
        let mut text = AnswerText::new(&self.model.tokenizer, ends.texts);
        let started = Instant::now();
        let (mut first, mut fault) = (None, None);
        let mut sampler = Sampler::new(self.sampling.clone());
        let generation = generate_kept(
            &self.model.aki,
            &mut self.kept,
            prompt,
            &mut sampler,
            &options,
            going_on,
            |id| {
                first.get_or_insert_with(|| started.elapsed());
                let going_on = text.push(id).map_err(anyhow::Error::from);
                match going_on.and_then(|new| Ok(said(new)?)) {
                    Ok(going_on) => going_on && !text.stopped(),
                    Err(error) => {
                        fault = Some(error);
                        false
                    }
                }
            },
        );
        if let Some(error) = fault {
            return Err(error);
        }
        said(text.finish()?)?;
        let generated = generation.answers.into_iter().next();
        Ok(Answered {
            generated: generated.context("one prompt has one answer")?,
            text: text.text().to_owned(),
            prefill: generation.prefill.as_secs_f64(),
            decode: generation.decode.as_secs_f64(),
            first: first.unwrap_or_else(|| started.elapsed()),
            known: generation.known,
        })
    }
}
