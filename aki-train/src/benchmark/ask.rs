//! Questions to a model, or to several copies of it.

use std::sync::{Mutex, PoisonError};

use aki_data::benchmark::{Benchmark, PromptStyle, Questions};
use burn::train::Interrupter;

use super::batch::answers;
use super::{Record, share};
use crate::TrainError;
use crate::folder::ModelFolder;
use crate::progress::Progress;

/// What is to be asked.
#[derive(Debug)]
pub struct Request<'a> {
    /// What they are of.
    pub benchmark: Benchmark,
    /// The benchmark's questions.
    pub questions: &'a Questions,
    /// Whose prompt they are put into.
    pub style: PromptStyle,
    /// Which of them.
    pub asked: &'a [usize],
    /// Questions of a batch. Answers do not depend on it, but where two tokens are as likely to the last bits.
    pub batch: usize,
    /// Most tokens of an answer.
    pub max_new_tokens: usize,
}

/// Asks what is not answered yet, greedily, and writes answers down as batches end. Each of the models, which
/// are the same, takes a batch after the other on a thread of its own. What cannot be asked, a
/// picture being damaged or the prompt too long, is written down with the error, and tried again the next time.
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
    let answered = |index: usize| record.has(&request.questions.get(index).id);
    let asked = request.asked.iter().copied();
    let pending: Vec<usize> = asked.filter(|&index| !answered(index)).collect();
    if pending.is_empty() {
        return Ok(true);
    }
    let (all, name) = (request.asked.len(), request.benchmark.name());
    let progress = Progress::new(name, Some(all as u64), "questions");
    let progress = progress.after((all - pending.len()) as u64);
    let record = Mutex::new(record);
    let work = |model: &mut ModelFolder, batch: &[usize], _: &dyn Fn() -> bool| {
        for row in answers(model, request, batch)? {
            record
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(row)?;
            progress.inc(1);
        }
        Ok(())
    };
    let batches = pending.chunks(request.batch.max(1));
    let all = share(models, batches, || interrupter.should_stop(), work);
    progress.finish();
    all
}
