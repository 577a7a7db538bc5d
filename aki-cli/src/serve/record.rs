//! One line a request in the log, and its counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::time::Instant;

use axum::extract::{self, ConnectInfo, Request};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;

use super::State;
use super::connections::{InUse, Usage};

/// Paths that are counted by their names.
const PATHS: [&str; 6] = [
    "/",
    "/health",
    "/metrics",
    "/v1/models",
    "/v1/chat/completions",
    "/api/attention",
];

/// A path in the log is cut off behind so many characters.
const PATH_LEN: usize = 100;

/// A request on its way. It is told and counted when the last part of its answer has been sent, or when its
/// client has left.
pub struct Record {
    state: State,
    method: String,
    path: String,
    begun: Instant,
    /// 0 until there is one.
    status: AtomicU16,
    streams: AtomicBool,
    prompt_tokens: AtomicUsize,
    answer_tokens: AtomicUsize,
    _use: InUse,
}

impl Record {
    /// When the request came.
    pub fn begun(&self) -> Instant {
        self.begun
    }

    /// The tokens of prompt and answers so far.
    pub fn tokens(&self, prompt: usize, answer: usize) {
        self.prompt_tokens.store(prompt, Ordering::Relaxed);
        self.answer_tokens.store(answer, Ordering::Relaxed);
    }

    /// The answer begins, and is not whole until [`Self::whole`].
    pub fn streams(&self) {
        self.streams.store(true, Ordering::Relaxed);
    }

    /// The stream ended with an error.
    pub fn failed(&self, status: StatusCode) {
        self.status.store(status.as_u16(), Ordering::Relaxed);
        self.whole();
    }

    /// The stream has come to its end.
    pub fn whole(&self) {
        self.streams.store(false, Ordering::Relaxed);
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let metrics = &self.state.metrics;
        let (prompt, answer) = (*self.prompt_tokens.get_mut(), *self.answer_tokens.get_mut());
        let tokens = match prompt {
            0 => String::new(),
            _ => format!(" {prompt}+{answer} tokens"),
        };
        let status = *self.status.get_mut();
        let told = match (status, *self.streams.get_mut()) {
            (0, _) | (_, true) => {
                metrics.cancelled.inc();
                "left".to_owned()
            }
            (status, false) => status.to_string(),
        };
        if status == 429 {
            metrics.refused.inc();
        }
        // "left" is counted as what other servers call it, 499.
        let counted = if told == "left" { 499 } else { status };
        let known = PATHS.iter().find(|known| **known == self.path);
        let of_models = self
            .path
            .strip_prefix("/v1/models/")
            .map(|_| "/v1/models/{id}");
        metrics.answered(known.copied().or(of_models).unwrap_or("other"), counted);
        let path: String = self.path.chars().take(PATH_LEN).collect();
        let seconds = self.begun.elapsed().as_secs_f64();
        log(&format!(
            "{} {path} {told}{tokens} {seconds:.3} s",
            self.method
        ));
    }
}

/// Writes a line to stderr. Where nobody reads it any more, the server goes on all the same.
pub fn log(line: &str) {
    say!("{line}");
}

/// Has a request told and counted.
pub async fn record(
    extract::State(state): extract::State<State>,
    ConnectInfo(usage): ConnectInfo<Usage>,
    mut request: Request,
    next: Next,
) -> Response {
    let record = Arc::new(Record {
        state,
        method: request.method().to_string(),
        path: request.uri().path().to_owned(),
        begun: Instant::now(),
        status: AtomicU16::new(0),
        streams: AtomicBool::new(false),
        prompt_tokens: AtomicUsize::new(0),
        answer_tokens: AtomicUsize::new(0),
        _use: usage.begin(),
    });
    request.extensions_mut().insert(record.clone());
    let response = next.run(request).await;
    record
        .status
        .store(response.status().as_u16(), Ordering::Relaxed);
    response
}
