//! `aki generate`.

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use aki_data::{DataError, Picture};
use aki_model::generate::{Ended, GenerateOptions, Prompt, Sampler, Sampling, generate};
use aki_model::weights::save_tensor;
use aki_train::answer::AnswerText;
use aki_train::folder::ModelFolder;
use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::args::ModelArgs;

/// What `aki generate` was asked for.
pub struct Request<'a> {
    pub model: &'a ModelArgs,
    pub prompt: &'a str,
    pub raw_prompt: bool,
    pub stop: &'a [String],
    pub stop_tokens: &'a [u32],
    pub json: bool,
    pub dump_logits: Option<&'a Path>,
}

pub fn run(request: &Request) -> Result<()> {
    if let Some(folder) = request.dump_logits.and_then(Path::parent) {
        let there = folder.as_os_str().is_empty() || folder.is_dir();
        ensure!(
            there,
            "no folder {} to write the logits to",
            folder.display()
        );
    }
    let begun = Instant::now();
    let session = Session::open(request.model)?;
    let loaded = begun.elapsed();
    let pictures: Vec<&Picture> = session.pictures.iter().collect();
    let prompt = match request.raw_prompt {
        true => session.model.raw_prompt(request.prompt, &pictures)?,
        false => session.model.prompt(request.prompt, &pictures)?,
    };
    let prompt_token_ids = as_tokenized(&prompt);
    let prefill_tokens = prompt.input_ids.len();
    let special = session.model.tokenizer.special();
    let mut ends = Ends {
        // What a raw prompt's turns end with is its author's business.
        tokens: match request.raw_prompt {
            true => vec![special.eos],
            false => special.stops(),
        },
        texts: request.stop,
    };
    ends.tokens.extend(request.stop_tokens);
    let answer = session.answer(prompt, &ends, request.dump_logits.is_some(), !request.json)?;
    if let Some(file) = request.dump_logits {
        let logits = answer.generated.prompt_logits.as_ref();
        save_tensor("logits", logits.context("the logits were not kept")?, file)?;
    }
    ensure!(
        answer.generated.ended != Ended::NoNumbers,
        "the logits are not numbers: weights or activations are too large for this type; try --dtype f32"
    );
    if request.json {
        let ended = match answer.generated.ended {
            Ended::Length => "length",
            _ => "stop",
        };
        let seconds = json!({
            "load": loaded.as_secs_f64(),
            "prefill": answer.prefill,
            "decode": answer.decode,
        });
        let object = json!({
            "prompt_token_ids": prompt_token_ids,
            "prefill_tokens": prefill_tokens,
            "token_ids": answer.generated.token_ids,
            "text": answer.text,
            "ended": ended,
            "seconds": seconds,
        });
        writeln!(std::io::stdout(), "{object}")?;
    }
    Ok(())
}

/// The ids as the tokenizer gave them: one for each picture.
fn as_tokenized(prompt: &Prompt) -> Vec<u32> {
    let starts: Vec<usize> = prompt.spans.iter().map(|span| span.tokens.start).collect();
    let in_picture = |at: usize| prompt.spans.iter().any(|span| span.tokens.contains(&at));
    let ids = prompt.input_ids.iter().enumerate();
    ids.filter(|(at, _)| !in_picture(*at) || starts.contains(at))
        .map(|(_, &id)| id)
        .collect()
}

/// A model, pictures, and how answers are drawn.
pub struct Session {
    pub model: ModelFolder,
    pub pictures: Vec<Picture>,
    pub open: fn(&Path) -> Result<Picture, DataError>,
    sampling: Sampling,
    max_new_tokens: usize,
}

/// What ends an answer.
pub struct Ends<'a> {
    pub tokens: Vec<u32>,
    pub texts: &'a [String],
}

/// What an answer was, and how long it took in seconds.
pub struct Answered {
    pub generated: aki_model::generate::Answer,
    pub text: String,
    pub prefill: f64,
    pub decode: f64,
}

impl Session {
    pub fn open(args: &ModelArgs) -> Result<Self> {
        ensure!(
            args.max_new_tokens > 0,
            "--max-new-tokens must be at least 1"
        );
        let open = match args.exif_orientation {
            true => Picture::open_upright,
            false => Picture::open,
        };
        let pictures = args.image.iter().map(|file| open(file));
        let pictures = pictures.collect::<Result<_, _>>()?;
        let (device, _) = args.device.open()?;
        let mut model = ModelFolder::load(&args.model, args.dtype.map(Into::into), &device)?;
        if args.chat_template {
            model.use_chat_template()?;
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
            pictures,
            open,
            sampling,
            max_new_tokens: args.max_new_tokens,
        })
    }

    /// Answers, printing the text while it is made if asked to.
    pub fn answer(
        &self,
        prompt: Prompt,
        ends: &Ends,
        prompt_logits: bool,
        print: bool,
    ) -> Result<Answered> {
        let tokenizer = &self.model.tokenizer;
        let mut text = AnswerText::new(tokenizer, ends.texts);
        let mut out = std::io::stdout();
        let mut fault = None;
        let (len, language) = (prompt.input_ids.len(), &self.model.config.model.language);
        let room = language
            .max_position_embeddings
            .map_or(usize::MAX, |longest| longest - len);
        ensure!(
            room > 0,
            "the prompt fills the model: it takes {len} tokens and no more"
        );
        if room < self.max_new_tokens {
            eprintln!("warning: the answer may have {room} tokens, since the model takes no more");
        }
        let options = GenerateOptions {
            stop: ends.tokens.clone(),
            max_new_tokens: self.max_new_tokens.min(room),
            prompt_logits,
        };
        // Some tokenizers begin every word with its blank; on a line of its own the first is idle.
        let mut begun = false;
        let mut say = |new: &str| -> std::io::Result<()> {
            let new = if begun { new } else { new.trim_start() };
            begun |= !new.is_empty();
            if print {
                write!(out, "{new}")?;
                out.flush()?;
            }
            Ok(())
        };
        let mut samplers = [Sampler::new(self.sampling.clone())];
        let generation = generate(
            &self.model.aki,
            &[prompt],
            &mut samplers,
            &options,
            |_, id| {
                let said = text
                    .push(id)
                    .map_err(anyhow::Error::from)
                    .and_then(|new| Ok(say(new)?));
                fault = said.err();
                fault.is_none() && !text.stopped()
            },
        );
        if let Some(error) = fault {
            return Err(error);
        }
        say(text.finish()?)?;
        if print {
            writeln!(out)?;
        }
        let generated = generation.answers.into_iter().next();
        Ok(Answered {
            generated: generated.context("one prompt has one answer")?,
            text: text.text().to_owned(),
            prefill: generation.prefill.as_secs_f64(),
            decode: generation.decode.as_secs_f64(),
        })
    }
}
