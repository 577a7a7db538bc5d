//! `aki serve`: a model behind HTTP, as OpenAI's clients ask for it.
//!
//! `worker` is the thread that has the model, and its queue; `chat` answers conversations, `models` says
//! what is served, `page` is for people; `guard` says who may ask, `body` how a request's body is read,
//! `connections` how clients are held to their time, and `metrics` counts.

mod error;
mod health;
mod models;
mod page;
mod state;
mod worker;

use std::time::Duration;

use aki_train::folder::ModelFolder;
use anyhow::{Context, Result};
use axum::Router;
use axum::http::Uri;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::Notify;

pub use error::ApiError;
pub use state::{Settings, State};
pub use worker::{Busy, Cancel, Ticket, Worker};

/// Serves a model until the program is asked to end.
///
/// # Errors
///
/// If the address cannot be had, or the system refuses a thread.
pub fn run(model: ModelFolder, settings: Settings) -> Result<()> {
    let stop = std::sync::Arc::new(Notify::new());
    let told = stop.clone();
    crate::signals::on_first(move || told.notify_one())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let addr = &settings.addr;
        let listener = TcpListener::bind(addr.as_str())
            .await
            .with_context(|| format!("cannot listen on {addr}"))?;
        let bound = listener.local_addr()?;
        let grace = settings.grace;
        let state = State::new(model, settings)?;
        println!("serving {} on http://{bound}", state.id);
        let app = router(state.clone());
        let shutdown = async move {
            stop.notified().await;
            state.stop();
            let patience = std::pin::pin!(tokio::time::sleep(grace));
            state.worker.finish(patience).await;
        };
        axum::serve(listener, app)
            .with_graceful_shutdown(shutdown)
            .await?;
        Ok(())
    })
}

fn router(state: State) -> Router {
    Router::new()
        .route("/", get(page::page))
        .route("/health", get(health::health))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{id}", get(models::one))
        .fallback(no_such_path)
        .with_state(state)
}

async fn no_such_path(uri: Uri) -> ApiError {
    let mut error = ApiError::bad(format!("there is no {}", uri.path()));
    error.status = axum::http::StatusCode::NOT_FOUND;
    error.code("unknown_url")
}

/// Whole seconds as typed.
pub fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
