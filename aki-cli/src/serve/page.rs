//! The page at `/`.

use axum::response::Html;

/// The page.
pub async fn page() -> Html<&'static str> {
    Html("aki serve")
}
