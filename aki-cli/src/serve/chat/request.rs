//! What a chat completion was asked for.

use std::hash::{BuildHasher, RandomState};

use aki_data::Message;
use aki_model::generate::Sampling;
use serde_json::Value;

use super::messages;
use crate::serve::fields::Fields;
use crate::serve::picture::Encoded;
use crate::serve::{ApiError, Limits, models};

/// Answers to one request at most.
const MAX_CHOICES: i64 = 8;
const MAX_STOPS: usize = 4;
const MAX_TOP_LOGPROBS: i64 = 20;

/// Members that change nothing of an answer: names and notes for the provider.
const IGNORED: [&str; 7] = [
    "metadata",
    "parallel_tool_calls",
    "prompt_cache_key",
    "safety_identifier",
    "service_tier",
    "store",
    "user",
];

/// Members that ask for what is not there.
const UNSUPPORTED: [&str; 11] = [
    "audio",
    "function_call",
    "functions",
    "logit_bias",
    "modalities",
    "prediction",
    "reasoning_effort",
    "tool_choice",
    "tools",
    "verbosity",
    "web_search_options",
];

/// A request that can be granted, as far as can be said without the model.
#[derive(Debug)]
pub struct ChatRequest {
    /// The turns.
    pub messages: Vec<Message>,
    /// Their pictures, in order.
    pub pictures: Vec<Encoded>,
    /// How many answers.
    pub choices: usize,
    /// How tokens are drawn; answer `i` takes the seed and `i`.
    pub sampling: Sampling,
    /// Texts that end an answer.
    pub stop: Vec<String>,
    /// The longest answer.
    pub max_tokens: usize,
    /// How many of the likeliest tokens are told beside each token, if that is asked for.
    pub logprobs: Option<usize>,
    /// Whether the answer comes in parts.
    pub stream: bool,
    /// Whether the last part says how many tokens there were.
    pub usage: bool,
}

impl ChatRequest {
    /// Reads a body.
    ///
    /// # Errors
    ///
    /// 400 if it is no JSON, or asks for what cannot be, and 404 if it asks for another model.
    pub fn parse(body: &[u8], limits: &Limits) -> Result<Self, ApiError> {
        let value: Value = serde_json::from_slice(body)
            .map_err(|error| ApiError::bad(format!("the body is not JSON: {error}")))?;
        let mut fields = Fields::new(value, "")?;
        let model = fields.text("model")?;
        let model = model.ok_or_else(|| ApiError::param("model", "model is missing"))?;
        models::check(limits.id, &model)?;
        refuse(&mut fields)?;
        for name in IGNORED {
            fields.take(name);
        }
        let choices = fields.integer("n", 1..=MAX_CHOICES)?.unwrap_or(1) as usize;
        let sampling = sampling(&mut fields)?;
        let stop = stop(&mut fields)?;
        let max_tokens = max_tokens(&mut fields, limits.max_tokens)?;
        let logprobs = logprobs(&mut fields)?;
        let (stream, usage) = stream(&mut fields)?;
        let (messages, pictures) = messages::read(&mut fields, limits)?;
        fields.end()?;
        Ok(Self {
            messages,
            pictures,
            choices,
            sampling,
            stop,
            max_tokens,
            logprobs,
            stream,
            usage,
        })
    }
}

/// Refuses what is not there, but where it asks for nothing.
fn refuse(fields: &mut Fields) -> Result<(), ApiError> {
    for name in ["frequency_penalty", "presence_penalty"] {
        if fields.number(name, -2.0..=2.0)?.is_some_and(|it| it != 0.0) {
            return Err(unsupported(fields, name, "must be 0: it is not supported"));
        }
    }
    if let Some(mut format) = fields.object("response_format")?
        && format.text("type")?.as_deref() != Some("text")
    {
        let why = "must be {\"type\": \"text\"}: answers are not held to a form";
        return Err(unsupported(fields, "response_format", why));
    }
    for name in UNSUPPORTED {
        let asks = match fields.take(name) {
            None => false,
            Some(Value::Array(list)) => list != ["text"] && !list.is_empty(),
            Some(Value::Object(object)) => !object.is_empty(),
            Some(Value::String(word)) => word != "none",
            Some(_) => true,
        };
        if asks {
            return Err(unsupported(fields, name, "is not supported"));
        }
    }
    Ok(())
}

fn unsupported(fields: &Fields, name: &str, why: &str) -> ApiError {
    fields.fault(name, why).code("unsupported_parameter")
}

fn sampling(fields: &mut Fields) -> Result<Sampling, ApiError> {
    let temperature = fields.number("temperature", 0.0..=2.0)?.unwrap_or(1.0);
    let top_p = fields.number("top_p", 0.0..=1.0)?.unwrap_or(1.0);
    let seed = fields.integer("seed", i64::MIN..=i64::MAX)?;
    Ok(Sampling {
        temperature: temperature as f32,
        top_p: top_p as f32,
        seed: seed.map_or_else(random, |seed| seed as u64),
        ..Sampling::default()
    })
}

/// A number that differs each time.
pub fn random() -> u64 {
    RandomState::new().hash_one(0)
}

fn stop(fields: &mut Fields) -> Result<Vec<String>, ApiError> {
    let texts = match fields.take("stop") {
        None => vec![],
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(list)) if list.len() <= MAX_STOPS => {
            let text = |value| match value {
                Value::String(text) => Ok(text),
                _ => Err(fields.fault("stop", "must be a string or a list of strings")),
            };
            list.into_iter().map(text).collect::<Result<_, _>>()?
        }
        Some(_) => {
            let why = format!("must be a string or a list of up to {MAX_STOPS}");
            return Err(fields.fault("stop", &why));
        }
    };
    match texts.iter().any(String::is_empty) {
        true => Err(fields.fault("stop", "must not be empty")),
        false => Ok(texts),
    }
}

/// The newer of two names counts, and both may be there if they agree.
fn max_tokens(fields: &mut Fields, most: usize) -> Result<usize, ApiError> {
    let newer = fields.integer("max_completion_tokens", 1..=i64::MAX)?;
    let older = fields.integer("max_tokens", 1..=i64::MAX)?;
    if newer
        .zip(older)
        .is_some_and(|(newer, older)| newer != older)
    {
        return Err(fields.fault("max_tokens", "differs from max_completion_tokens"));
    }
    let asked = newer
        .or(older)
        .and_then(|asked| usize::try_from(asked).ok());
    Ok(asked.unwrap_or(most).min(most))
}

fn logprobs(fields: &mut Fields) -> Result<Option<usize>, ApiError> {
    let wanted = fields.flag("logprobs")?.unwrap_or(false);
    let top = fields.integer("top_logprobs", 0..=MAX_TOP_LOGPROBS)?;
    if top.is_some() && !wanted {
        return Err(fields.fault("top_logprobs", "needs \"logprobs\": true"));
    }
    Ok(wanted.then(|| top.unwrap_or(0) as usize))
}

fn stream(fields: &mut Fields) -> Result<(bool, bool), ApiError> {
    let stream = fields.flag("stream")?.unwrap_or(false);
    let Some(mut options) = fields.object("stream_options")? else {
        return Ok((stream, false));
    };
    if !stream {
        return Err(fields.fault("stream_options", "needs \"stream\": true"));
    }
    let usage = options.flag("include_usage")?.unwrap_or(false);
    // Padding against those who measure lengths; there is none.
    options.flag("include_obfuscation")?;
    options.end()?;
    Ok((stream, usage))
}
