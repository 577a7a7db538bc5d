//! Calls to an OpenAI-compatible address.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aki_data::Role;
use anyhow::{Context, Result, bail};
use reqwest::blocking::{Client, Response};
use reqwest::header::RETRY_AFTER;
use reqwest::{StatusCode, Url};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::address::{KEYS, address, key};
use crate::commands::NO_CLIENT;

/// Times that a call is made before it is given up.
const TRIES: u32 = 6;

/// A judge that thinks may take long.
const TIMEOUT: Duration = Duration::from_mins(3);

/// The longest pause between two tries.
const LONGEST: Duration = Duration::from_mins(2);

/// How often it is looked whether to stop.
const PAUSE: Duration = Duration::from_millis(50);

/// What an address answers to a call.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reply {
    /// Empty if it has none: a filter or the model itself may refuse so.
    pub text: String,
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
}

/// What comes of a call.
pub enum Outcome {
    Said(Reply),
    /// This conversation is refused, others may not be, and why.
    Refused(String),
    Stopped,
}

/// Why there is no reply.
enum Fault {
    /// It may do better later, after so long.
    Later(String, Option<Duration>),
    /// It will not with this conversation.
    Refused(String),
    /// It will not with any.
    Never(String),
}

/// A model at an address.
pub struct Caller {
    client: Client,
    /// With `/chat/completions`.
    pub url: Url,
    pub model: String,
    /// Never shown.
    key: Option<String>,
    /// Whether the model has been found to take no temperature.
    no_temperature: AtomicBool,
}

impl Caller {
    pub fn new(url: &str, model: &str) -> Result<Self> {
        let url = address(url)?;
        Ok(Self {
            client: Client::builder()
                .timeout(TIMEOUT)
                .build()
                .context(NO_CLIENT)?,
            key: key(&url, KEYS.map(std::env::var_os))?,
            url,
            model: model.to_owned(),
            no_temperature: AtomicBool::new(false),
        })
    }

    /// Whether that has been found; the model is asked without then.
    pub fn takes_no_temperature(&self) -> bool {
        self.no_temperature.load(Ordering::Relaxed)
    }

    /// Messages as they are sent.
    pub fn messages(messages: &[(Role, String)]) -> Value {
        let message = |(role, text): &(Role, String)| json!({"role": role.name(), "content": text});
        messages.iter().map(message).collect()
    }

    /// The reply to a conversation. What may go by (too many requests, a server's own fault, a broken connection) is
    /// tried again, after the pause that the server asks for or after longer and longer ones.
    pub fn call(
        &self,
        messages: &Value,
        temperature: f64,
        stopped: &dyn Fn() -> bool,
    ) -> Result<Outcome> {
        let mut pause = Duration::from_secs(1);
        for left in (0..TRIES).rev() {
            if stopped() {
                return Ok(Outcome::Stopped);
            }
            let (why, asked) = match self.once(messages, temperature) {
                Ok(reply) => return Ok(Outcome::Said(reply)),
                Err(Fault::Refused(why)) => return Ok(Outcome::Refused(why)),
                Err(Fault::Never(why)) => bail!("the judge at {} cannot be asked: {why}", self.url),
                Err(Fault::Later(why, asked)) => (why, asked),
            };
            if left == 0 {
                let url = &self.url;
                let message = format!("the judge at {url} gave no reply in {TRIES} tries: {why}");
                // No mistake of the user's.
                return Err(std::io::Error::other(message).into());
            }
            let mut wait = asked.unwrap_or(pause).min(LONGEST);
            pause *= 2;
            while !wait.is_zero() && !stopped() {
                let part = wait.min(PAUSE);
                std::thread::sleep(part);
                wait -= part;
            }
        }
        Ok(Outcome::Stopped)
    }

    /// Some models refuse any temperature; they are asked without from then on.
    fn once(&self, messages: &Value, temperature: f64) -> Result<Reply, Fault> {
        if self.takes_no_temperature() {
            return self.send(messages, None);
        }
        match self.send(messages, Some(temperature)) {
            Err(Fault::Refused(why)) if why.to_lowercase().contains("temperature") => {
                let result = self.send(messages, None);
                // If this is refused as well, the word may be the question's.
                self.no_temperature
                    .fetch_or(result.is_ok(), Ordering::Relaxed);
                result
            }
            result => result,
        }
    }

    fn send(&self, messages: &Value, temperature: Option<f64>) -> Result<Reply, Fault> {
        let mut body = json!({"model": self.model, "messages": messages});
        if let Some(temperature) = temperature {
            body["temperature"] = json!(temperature);
        }
        let mut request = self.client.post(self.url.clone()).json(&body);
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        let fault = |error: reqwest::Error| {
            let is_ours = error.is_builder();
            let error = anyhow::Error::from(error.without_url());
            let why = self.hidden(format!("{error:#}"));
            match is_ours {
                true => Fault::Never(why),
                false => Fault::Later(why, None),
            }
        };
        let response = request.send().map_err(fault)?;
        let status = response.status();
        let asked = after(&response);
        let text = response.text().map_err(fault)?;
        if status.is_success() {
            // A gateway's page, say.
            return read(&text).ok_or_else(|| {
                Fault::Later(
                    self.hidden(format!("no chat completion: {}", short(&text))),
                    None,
                )
            });
        }
        let told = serde_json::from_str::<Value>(&text).ok();
        let told = told.and_then(|it| Some(it["error"]["message"].as_str()?.to_owned()));
        let told = self.hidden(format!(
            "{status}: {}",
            told.unwrap_or_else(|| short(&text))
        ));
        Err(match status {
            StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS => {
                Fault::Later(told, asked)
            }
            // A filter's, say, or one that is too long.
            StatusCode::BAD_REQUEST
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::UNPROCESSABLE_ENTITY => Fault::Refused(told),
            status if status.is_server_error() => Fault::Later(told, asked),
            _ => Fault::Never(told),
        })
    }

    /// A message without the key, if a server should say it back.
    fn hidden(&self, message: String) -> String {
        match &self.key {
            Some(key) => message.replace(key.as_str(), "[key]"),
            None => message,
        }
    }
}

/// How long a server asks to wait, if it says so in seconds.
fn after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    Duration::try_from_secs_f64(seconds.trim().parse().ok()?).ok()
}

/// A chat completion; none if it is something else.
fn read(text: &str) -> Option<Reply> {
    let value: Value = serde_json::from_str(text).ok()?;
    let choices = value["choices"].as_array()?;
    let text = choices
        .first()
        .and_then(|it| it["message"]["content"].as_str());
    let tokens = |name: &str| value["usage"][name].as_u64().unwrap_or(0);
    Some(Reply {
        text: text.unwrap_or_default().to_owned(),
        prompt_tokens: tokens("prompt_tokens"),
        completion_tokens: tokens("completion_tokens"),
    })
}

fn short(text: &str) -> String {
    text.trim().chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_completion_may_be_without_text() {
        let text = |body: Value| read(&body.to_string()).map(|it| (it.text, it.prompt_tokens));
        let usage = json!({"prompt_tokens": 7});
        let said = |message: Value| json!({"choices": [{"message": message}], "usage": usage});
        for (body, expected) in [
            (said(json!({"content": "1"})), "1"),
            (said(json!({"content": null, "refusal": "no"})), ""),
            (said(json!({})), ""),
            (json!({"choices": [], "usage": usage}), ""),
        ] {
            assert_eq!(text(body), Some((expected.to_owned(), 7)));
        }
        assert_eq!(text(json!({"error": "busy"})), None);
        assert!(read("<html>").is_none());
    }

    #[test]
    fn what_cannot_be_sent_is_not_tried_again() {
        let mut caller = Caller::new("http://localhost:1/v1", "wise").expect("an address");
        caller.key = Some("sec\nret".to_owned());
        let told = caller.call(&json!([]), 0.0, &|| false).err();
        let told = told.expect("no header").to_string();
        let expected =
            "the judge at http://localhost:1/v1/chat/completions cannot be asked: builder error";
        assert!(told.starts_with(expected), "{told}");
        assert!(!told.contains("sec"), "{told}");
    }
}
