//! `/v1/models`.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{self, Path};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{ApiError, State};

/// The models there are: one.
pub async fn list(extract::State(state): extract::State<State>) -> Json<Value> {
    Json(json!({"object": "list", "data": [object(&state)]}))
}

/// The one, by its id.
pub async fn one(
    extract::State(state): extract::State<State>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, ApiError> {
    let Ok(Path(id)) = id else {
        return Err(ApiError::bad("the model's name is not UTF-8"));
    };
    check(&state.id, &id)?;
    Ok(Json(object(&state)))
}

/// Whether the model asked for is the one served.
///
/// # Errors
///
/// 404 if not.
pub fn check(served: &str, asked: &str) -> Result<(), ApiError> {
    if asked == served {
        return Ok(());
    }
    let asked: String = asked.chars().take(100).collect();
    let error = ApiError {
        param: Some("model".to_owned()),
        ..ApiError::new(
            StatusCode::NOT_FOUND,
            format!("the model {asked:?} is not served here; {served:?} is"),
        )
    };
    Err(error.code("model_not_found"))
}

fn object(state: &State) -> Value {
    json!({"id": state.id, "object": "model", "created": state.created, "owned_by": "aki",
        // For the page, which shows pictures as the model sees them.
        "exif_orientation": state.settings.upright})
}
