//! Questions to a model, or to several copies of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use aki_data::benchmark::{Benchmark, PromptStyle, Questions};
use burn::train::Interrupter;

use super::Record;
use super::batch::answers;
use crate::TrainError;
use crate::evaluation::bar;
use crate::folder::ModelFolder;

/// What is to be asked.
#[derive(Debug)]
pub struct Request<'a> {
    /// What they are of.
    pub benchmark: Benchmark,
    /// The benchmark's questions.
    pub questions: &'a Questions,
    /// Whose prompt they are put into.
    pub style: PromptStyle,
    /// Only the first so many.
    pub limit: usize,
    /// Questions of a batch. Answers do not depend on it, but where two tokens are as likely to the last bits.
    pub batch: usize,
    /// Most tokens of an answer.
    pub max_new_tokens: usize,
}

/// Asks what is not answered yet, greedily, and writes answers down as batches end. Each of the models, which
/// are the same, takes a batch after the other on a thread of its own. What cannot be asked, a
/// picture being damaged or the prompt too long, is written down with the error.
///
/// Returns false if the interrupter stopped it, after the batches that were being answered.
///
/// # Errors
///
/// [`TrainError`] if a file cannot be read or written, or prompts cannot be made.
pub fn ask(
    models: &mut [ModelFolder],
    request: &Request,
    record: &mut Record,
    interrupter: &Interrupter,
) -> Result<bool, TrainError> {
    let asked = request.limit.min(request.questions.len());
    let answered = |&index: &usize| record.has(&request.questions.get(index).id);
    let pending: Vec<usize> = (0..asked).filter(|index| !answered(index)).collect();
    if pending.is_empty() {
        return Ok(true);
    }
    let bar = bar(request.benchmark.name(), asked, "questions");
    bar.set_position((asked - pending.len()) as u64);
    bar.reset_eta();
    let batches = Mutex::new(pending.chunks(request.batch.max(1)));
    let (record, failed) = (Mutex::new(record), AtomicBool::new(false));
    let next = || match interrupter.should_stop() || failed.load(Ordering::Relaxed) {
        true => None,
        false => lock(&batches).next(),
    };
    let work = |model: &mut ModelFolder| -> Result<(), TrainError> {
        while let Some(batch) = next() {
            for row in answers(model, request, batch)? {
                lock(&record).push(row)?;
                bar.inc(1);
            }
        }
        Ok(())
    };
    let (work, failed) = (&work, &failed);
    let result: Result<(), TrainError> = std::thread::scope(|scope| {
        let threads: Vec<_> = models
            .iter_mut()
            .map(|model| {
                scope.spawn(move || {
                    let result = work(model);
                    failed.fetch_or(result.is_err(), Ordering::Relaxed);
                    result
                })
            })
            .collect();
        let results = threads.into_iter().map(|thread| match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        results.collect::<Vec<_>>().into_iter().collect()
    });
    bar.finish_and_clear();
    result?;
    Ok(lock(&batches).next().is_none())
}

/// What the lock guards is whole between any two of its changes.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
