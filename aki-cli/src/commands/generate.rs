//! `aki generate`.

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use aki_data::Picture;
use aki_model::generate::{Ended, Prompt};
use aki_model::weights::save_tensor;
use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::session::{Ends, Session};
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
    let mut session = Session::open(request.model)?;
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
    let room = session.room(prefill_tokens)?;
    if room < request.model.max_new_tokens {
        say!("warning: the answer may have {room} tokens, since the model takes no more");
    }
    let mut out = std::io::stdout();
    let answer = session.answer(
        prompt,
        &ends,
        request.dump_logits.is_some(),
        &|| true,
        |new| {
            if !request.json {
                write!(out, "{new}")?;
                out.flush()?;
            }
            Ok(true)
        },
    )?;
    if !request.json {
        writeln!(out)?;
    }
    if let Some(file) = request.dump_logits {
        let logits = answer.generated.prompt_logits.as_ref();
        save_tensor("logits", logits.context("the logits were not kept")?, file)?;
    }
    answer.check()?;
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
