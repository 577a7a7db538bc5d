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
const IGNORED: [&str; 8] = [
    // VLMEvalKit's, with the benchmark's name.
    "dataset",
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
        let mut fields = Fields::of_body(body)?;
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
        messages::check_end(&fields, &messages)?;
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
            // With no tools to choose from.
            Some(Value::String(word)) if name == "tool_choice" => word != "none" && word != "auto",
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

#[cfg(test)]
mod tests {
    use base64::Engine;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const LIMITS: Limits = Limits {
        id: "aki",
        max_pictures: 2,
        fetcher: None,
        max_tokens: 64,
        upright: false,
    };

    /// A picture of one pixel.
    const PIXEL: &str = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC";

    fn request() -> Value {
        let picture = json!({"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}});
        json!({
            "model": "aki",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": [{"type": "text", "text": "what?"}, picture]},
                {"role": "assistant", "content": "red"},
                {"role": "user", "content": "and now?"},
            ],
            "stream": true, "stream_options": {"include_usage": true}, "stop": ["a", "b"], "seed": 3,
            "temperature": 0.5, "top_p": 0.9, "max_tokens": 5, "n": 2, "logprobs": true, "top_logprobs": 3,
            "response_format": {"type": "text"}, "tools": [], "logit_bias": {}, "frequency_penalty": 0,
        })
    }

    #[test]
    fn a_request_is_read() {
        let body = request().to_string();
        let read = ChatRequest::parse(body.as_bytes(), &LIMITS).expect("a request");
        assert_eq!((read.messages.len(), read.pictures.len()), (4, 1));
        assert_eq!(read.messages[1].pictures, 1);
        assert_eq!(read.pictures[0].decode().expect("a picture").rgb.len(), 3);
        assert_eq!(
            (read.choices, read.max_tokens, read.logprobs),
            (2, 5, Some(3))
        );
        assert!(read.stream && read.usage);
    }

    /// Whatever it is, it is granted or it is the client's mistake.
    fn check(body: &[u8]) -> Result<(), TestCaseError> {
        if let Err(error) = ChatRequest::parse(body, &LIMITS) {
            prop_assert!(error.status.is_client_error(), "{:?}", error);
            prop_assert!(error.message.len() < 2000, "{:?}", error);
        }
        Ok(())
    }

    /// Puts something else in a place, which is found by numbers.
    fn put(value: &mut Value, path: &[usize], new: Value) {
        match (path.split_first(), value) {
            (Some((at, rest)), Value::Array(list)) if !list.is_empty() => {
                let at = at % list.len();
                put(&mut list[at], rest, new);
            }
            (Some((at, rest)), Value::Object(object)) if !object.is_empty() => {
                let at = at % object.len();
                let (_, inner) = object.iter_mut().nth(at).expect("within");
                put(inner, rest, new);
            }
            (_, value) => *value = new,
        }
    }

    fn anything() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "\\PC{0,8}".prop_map(Value::from),
            "(data:|DATA:)?(image/(png|gif))?(;base64)?,?[A-Za-z0-9+/=]{0,40}"
                .prop_map(Value::from),
            Just(Value::from(PIXEL)),
        ];
        leaf.prop_recursive(3, 12, 4, |inner| {
            let name = "(role|content|type|text|url|image_url|user|model|n|[a-z]{0,3})";
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map(name, inner, 0..4)
                    .prop_map(|it| Value::Object(it.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn any_bytes_are_no_failure_of_ours(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            check(&bytes)?;
        }

        #[test]
        fn nor_is_a_request_in_which_something_changed(
            path in prop::collection::vec(0usize..20, 0..6),
            value in anything(),
        ) {
            let mut request = request();
            put(&mut request, &path, value);
            check(request.to_string().as_bytes())?;
        }

        #[test]
        fn nor_one_with_broken_bytes(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
            end in any::<prop::sample::Index>(),
        ) {
            let mut bytes = request().to_string().into_bytes();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            check(&bytes)?;
            check(&bytes[..end.index(bytes.len())])?;
        }

        #[test]
        fn nor_a_picture_that_is_broken(
            format in 0usize..6,
            bytes in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let heads: [&[u8]; 6] = [
                b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR", b"\xff\xd8\xff\xc0", b"GIF89a", b"BM", b"RIFF\0\0\0\0WEBPVP8L",
                b"\xff\xd8\xff\xe1",
            ];
            let data = base64::prelude::BASE64_STANDARD.encode([heads[format], &bytes].concat());
            let uri = format!("data:image/png;base64,{data}");
            match Encoded::from_uri(&uri, "url", false).and_then(|picture| picture.decode()) {
                Ok(_) => {}
                Err(error) => prop_assert!(error.status.is_client_error()),
            }
        }
    }
}
