//! The one thread that has the model, and the queue before it.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use aki_train::folder::ModelFolder;
use anyhow::Result;
use futures_util::future::Either;
use tokio::sync::{Notify, oneshot};

use super::ApiError;
use super::record::log;

/// What is done with the model.
type Job = Box<dyn FnOnce(&ModelFolder, &Cancel) + Send>;

/// Whether a job should end, and why. A job that takes long asks it now and then.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicU8>);

const LEFT: u8 = 1;
const STOPPING: u8 = 2;

impl Cancel {
    /// Whether the job should end.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }

    fn set(&self, why: u8) {
        // The first reason stays.
        self.0
            .compare_exchange(0, why, Ordering::Relaxed, Ordering::Relaxed)
            .ok();
    }
}

/// No place in the queue is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

/// Hands jobs to the thread that has the model. One is done at a time, in the order they came.
#[derive(Clone)]
pub struct Worker(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    /// A job came, or there will be no more.
    changed: Condvar,
    /// All that was asked for is done.
    idle: Notify,
    /// How many jobs may wait.
    room: usize,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<(u64, Job, Cancel)>,
    running: Option<Cancel>,
    next: u64,
    closed: bool,
}

impl Worker {
    /// Starts the thread. Behind the job that is being done, `room` more may wait.
    ///
    /// # Errors
    ///
    /// What the system says if there can be no thread.
    pub fn start(model: ModelFolder, room: usize) -> Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            changed: Condvar::new(),
            idle: Notify::new(),
            room,
        });
        let worker = Self(shared.clone());
        let thread = std::thread::Builder::new().name("model".to_owned());
        thread.spawn(move || shared.work(&model))?;
        Ok(worker)
    }

    /// Puts a job into the queue. Dropping the ticket cancels it: one that waits is taken out, one that is
    /// being done is told.
    ///
    /// # Errors
    ///
    /// [`Busy`] if the queue is full, or if the server stops.
    pub fn submit(
        &self,
        job: impl FnOnce(&ModelFolder, &Cancel) + Send + 'static,
    ) -> Result<Ticket, Busy> {
        let mut queue = self.0.lock();
        // An idle thread takes one at once.
        let room = self.0.room + usize::from(queue.running.is_none());
        if queue.closed || queue.waiting.len() >= room {
            return Err(Busy);
        }
        let (number, cancel) = (queue.next, Cancel::default());
        queue.next += 1;
        queue
            .waiting
            .push_back((number, Box::new(job), cancel.clone()));
        self.0.changed.notify_one();
        Ok(Ticket {
            shared: self.0.clone(),
            number,
            cancel,
        })
    }

    /// Has a job done and waits for what it gives. Dropping the future cancels the job.
    ///
    /// # Errors
    ///
    /// 429 if the queue is full, 503 if the server stops, 500 if the job panics.
    pub async fn ask<R: Send + 'static>(
        &self,
        job: impl FnOnce(&ModelFolder, &Cancel) -> R + Send + 'static,
    ) -> Result<R, ApiError> {
        let (give, given) = oneshot::channel();
        let ticket = self
            .submit(move |model, cancel| {
                give.send(job(model, cancel)).ok();
            })
            .map_err(|Busy| self.refusal())?;
        let result = given.await;
        result.map_err(|_| ticket.no_result())
    }

    /// Why a job was refused.
    pub fn refusal(&self) -> ApiError {
        match self.0.lock().closed {
            true => ApiError::stopping(),
            false => ApiError::busy(self.0.room),
        }
    }

    /// How many jobs wait, and how many are being done.
    pub fn load(&self) -> (usize, usize) {
        let queue = self.0.lock();
        (queue.waiting.len(), usize::from(queue.running.is_some()))
    }

    /// Waits until nothing is left to do, or until `patience` is over: then what waits is let go, and what is
    /// being done is told to end.
    pub async fn finish(&self, patience: impl Future<Output = ()> + Unpin) {
        let idle = std::pin::pin!(self.all_done());
        if let Either::Right(((), idle)) = futures_util::future::select(idle, patience).await {
            let waiting = {
                let mut queue = self.0.lock();
                queue.closed = true;
                if let Some(running) = &queue.running {
                    running.set(STOPPING);
                }
                std::mem::take(&mut queue.waiting)
            };
            for (_, _, cancel) in &waiting {
                cancel.set(STOPPING);
            }
            drop(waiting);
            idle.await;
        }
    }

    async fn all_done(&self) {
        loop {
            let told = self.0.idle.notified();
            if self.0.lock().is_idle() {
                return;
            }
            told.await;
        }
    }
}

impl Queue {
    fn is_idle(&self) -> bool {
        self.running.is_none() && self.waiting.is_empty()
    }
}

impl Shared {
    /// What the lock guards is whole between any two of its changes.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, model: &ModelFolder) {
        loop {
            let (job, cancel) = self.next();
            // The panic itself was told by the hook; whoever waits sees that nothing came.
            if catch_unwind(AssertUnwindSafe(|| job(model, &cancel))).is_err() {
                log("error: the answer above was given up; the server goes on");
            }
            let mut queue = self.lock();
            queue.running = None;
            if queue.is_idle() {
                self.idle.notify_waiters();
            }
        }
    }

    fn next(&self) -> (Job, Cancel) {
        let mut queue = self.lock();
        loop {
            if let Some((_, job, cancel)) = queue.waiting.pop_front() {
                queue.running = Some(cancel.clone());
                return (job, cancel);
            }
            queue = self
                .changed
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// A place in the queue, then the model's time. Dropped, it cancels its job.
pub struct Ticket {
    shared: Arc<Shared>,
    number: u64,
    cancel: Cancel,
}

impl Ticket {
    /// Why a job gave nothing.
    pub fn no_result(&self) -> ApiError {
        match self.cancel.is_set() {
            true => ApiError::stopping(),
            false => {
                ApiError::internal("the model failed on this request; the server's log says how")
            }
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.cancel.set(LEFT);
        let mut queue = self.shared.lock();
        let at = queue
            .waiting
            .iter()
            .position(|(number, ..)| *number == self.number);
        let job = at.and_then(|at| queue.waiting.remove(at));
        if queue.is_idle() {
            self.shared.idle.notify_waiters();
        }
        drop(queue);
        // What it holds (pictures, say) goes without the lock.
        drop(job);
    }
}
