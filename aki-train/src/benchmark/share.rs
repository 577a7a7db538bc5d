//! Work that several threads take from one queue.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// Has each worker, on a thread of its own, take an item after the other until there is none, `stop` says so
/// or one has failed. `work` is given the worker, the item, and whether to stop. Says whether all were taken.
///
/// # Errors
///
/// The first worker's that `work` returned.
///
/// # Panics
///
/// If `work` does.
pub fn share<W: Send, T, E: Send>(
    workers: &mut [W],
    items: impl Iterator<Item = T> + Send,
    stop: impl Fn() -> bool + Sync,
    work: impl Fn(&mut W, T, &dyn Fn() -> bool) -> Result<(), E> + Sync,
) -> Result<bool, E> {
    let failed = AtomicBool::new(false);
    let stopped = || stop() || failed.load(Ordering::Relaxed);
    let items = Mutex::new(items);
    // What the lock guards is whole between any two of its changes.
    let take = || items.lock().unwrap_or_else(PoisonError::into_inner).next();
    let (take, stopped, work, failed) = (&take, &stopped, &work, &failed);
    let result: Result<(), E> = std::thread::scope(|scope| {
        let one = |worker| {
            scope.spawn(move || {
                let worker: &mut W = worker;
                while !stopped()
                    && let Some(item) = take()
                {
                    let result = work(&mut *worker, item, stopped);
                    failed.fetch_or(result.is_err(), Ordering::Relaxed);
                    result?;
                }
                Ok(())
            })
        };
        let threads: Vec<_> = workers.iter_mut().map(one).collect();
        let results = threads.into_iter().map(|thread| match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        results.collect::<Vec<_>>().into_iter().collect()
    });
    result?;
    Ok(take().is_none())
}
