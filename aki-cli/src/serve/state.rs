//! What all requests share.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aki_train::folder::ModelFolder;
use anyhow::Result;

use super::fetch::Fetcher;
use super::metrics::Metrics;
use super::picture::Encoded;
use super::{ApiError, Worker};

/// How the server was asked to be.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What the model is called.
    pub name: String,
    /// The hash of the key that clients must have, if they must have one.
    pub key: Option<blake3::Hash>,
    /// Requests that may wait.
    pub queue: usize,
    /// Connections at a time.
    pub connections: usize,
    /// Bytes of a request.
    pub max_body: usize,
    /// Pictures of a request.
    pub max_pictures: usize,
    /// Fetches pictures from hosts that are allowed, if any is.
    pub fetcher: Option<Fetcher>,
    /// Tokens of an answer.
    pub max_tokens: usize,
    /// Tokens of a prompt, those of all choices together.
    pub max_prompt: usize,
    /// Whether pictures are turned as their EXIF tags say.
    pub upright: bool,
    /// How long an answer may take, from when its turn comes.
    pub time_limit: Duration,
    /// How long a request may take to come in.
    pub patience: Duration,
    /// How long answers may go on when the server stops.
    pub grace: Duration,
}

/// What a request is held against.
#[derive(Clone, Copy, Debug)]
pub struct Limits<'a> {
    /// The model's name.
    pub id: &'a str,
    /// Pictures of a request.
    pub max_pictures: usize,
    /// Says which addresses of pictures are fetched.
    pub fetcher: Option<&'a Fetcher>,
    /// Tokens of an answer.
    pub max_tokens: usize,
    /// Whether pictures are turned as their EXIF tags say.
    pub upright: bool,
}

/// What all requests share.
#[derive(Clone)]
pub struct State(Arc<Inner>);

/// What is behind a [`State`].
pub struct Inner {
    /// The model's name.
    pub id: String,
    /// When serving began, in Unix seconds.
    pub created: u64,
    /// Changes with the model's shape and with the program's version.
    pub fingerprint: String,
    /// Who has the model.
    pub worker: Worker,
    /// What is counted.
    pub metrics: Metrics,
    /// How the server was asked to be.
    pub settings: Settings,
    /// Whether only this machine reaches the server.
    pub on_loopback: bool,
    stopping: AtomicBool,
}

impl State {
    /// Hands the model to its thread.
    ///
    /// # Errors
    ///
    /// If there can be no thread.
    pub fn new(model: ModelFolder, settings: Settings, on_loopback: bool) -> Result<Self> {
        let known = format!("{} {:?}", env!("CARGO_PKG_VERSION"), model.config);
        let hash = blake3::hash(known.as_bytes()).to_hex();
        Ok(Self(Arc::new(Inner {
            id: settings.name.clone(),
            created: unix_seconds(),
            fingerprint: format!("fp_{}", &hash[..10]),
            worker: Worker::start(model, settings.queue)?,
            metrics: Metrics::new(),
            settings,
            on_loopback,
            stopping: AtomicBool::new(false),
        })))
    }
}

impl Inner {
    /// Takes no more requests.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Whether no more requests are taken.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// A request's pictures, those at addresses fetched.
    ///
    /// # Errors
    ///
    /// As [`Fetcher::fetch`]; 429 if the queue is full.
    pub async fn fetched(&self, pictures: Vec<Encoded>) -> Result<Vec<Encoded>, ApiError> {
        match &self.settings.fetcher {
            // Nothing is fetched for who would be refused.
            Some(_) if self.worker.is_full() => Err(self.worker.refusal()),
            Some(fetcher) => fetcher.fetch(pictures).await,
            None => Ok(pictures),
        }
    }

    /// What a request is held against.
    pub fn limits(&self) -> Limits<'_> {
        Limits {
            id: &self.id,
            max_pictures: self.settings.max_pictures,
            fetcher: self.settings.fetcher.as_ref(),
            max_tokens: self.settings.max_tokens,
            upright: self.settings.upright,
        }
    }
}

impl Deref for State {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

/// Now, in Unix seconds.
pub fn unix_seconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
