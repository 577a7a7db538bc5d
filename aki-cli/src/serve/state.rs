//! What all requests share.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aki_train::folder::{FolderConfig, ModelFolder};
use anyhow::Result;

use super::Worker;

/// How the server was asked to be.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What the model is called.
    pub name: String,
    /// Where to listen.
    pub addr: String,
    /// Requests that may wait.
    pub queue: usize,
    /// How long answers may go on when the server stops.
    pub grace: Duration,
}

/// What all requests share.
#[derive(Clone)]
pub struct State(Arc<Inner>);

pub struct Inner {
    /// The model's name.
    pub id: String,
    /// When serving began, in Unix seconds.
    pub created: u64,
    /// What the model's `config.json` says.
    pub config: FolderConfig,
    /// Who has the model.
    pub worker: Worker,
    /// How the server was asked to be.
    pub settings: Settings,
    stopping: AtomicBool,
}

impl State {
    /// Hands the model to its thread.
    ///
    /// # Errors
    ///
    /// If there can be no thread.
    pub fn new(model: ModelFolder, settings: Settings) -> Result<Self> {
        let config = model.config.clone();
        Ok(Self(Arc::new(Inner {
            id: settings.name.clone(),
            created: unix_seconds(),
            config,
            worker: Worker::start(model, settings.queue)?,
            settings,
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
