//! Reading a request's body: whole, not too large, and not too slowly.

use std::time::Duration;

use axum::extract::Request;
use axum::http::{StatusCode, header};
use futures_util::StreamExt;
use tokio::sync::Semaphore;

use super::{ApiError, Limits, State};

/// Of a body that is too large so many bytes more are read and thrown away: many clients look for an answer
/// only when they have sent all.
const DRAINED: usize = 1 << 27;

/// Bodies parsed at a time: meanwhile each takes several times its size.
static PARSING: Semaphore = Semaphore::const_new(2);

/// What a request's body asks for.
///
/// # Errors
///
/// As [`read`], and what `parse` says.
pub async fn parsed<T: Send + 'static>(
    state: &State,
    request: Request,
    parse: fn(&[u8], &Limits) -> Result<T, ApiError>,
) -> Result<T, ApiError> {
    let settings = &state.settings;
    let bytes = read(request, settings.max_body, settings.patience).await?;
    let state = state.clone();
    // Megabytes of JSON and base64 take a while.
    let turn = PARSING.acquire().await;
    let parsed = tokio::task::spawn_blocking(move || {
        // Held to the end, even where the client leaves.
        let _turn = turn;
        parse(&bytes, &state.limits())
    });
    parsed
        .await
        .map_err(|_| ApiError::internal("the request cannot be read; the server's log says how"))?
}

/// The body of a request.
///
/// # Errors
///
/// 413 if it has more than `limit` bytes, 408 if it has not come within `patience`, 400 if it broke off.
pub async fn read(request: Request, limit: usize, patience: Duration) -> Result<Vec<u8>, ApiError> {
    let headers = request.headers();
    let length = headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    // Such a client waits for leave to send it.
    let asks = headers.contains_key(header::EXPECT);
    if length.is_some_and(|length| length > limit && asks) {
        return Err(too_large(limit));
    }
    let whole = async {
        let mut body = request.into_body().into_data_stream();
        let (mut bytes, mut seen) = (Vec::new(), 0);
        while let Some(chunk) = body.next().await {
            let chunk = chunk
                .map_err(|error| ApiError::bad(format!("the body did not come whole: {error}")))?;
            seen += chunk.len();
            match seen {
                _ if seen <= limit => bytes.extend_from_slice(&chunk),
                _ if seen <= limit + DRAINED => bytes = Vec::new(),
                _ => break,
            }
        }
        match seen <= limit {
            true => Ok(bytes),
            false => Err(too_large(limit)),
        }
    };
    tokio::time::timeout(patience, whole)
        .await
        .unwrap_or_else(|_| {
            let seconds = patience.as_secs();
            Err(ApiError::new(
                StatusCode::REQUEST_TIMEOUT,
                format!("the body did not come within {seconds} s"),
            )
            .code("request_timeout"))
        })
}

fn too_large(limit: usize) -> ApiError {
    let message = format!("the body has more than the {limit} bytes allowed; see --max-body");
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message).code("body_too_large")
}
