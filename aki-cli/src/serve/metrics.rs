//! `/metrics`, in Prometheus' text.

use axum::extract;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::{ApiError, State};

/// The format of `OpenMetrics`, which Prometheus reads.
const FORMAT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What is counted.
pub struct Metrics {
    registry: Registry,
    requests: Family<[(&'static str, String); 2], Counter>,
    waiting: Gauge,
    running: Gauge,
    /// Requests refused since the queue was full.
    pub refused: Counter,
    /// Requests whose client left before the answer's end.
    pub cancelled: Counter,
    /// Tokens of prompts, those of pictures included.
    pub prompt_tokens: Counter,
    /// Tokens of answers.
    pub answer_tokens: Counter,
    /// Seconds from a request to its answer's first token.
    pub first_token: Histogram,
    /// Seconds from token to token.
    pub token: Histogram,
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("aki");
        // From 1 ms to 131 s, and from 0.1 ms to 13 s.
        let metrics = Self {
            requests: Family::default(),
            waiting: Gauge::default(),
            running: Gauge::default(),
            refused: Counter::default(),
            cancelled: Counter::default(),
            prompt_tokens: Counter::default(),
            answer_tokens: Counter::default(),
            first_token: Histogram::new(exponential_buckets(0.001, 2.0, 18)),
            token: Histogram::new(exponential_buckets(0.000_1, 2.0, 18)),
            registry: Registry::default(),
        };
        let m = &metrics;
        registry.register("requests", "Requests answered", m.requests.clone());
        registry.register("queue_length", "Requests that wait", m.waiting.clone());
        registry.register(
            "running",
            "Requests whose answer is being made",
            m.running.clone(),
        );
        registry.register(
            "refused",
            "Requests refused since the queue was full",
            m.refused.clone(),
        );
        registry.register(
            "cancelled",
            "Requests whose client left",
            m.cancelled.clone(),
        );
        registry.register("prompt_tokens", "Tokens read", m.prompt_tokens.clone());
        registry.register("answer_tokens", "Tokens made", m.answer_tokens.clone());
        registry.register_with_unit(
            "time_to_first_token",
            "From a request to its first token",
            Unit::Seconds,
            m.first_token.clone(),
        );
        registry.register_with_unit(
            "time_per_token",
            "From token to token",
            Unit::Seconds,
            m.token.clone(),
        );
        Self {
            registry,
            ..metrics
        }
    }

    /// Counts a request that was answered.
    pub fn answered(&self, path: &str, status: u16) {
        let labels = [("path", path.to_owned()), ("status", status.to_string())];
        self.requests.get_or_create(&labels).inc();
    }
}

/// All counts so far.
pub async fn metrics(extract::State(state): extract::State<State>) -> Result<Response, ApiError> {
    let metrics = &state.metrics;
    let (waiting, running) = state.worker.load();
    metrics.waiting.set(waiting as i64);
    metrics.running.set(running as i64);
    let mut text = String::new();
    encode(&mut text, &metrics.registry)
        .map_err(|_| ApiError::internal("the counts cannot be written"))?;
    Ok(([(header::CONTENT_TYPE, FORMAT)], text).into_response())
}
