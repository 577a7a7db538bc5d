//! A chat completion as JSON.

use serde_json::{Value, json};

use super::answer::{Event, Token};
use super::request::{ChatRequest, random};
use crate::serve::State;
use crate::serve::state::unix_seconds;

/// What stands for a probability of 0, which has no logarithm that JSON could say.
const LEAST: f32 = -9999.0;

/// What all parts of an answer begin with.
#[derive(Clone, Debug)]
pub struct Head {
    id: String,
    created: u64,
    model: String,
    fingerprint: String,
    pub choices: usize,
    pub logprobs: bool,
    /// Whether a stream ends with the number of tokens.
    pub usage: bool,
}

impl Head {
    /// That of a request's answer, with an id of its own.
    pub fn new(state: &State, request: &ChatRequest) -> Self {
        Self {
            id: format!("chatcmpl-{:016x}{:016x}", random(), random()),
            created: unix_seconds(),
            model: state.id.clone(),
            fingerprint: state.fingerprint.clone(),
            choices: request.choices,
            logprobs: request.logprobs.is_some(),
            usage: request.usage,
        }
    }

    /// An object with these choices.
    pub fn object(&self, kind: &str, choices: Vec<Value>) -> Value {
        json!({
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
            "choices": choices,
        })
    }
}

/// The number of tokens.
pub fn usage(prompt: usize, answer: usize) -> Value {
    json!({
        "prompt_tokens": prompt,
        "completion_tokens": answer,
        "total_tokens": prompt + answer,
    })
}

/// What is said of tokens.
pub fn logprobs(tokens: &[Token]) -> Value {
    let one = |bytes: &[u8], logprob: f32| {
        let logprob = if logprob.is_finite() { logprob } else { LEAST };
        json!({"token": String::from_utf8_lossy(bytes), "logprob": logprob, "bytes": bytes})
    };
    let content: Vec<Value> = tokens
        .iter()
        .map(|token| {
            let mut object = one(&token.bytes, token.logprob);
            let likeliest = token.likeliest.iter();
            object["top_logprobs"] = likeliest.map(|(bytes, it)| one(bytes, *it)).collect();
            object
        })
        .collect();
    json!({"content": content, "refusal": null})
}

/// The choices of an answer that comes whole.
pub struct Choices(Vec<Choice>);

#[derive(Default)]
struct Choice {
    text: String,
    tokens: Vec<Token>,
    reason: &'static str,
}

impl Choices {
    /// Empty ones.
    pub fn new(head: &Head) -> Self {
        Self((0..head.choices).map(|_| Choice::default()).collect())
    }

    /// Takes in what came.
    pub fn take(&mut self, event: Event) {
        match event {
            Event::Text {
                choice,
                text,
                tokens,
            } => {
                self.0[choice].text.push_str(&text);
                self.0[choice].tokens.extend(tokens);
            }
            Event::Ended { choice, reason } => self.0[choice].reason = reason,
            Event::Begun { .. } | Event::Done { .. } => {}
        }
    }

    /// The whole answer.
    pub fn response(&self, head: &Head, prompt_tokens: usize, answer_tokens: usize) -> Value {
        let choices = self.0.iter().enumerate().map(|(index, choice)| {
            json!({
                "index": index,
                "message": {"role": "assistant", "content": choice.text, "refusal": null},
                "logprobs": head.logprobs.then(|| logprobs(&choice.tokens)),
                "finish_reason": choice.reason,
            })
        });
        let mut object = head.object("chat.completion", choices.collect());
        object["usage"] = usage(prompt_tokens, answer_tokens);
        object
    }
}
