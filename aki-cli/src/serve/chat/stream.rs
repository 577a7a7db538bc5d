//! A chat completion as server-sent events.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::{Value, json};

use super::answer::Event;
use super::response::{Head, logprobs, usage};
use super::{Incoming, next};
use crate::serve::record::Record;
use crate::serve::{ApiError, Ticket};

/// An answer that is being made. Dropped with its stream, it is cancelled.
pub struct Running {
    pub events: Incoming,
    pub ticket: Ticket,
    pub record: Arc<Record>,
}

/// The stream: the role, parts of the text, why it ended, the number of tokens if asked for, `[DONE]`.
/// What goes wrong on the way comes as an error in OpenAI's form, and nothing after it.
pub fn response(head: Head, prompt_tokens: usize, running: Running) -> Response {
    let role = json!({"role": "assistant", "content": ""});
    let roles = (0..head.choices).map(|at| head.chunk(at, role.clone(), Value::Null, None));
    let parts = Parts {
        ready: roles.map(|chunk| chunk.to_string()).collect(),
        head,
        prompt_tokens,
        running: Some(running),
    };
    let events = stream::unfold(parts, |mut parts| async {
        let data = parts.next().await?;
        let event = sse::Event::default().data(data);
        Some((Ok::<_, Infallible>(event), parts))
    });
    // A proxy may close what is silent while a long prompt is read.
    Sse::new(events)
        .keep_alive(KeepAlive::default())
        .into_response()
}

struct Parts {
    head: Head,
    prompt_tokens: usize,
    ready: VecDeque<String>,
    /// None when nothing more comes.
    running: Option<Running>,
}

impl Parts {
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(data) = self.ready.pop_front() {
                return Some(data);
            }
            let running = self.running.as_mut()?;
            let event = next(&mut running.events, &running.ticket).await;
            self.take(event);
        }
    }

    fn take(&mut self, event: Result<Event, ApiError>) {
        let chunk = match event {
            Ok(Event::Begun { .. }) => return,
            Ok(Event::Text {
                choice,
                text,
                tokens,
            }) => {
                let said = self.head.logprobs.then(|| logprobs(&tokens));
                let delta = json!({"content": text});
                self.head.chunk(choice, delta, said.into(), None)
            }
            Ok(Event::Ended { choice, reason }) => {
                self.head
                    .chunk(choice, json!({}), Value::Null, Some(reason))
            }
            Ok(Event::Done { answer_tokens }) => {
                if self.head.usage {
                    let mut chunk = self.head.object(CHUNK, vec![]);
                    chunk["usage"] = usage(self.prompt_tokens, answer_tokens);
                    self.ready.push_back(chunk.to_string());
                }
                self.ready.push_back("[DONE]".to_owned());
                if let Some(running) = self.running.take() {
                    running.record.tokens(self.prompt_tokens, answer_tokens);
                    running.record.whole();
                }
                return;
            }
            Err(error) => {
                if let Some(running) = self.running.take() {
                    running.record.failed(error.status);
                }
                error.body()
            }
        };
        self.ready.push_back(chunk.to_string());
    }
}

const CHUNK: &str = "chat.completion.chunk";

impl Head {
    /// A part of one choice.
    fn chunk(&self, index: usize, delta: Value, logprobs: Value, reason: Option<&str>) -> Value {
        let choice = json!({
            "index": index, "delta": delta, "logprobs": logprobs, "finish_reason": reason,
        });
        let mut chunk = self.object(CHUNK, vec![choice]);
        if self.usage {
            chunk["usage"] = Value::Null;
        }
        chunk
    }
}
