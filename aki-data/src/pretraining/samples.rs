//! Pre-training samples as they come in training: read, drawn, worked on, counted.

use super::kind::PretrainingKind;
use super::sample::PretrainingSample;
use crate::DataError;
use crate::shards::{Skipped, Tally};
use crate::stream::{Drawn, Prefetch, ShardStream, StreamState, prefetch};

/// What a thread made of a sample.
type Worked<T> = Result<(Result<T, Skipped>, StreamState), DataError>;

/// The good samples of a stream, each with the state to resume behind it. Skipped ones
/// are counted, and handed to `on_skip`.
pub struct PretrainingSamples<T> {
    worked: Prefetch<Worked<T>>,
    tally: Tally,
    on_skip: Box<dyn FnMut(&Skipped) + Send>,
    failed: bool,
}

/// Reads samples of one kind by `threads`, at most `ahead` before they are asked for, and
/// does `work` (decoding, resizing, encoding) on each there.
///
/// What comes, and in which order, does not depend on the number of threads.
///
/// # Errors
/// [`DataError::Stream`] if the system gives no thread.
///
/// # Panics
/// If `threads` is 0.
pub fn pretraining_samples<T: Send + 'static>(
    stream: ShardStream,
    kind: PretrainingKind,
    threads: usize,
    ahead: usize,
    tally: Tally,
    on_skip: impl FnMut(&Skipped) + Send + 'static,
    work: impl Fn(PretrainingSample) -> Result<T, Skipped> + Clone + Send + 'static,
) -> Result<PretrainingSamples<T>, DataError> {
    let limits = stream.config().limits;
    let whole = move |drawn: Result<Drawn, DataError>| {
        let Drawn { sample, state } = drawn?;
        let sample = sample.and_then(|raw| kind.read(raw, &limits));
        Ok((sample.and_then(&work), state))
    };
    let worked = prefetch(stream, threads, ahead, whole);
    Ok(PretrainingSamples {
        worked: worked.map_err(|error| DataError::Stream {
            reason: format!("no thread to read with: {error}"),
        })?,
        tally,
        on_skip: Box::new(on_skip),
        failed: false,
    })
}

impl<T> PretrainingSamples<T> {
    /// How many samples were good and bad so far, as far as they were handed out.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }
}

impl<T> Iterator for PretrainingSamples<T> {
    type Item = Result<(T, StreamState), DataError>;

    /// Ends after the first error: [`DataError::TooManyBroken`] or what the stream says.
    fn next(&mut self) -> Option<Self::Item> {
        while !self.failed {
            let counted = match self.worked.next() {
                None => self.tally.finish().map(|()| None),
                Some(Err(error)) => Err(error),
                Some(Ok((Ok(sample), state))) => {
                    self.tally.good();
                    return Some(Ok((sample, state)));
                }
                Some(Ok((Err(skipped), _))) => {
                    (self.on_skip)(&skipped);
                    self.tally.bad(&skipped).map(Some)
                }
            };
            self.failed = !matches!(counted, Ok(Some(())));
            if let Err(error) = counted {
                return Some(Err(error));
            }
        }
        None
    }
}
