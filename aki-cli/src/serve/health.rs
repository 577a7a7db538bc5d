//! `/health`.

use axum::Json;
use axum::extract;
use serde_json::{Value, json};

use super::{ApiError, State};

/// 200 while requests are taken, 503 when the server stops.
pub async fn health(extract::State(state): extract::State<State>) -> Result<Json<Value>, ApiError> {
    match state.is_stopping() {
        true => Err(ApiError::stopping()),
        false => Ok(Json(json!({"status": "ok"}))),
    }
}
