//! Calls to an OpenAI-compatible address.

use std::time::Duration;

use aki_data::Role;
use anyhow::{Result, bail};
use reqwest::StatusCode;
use reqwest::blocking::{Client, Response};
use reqwest::header::RETRY_AFTER;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

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
    pub text: String,
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
}

/// Why there is no reply.
enum Fault {
    /// It may do better later, after so long.
    Later(String, Option<Duration>),
    /// It will not.
    Never(String),
}

/// A model at an address.
pub struct Caller {
    client: Client,
    /// With `/chat/completions`.
    url: String,
    pub model: String,
    /// Never shown.
    key: Option<String>,
}

impl Caller {
    pub fn new(url: &str, model: &str) -> Result<Self> {
        let url = url.trim_end_matches('/');
        if !["http://", "https://"].iter().any(|it| url.starts_with(it)) {
            bail!("--judge must be an address as http://localhost:8000/v1");
        }
        let key = ["AKI_JUDGE_KEY", "OPENAI_API_KEY"].map(|name| std::env::var(name).ok());
        Ok(Self {
            client: Client::builder().timeout(TIMEOUT).build()?,
            url: format!("{url}/chat/completions"),
            model: model.to_owned(),
            key: key.into_iter().flatten().find(|key| !key.is_empty()),
        })
    }

    /// Messages as they are sent.
    pub fn messages(messages: &[(Role, String)]) -> Value {
        let message = |(role, text): &(Role, String)| json!({"role": role.name(), "content": text});
        messages.iter().map(message).collect()
    }

    /// The reply to a conversation; none if it was stopped. What may go by (too many requests, a server's own
    /// fault, a broken connection) is tried again, after the pause that the server asks for or after longer and longer ones.
    pub fn call(
        &self,
        messages: &Value,
        temperature: f64,
        stopped: &dyn Fn() -> bool,
    ) -> Result<Option<Reply>> {
        let mut pause = Duration::from_secs(1);
        for left in (0..TRIES).rev() {
            if stopped() {
                return Ok(None);
            }
            let (why, asked) = match self.once(messages, temperature) {
                Ok(reply) => return Ok(Some(reply)),
                Err(Fault::Never(why)) => bail!("the judge at {} refuses: {why}", self.url),
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
        Ok(None)
    }

    fn once(&self, messages: &Value, temperature: f64) -> Result<Reply, Fault> {
        let body = json!({
            "model": self.model,
            "messages": messages,
            "temperature": temperature,
        });
        let mut request = self.client.post(&self.url).json(&body);
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        let later = |error: reqwest::Error| {
            let error = anyhow::Error::from(error.without_url());
            Fault::Later(self.hidden(format!("{error:#}")), None)
        };
        let response = request.send().map_err(later)?;
        let status = response.status();
        let asked = after(&response);
        let text = response.text().map_err(later)?;
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
        match status {
            StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS => {
                Err(Fault::Later(told, asked))
            }
            status if status.is_server_error() => Err(Fault::Later(told, asked)),
            _ => Err(Fault::Never(told)),
        }
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

fn read(text: &str) -> Option<Reply> {
    let value: Value = serde_json::from_str(text).ok()?;
    let tokens = |name: &str| value["usage"][name].as_u64().unwrap_or(0);
    Some(Reply {
        text: value["choices"][0]["message"]["content"]
            .as_str()?
            .to_owned(),
        prompt_tokens: tokens("prompt_tokens"),
        completion_tokens: tokens("completion_tokens"),
    })
}

fn short(text: &str) -> String {
    text.trim().chars().take(200).collect()
}
