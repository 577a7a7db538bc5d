//! Work on items by threads, handed out in the items' order.

use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::DataError;

/// What threads make of items, in the order of the items.
///
/// The results do not depend on the number of threads, only the waiting does. If
/// the work or the reading panics, so does this when it comes to that item. Threads
/// stop soon after it is dropped.
pub struct Prefetch<T> {
    /// Where each result will arrive, in the order of the items.
    results: Receiver<Receiver<T>>,
    reader: Option<JoinHandle<()>>,
}

/// Reads `items` on one thread and does `work` on each by `threads` more, at most
/// `ahead` items (but always one a thread) before they are asked for.
///
/// # Errors
/// [`DataError::Stream`] if the system gives no thread.
///
/// # Panics
/// If `threads` is 0.
pub fn prefetch<I, T, F>(
    items: I,
    threads: usize,
    ahead: usize,
    work: F,
) -> Result<Prefetch<T>, DataError>
where
    I: Iterator + Send + 'static,
    I::Item: Send + 'static,
    T: Send + 'static,
    F: Fn(I::Item) -> T + Clone + Send + 'static,
{
    assert!(threads > 0, "there must be a thread to work");
    let (jobs, jobs_of_workers) = bounded::<(I::Item, Sender<T>)>(threads);
    let (order, results) = bounded(ahead.max(threads));
    for worker in 0..threads {
        let (jobs, work) = (jobs_of_workers.clone(), work.clone());
        spawn(&format!("data-{worker}"), move || {
            for (item, result) in jobs {
                // Nobody waits for it once the iterator is gone.
                let _ = result.send(work(item));
            }
        })?;
    }
    let reader = spawn("data-reader", move || {
        for item in items {
            let (result, arrives) = bounded(1);
            if order.send(arrives).is_err() || jobs.send((item, result)).is_err() {
                return;
            }
        }
    })?;
    Ok(Prefetch {
        results,
        reader: Some(reader),
    })
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, DataError> {
    let thread = std::thread::Builder::new().name(name.to_owned());
    thread.spawn(work).map_err(|error| DataError::Stream {
        reason: format!("no thread to read with: {error}"),
    })
}

impl<T> Iterator for Prefetch<T> {
    type Item = T;

    /// # Panics
    /// If the work on this item panicked, or reading it did.
    fn next(&mut self) -> Option<T> {
        let Ok(result) = self.results.recv() else {
            // The items ended, or else their reader did before them.
            let reader = self.reader.take()?;
            reader.join().expect("reading the samples panicked");
            return None;
        };
        Some(result.recv().expect("the work on a sample panicked"))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[test]
    fn results_come_in_order_for_any_number_of_threads() {
        for threads in [1, 2, 7] {
            let slow_evens = |n: u64| {
                std::thread::sleep(Duration::from_micros((n % 2) * 300));
                n * n
            };
            let results = prefetch(0..200_u64, threads, 5, slow_evens).expect("threads");
            assert!(results.eq((0..200).map(|n| n * n)), "{threads} threads");
        }
    }

    #[test]
    fn no_more_is_read_than_was_asked_ahead() {
        let read = Arc::new(AtomicUsize::new(0));
        let count = read.clone();
        let items = (0..1000).inspect(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
        });
        let mut results = prefetch(items, 2, 6, |n| n).expect("threads");
        assert_eq!(results.next(), Some(0));
        std::thread::sleep(Duration::from_millis(50));
        // One was taken, six wait in order, one was read and waits for its place.
        assert!(read.load(Ordering::SeqCst) <= 8);
        drop(results);
        std::thread::sleep(Duration::from_millis(50));
        assert!(read.load(Ordering::SeqCst) <= 9, "it must stop");
    }

    #[test]
    #[should_panic(expected = "the work on a sample panicked")]
    fn a_panic_is_not_swallowed() {
        let work = |n: u32| assert!(n < 3, "as expected in this test");
        prefetch(0..9, 2, 4, work).expect("threads").for_each(drop);
    }

    #[test]
    #[should_panic(expected = "reading the samples panicked")]
    fn a_panic_of_the_reader_is_no_end() {
        let items = (0..9).inspect(|&n| assert!(n < 3, "as expected in this test"));
        prefetch(items, 2, 4, |n| n)
            .expect("threads")
            .for_each(drop);
    }
}
