//! Errors in the form that OpenAI's clients read.

use aki_data::DataError;
use aki_train::TrainError;
use aki_train::answer::NO_NUMBERS;
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// Seconds after which a refused client should ask again.
const RETRY_AFTER: u64 = 2;

/// `{"error": {"message", "type", "param", "code"}}` with its status.
#[derive(Clone, Debug)]
pub struct ApiError {
    /// The HTTP status.
    pub status: StatusCode,
    /// What is wrong and what would be right.
    pub message: String,
    /// The parameter at fault, as `messages[0].content[1].image_url.url`.
    pub param: Option<String>,
    /// A word for programs.
    pub code: Option<&'static str>,
}

impl ApiError {
    /// An error with its status.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            param: None,
            code: None,
        }
    }

    /// A request that cannot be granted: 400.
    pub fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 400, and which parameter is at fault.
    pub fn param(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            param: Some(param.into()),
            ..Self::bad(message)
        }
    }

    /// Something went wrong here: 500.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    /// The queue is full: 429.
    pub fn busy(room: usize) -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            format!("an answer is being made and {room} more wait, which is as many as may; ask again later"),
        )
        .code("queue_full")
    }

    /// The server stops: 503.
    pub fn stopping() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the server is stopping and takes no more requests",
        )
        .code("stopping")
    }

    /// The time for an answer was over before its first word, or nobody waits for it any more: 503.
    pub fn no_time() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the time for this answer was over before it began; see --time-limit",
        )
        .code("time_limit")
    }

    /// The prompt is too long: 400.
    pub fn too_long(message: impl Into<String>) -> Self {
        Self::param("messages", message).code("context_length_exceeded")
    }

    /// Weights or activations overflowed: 500.
    pub fn no_numbers() -> Self {
        Self::internal(format!("{NO_NUMBERS}; serve with --dtype f32"))
    }

    /// The same with a word for programs.
    #[must_use]
    pub fn code(self, code: &'static str) -> Self {
        Self {
            code: Some(code),
            ..self
        }
    }

    /// What is sent.
    pub fn body(&self) -> Value {
        let kind = match self.status.as_u16() {
            429 => "rate_limit_error",
            500.. => "server_error",
            _ => "invalid_request_error",
        };
        json!({"error": {
            "message": self.message,
            "type": kind,
            "param": self.param,
            "code": self.code,
        }})
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body())).into_response();
        let headers = response.headers_mut();
        match self.status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, RETRY_AFTER.into());
            }
            StatusCode::UNAUTHORIZED => {
                let scheme = HeaderValue::from_static("Bearer");
                headers.insert(header::WWW_AUTHENTICATE, scheme);
            }
            // What is left of the body is not read.
            StatusCode::REQUEST_TIMEOUT | StatusCode::PAYLOAD_TOO_LARGE => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        response
    }
}

impl From<TrainError> for ApiError {
    fn from(error: TrainError) -> Self {
        if let TrainError::TooLong { .. } = error {
            return Self::too_long(error.to_string());
        }
        let message = format!("{:#}", anyhow::Error::from(error));
        Self::bad(message)
    }
}

impl From<DataError> for ApiError {
    fn from(error: DataError) -> Self {
        TrainError::from(error).into()
    }
}
