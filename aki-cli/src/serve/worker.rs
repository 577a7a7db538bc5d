//! The one thread that has the model, and the queue before it.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aki_train::folder::ModelFolder;
use anyhow::Result;
use futures_util::future::Either;
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;

use super::ApiError;
use super::record::log;

/// What is done with the model.
type Job<M> = Box<dyn FnOnce(&M, &Cancel) + Send>;

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
pub struct Worker<M = ModelFolder>(Arc<Shared<M>>);

struct Shared<M> {
    queue: Mutex<Queue<M>>,
    /// A job came, or there will be no more.
    changed: Condvar,
    /// All that was asked for is done.
    idle: Notify,
    /// How many jobs may wait.
    room: usize,
}

struct Queue<M> {
    waiting: VecDeque<(u64, Job<M>, Cancel)>,
    running: Option<Cancel>,
    next: u64,
    closed: bool,
}

impl<M> Queue<M> {
    /// Whether it takes no more, where `room` jobs may wait.
    fn is_full(&self, room: usize) -> bool {
        // An idle thread takes one at once.
        let room = room + usize::from(self.running.is_none());
        self.closed || self.waiting.len() >= room
    }
}

impl<M: Send + 'static> Worker<M> {
    /// Starts the thread. Behind the job that is being done, `room` more may wait.
    ///
    /// # Errors
    ///
    /// What the system says if there can be no thread.
    pub fn start(model: M, room: usize) -> Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue {
                waiting: VecDeque::new(),
                running: None,
                next: 0,
                closed: false,
            }),
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
        job: impl FnOnce(&M, &Cancel) + Send + 'static,
    ) -> Result<Ticket<M>, Busy> {
        let mut queue = self.0.lock();
        if queue.is_full(self.0.room) {
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

    /// Whether a job would be refused now.
    pub fn is_full(&self) -> bool {
        self.0.lock().is_full(self.0.room)
    }

    /// Has a job done and waits for what it gives. Dropping the future cancels the job.
    ///
    /// # Errors
    ///
    /// 429 if the queue is full, 503 if the server stops, 500 if the job panics.
    pub async fn ask<R: Send + 'static>(
        &self,
        job: impl FnOnce(&M, &Cancel) -> R + Send + 'static,
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
    /// being done is told to end. Returns whether it did within `last`.
    pub async fn finish(&self, patience: impl Future<Output = ()> + Unpin, last: Duration) -> bool {
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
            return timeout(last, idle).await.is_ok();
        }
        // What comes after is refused rather than cut off.
        self.0.lock().closed = true;
        true
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

impl<M> Queue<M> {
    fn is_idle(&self) -> bool {
        self.running.is_none() && self.waiting.is_empty()
    }
}

impl<M> Shared<M> {
    /// What the lock guards is whole between any two of its changes.
    fn lock(&self) -> MutexGuard<'_, Queue<M>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, model: &M) {
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

    fn next(&self) -> (Job<M>, Cancel) {
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
pub struct Ticket<M = ModelFolder> {
    shared: Arc<Shared<M>>,
    number: u64,
    cancel: Cancel,
}

impl<M> Ticket<M> {
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

impl<M> Drop for Ticket<M> {
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    fn on_runtime(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(test);
    }

    /// A job that goes on until it is cancelled, and a word when it has begun.
    fn occupy(worker: &Worker<u32>) -> (Ticket<u32>, Receiver<()>) {
        let (begin, begun) = channel();
        let ticket = worker.submit(move |_, cancel| {
            begin.send(()).ok();
            while !cancel.is_set() {
                std::thread::yield_now();
            }
        });
        let ticket = ticket.expect("a place");
        begun.recv().expect("it begins");
        (ticket, begun)
    }

    #[test]
    fn a_job_that_panics_gives_500_and_the_next_one_is_done() {
        on_runtime(async {
            let worker = Worker::start(7_u32, 1).expect("a thread");
            let failed = worker.ask(|model, _| assert_eq!(*model, 8, "on purpose"));
            assert_eq!(failed.await.expect_err("a panic").status, 500);
            assert_eq!(worker.ask(|model, _| *model + 1).await.expect("a sum"), 8);
        });
    }

    #[test]
    fn a_ticket_that_is_dropped_frees_its_place() {
        let worker = Worker::start(7_u32, 1).expect("a thread");
        let (running, begun) = occupy(&worker);
        let waiting = worker.submit(|_, _| ()).expect("a place to wait");
        assert_eq!(worker.load(), (1, 1));
        assert!(worker.submit(|_, _| ()).is_err());
        drop(waiting);
        assert_eq!(worker.load(), (0, 1));
        drop(running);
        // Its sender goes with it.
        assert!(begun.recv().is_err());
    }

    #[test]
    fn at_the_end_what_waits_is_let_go_and_what_runs_is_told() {
        on_runtime(async {
            let worker = Worker::start(7_u32, 1).expect("a thread");
            let (running, begun) = occupy(&worker);
            let asked = Worker(worker.0.clone());
            let waiting = tokio::spawn(async move { asked.ask(|model, _| *model).await });
            while worker.load().0 == 0 {
                tokio::task::yield_now().await;
            }
            let patience = tokio::time::sleep(Duration::from_millis(10));
            let last = Duration::from_secs(20);
            assert!(worker.finish(Box::pin(patience), last).await);
            assert!(begun.recv().is_err());
            let refused = waiting.await.expect("no panic").expect_err("no turn");
            assert_eq!(refused.status, 503);
            assert_eq!(running.no_result().status, 503);
            assert_eq!(worker.ask(|_, _| ()).await.expect_err("closed").status, 503);
        });
    }

    #[test]
    fn what_does_not_heed_is_not_waited_for() {
        on_runtime(async {
            let worker = Worker::start(7_u32, 1).expect("a thread");
            let (begin, begun) = channel();
            let (end, ended) = channel::<()>();
            let running = worker.submit(move |_, _| {
                begin.send(()).ok();
                ended.recv().ok();
            });
            begun.recv().expect("it begins");
            let now = Box::pin(std::future::ready(()));
            let last = Duration::from_millis(10);
            assert!(!worker.finish(now, last).await);
            drop((end, running));
        });
    }
}
