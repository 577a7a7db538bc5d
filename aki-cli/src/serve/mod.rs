//! `aki serve`: a model behind HTTP, as OpenAI's clients ask for it.
//!
//! `worker` is the thread that has the model, and its queue; `chat` answers conversations, `models` says
//! what is served, `page` is for people and `attention` shows it who looks at whom. On a request's way in, `connections` holds clients to their time,
//! `record` tells and counts, `guard` says who may ask, `body` and `fields` read what was sent, `picture` looks
//! at pictures before they are decoded, `fetch` at where they come from.

mod attention;
mod body;
mod chat;
mod connections;
mod error;
mod fetch;
mod fields;
mod guard;
mod health;
mod metrics;
mod models;
mod page;
mod picture;
mod record;
mod state;
mod worker;

use std::io::Write;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use aki_train::folder::ModelFolder;
use anyhow::{Result, anyhow};
use axum::Router;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use tokio::sync::{Notify, oneshot};
use tokio::time::sleep;

use self::connections::{Limited, Usage};
pub use self::error::ApiError;
pub use self::fetch::Fetcher;
pub use self::state::{Limits, Settings, State};
pub use self::worker::{Busy, Cancel, Ticket, Worker};

/// Connections whose client does not take the end of its answer are closed so long after the last answer.
const LAST: Duration = Duration::from_secs(2);

/// How long after its grace an answer may take to end.
const LINGER: Duration = Duration::from_secs(5);

/// Takes a place to listen, so that it is known before a model is read whether it can be had.
///
/// # Errors
///
/// If it cannot.
pub fn listen(addr: &str) -> Result<TcpListener> {
    let listener = TcpListener::bind(addr)
        .map_err(|error| anyhow!("cannot listen on {addr}: {error}; choose with --addr"))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Serves a model until the program is asked to end.
///
/// # Errors
///
/// If the system refuses a thread.
pub fn run(model: ModelFolder, listener: TcpListener, settings: Settings) -> Result<()> {
    let stop = Arc::new(Notify::new());
    let told = stop.clone();
    crate::signals::on_first(move || told.notify_one())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let served = runtime.block_on(serve(model, listener, settings, &stop));
    // Without waiting for a request that is being read.
    runtime.shutdown_background();
    served
}

async fn serve(
    model: ModelFolder,
    listener: TcpListener,
    settings: Settings,
    stop: &Arc<Notify>,
) -> Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let bound = listener.local_addr()?;
    let on_loopback = bound.ip().is_loopback();
    if !on_loopback && settings.key.is_none() {
        say!(
            "warning: whoever reaches {bound} may use the model; set a key with --api-key-file or AKI_API_KEY"
        );
    }
    let listener = Limited::new(listener, settings.connections, settings.patience);
    let state = State::new(model, settings, on_loopback)?;
    let app = router(state.clone()).into_make_service_with_connect_info::<Usage>();
    writeln!(std::io::stdout(), "serving {} on http://{bound}", state.id)?;

    let (end, ended) = oneshot::channel();
    let stop = stop.clone();
    let shutdown = async move {
        stop.notified().await;
        let grace = state.settings.grace;
        record::log(&format!(
            "stopping: answers have {} s left",
            grace.as_secs()
        ));
        state.stop();
        if !state.worker.finish(Box::pin(sleep(grace)), LINGER).await {
            let seconds = LINGER.as_secs();
            record::log(&format!(
                "the model is still at work {seconds} s after that: ended all the same"
            ));
        }
        end.send(()).ok();
    };
    let served = axum::serve(listener, app).with_graceful_shutdown(shutdown);
    let late = Box::pin(async {
        ended.await.ok();
        sleep(LAST).await;
    });
    futures_util::future::select(served.into_future(), late).await;
    Ok(())
}

fn router(state: State) -> Router {
    Router::new()
        .merge(page::routes())
        .route("/api/attention", post(attention::attention))
        .route("/health", get(health::health))
        .route("/metrics", get(metrics::metrics))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{id}", get(models::one))
        .route("/v1/chat/completions", post(chat::completions))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(from_fn_with_state(state.clone(), guard::guard))
        .layer(from_fn_with_state(state.clone(), record::record))
        .with_state(state)
}

async fn no_such_path(uri: Uri) -> ApiError {
    let path: String = uri.path().chars().take(100).collect();
    ApiError::new(StatusCode::NOT_FOUND, format!("there is no {path} here")).code("unknown_url")
}

async fn no_such_method(method: Method) -> ApiError {
    let message = format!("{method} is not answered here");
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, message).code("method_not_allowed")
}
