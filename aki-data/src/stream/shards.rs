//! The stream of raw samples.

use super::buffer::Buffer;
use super::config::StreamConfig;
use super::pass::{Item, Pass, store_failure};
use super::plan::{buffer_rng, plan};
use super::resume::resume;
use super::state::StreamState;
use crate::DataError;
use crate::shards::{RawSample, RemoteFailure, Shard, Skipped};

/// A sample and where the stream is behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drawn {
    /// The sample, or what is in its place and cannot be used.
    pub sample: Result<RawSample, Skipped>,
    /// Resumes with the sample after this one.
    pub state: StreamState,
}

/// This rank's samples, pass after pass without end; of standard input one pass.
///
/// Broken samples have their places in the order like all others, so that what is
/// wrong with one moves no other. A pass with nothing in it is an error, and the end;
/// and so is a remote store that fails, if [`RemoteFailure::Stop`] says so. The states
/// that came before can be resumed.
pub struct ShardStream {
    shards: Vec<Shard>,
    config: StreamConfig,
    state: StreamState,
    pass: Pass,
    buffer: Buffer<Item>,
    ended: bool,
}

impl ShardStream {
    /// The stream from its beginning.
    ///
    /// # Errors
    /// [`DataError::Stream`] if the configuration does not fit itself or the shards.
    pub fn new(shards: Vec<Shard>, config: StreamConfig) -> Result<Self, DataError> {
        config.check(shards.len(), shards.contains(&Shard::Stdin))?;
        Ok(Self {
            state: StreamState::new(&config, &shards),
            pass: Pass::new(plan(&config, shards.len(), 0)),
            buffer: empty(&config, 0),
            shards,
            config,
            ended: false,
        })
    }

    /// The stream from behind the sample that came with `state`.
    ///
    /// Of the shards of the pass, those are read of which samples lay in the buffer.
    ///
    /// # Errors
    /// - [`DataError::Stream`] as [`Self::new`].
    /// - [`DataError::Resume`] if the state is of another stream (another world size,
    ///   rank, seed, buffer or list of shards), or a shard holds fewer samples than it did.
    /// - [`DataError::Remote`] if a remote store fails, whatever is done about it later:
    ///   without the samples of the buffer the stream would be another.
    pub fn resume(
        shards: Vec<Shard>,
        config: StreamConfig,
        state: &StreamState,
    ) -> Result<Self, DataError> {
        let mut stream = Self::new(shards, config)?;
        state.check(&stream.state)?;
        (stream.pass, stream.buffer) = resume(&config, &stream.shards, state)?;
        stream.state = state.clone();
        Ok(stream)
    }

    /// What decides its order.
    pub fn config(&self) -> &StreamConfig {
        &self.config
    }

    /// Where the stream is now.
    pub fn state(&self) -> &StreamState {
        &self.state
    }

    /// Goes over to the next pass, if there is one.
    fn turn(&mut self) -> Option<DataError> {
        self.ended = self.shards.contains(&Shard::Stdin) || self.buffer.drawn() == 0;
        if self.buffer.drawn() == 0 {
            return Some(DataError::Stream {
                reason: format!(
                    "pass {} over {} shards found no sample; are they tar files with pictures?",
                    self.state.pass,
                    self.pass.plan.len()
                ),
            });
        }
        let Some(pass) = self.state.pass.checked_add(1) else {
            self.ended = true;
            return Some(DataError::Resume {
                reason: format!(
                    "{} passes before are too many; the state is damaged",
                    self.state.pass
                ),
            });
        };
        self.state.pass = pass;
        self.pass = Pass::new(plan(&self.config, self.shards.len(), pass));
        self.buffer = empty(&self.config, pass);
        None
    }
}

impl Iterator for ShardStream {
    type Item = Result<Drawn, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.ended {
            let (pass, shards, config) = (&mut self.pass, &self.shards, &self.config);
            let mut failure = None;
            let drawn = self.buffer.draw(|| {
                let sample = pass.next(shards, config)?;
                if config.remote.on_failure == RemoteFailure::Stop {
                    failure = store_failure(&sample);
                }
                failure.is_none().then_some(sample)
            });
            if let Some(error) = failure {
                self.ended = true;
                return Some(Err(error));
            }
            if let Some(sample) = drawn {
                self.state.drawn = self.buffer.drawn();
                self.state.finished = self.pass.finished.clone();
                self.state.given_up = self.pass.given_up.clone();
                let state = self.state.clone();
                return Some(Ok(Drawn { sample, state }));
            }
            if let Some(error) = self.turn() {
                return Some(Err(error));
            }
        }
        None
    }
}

fn empty(config: &StreamConfig, pass: u64) -> Buffer<Item> {
    Buffer::new(config.buffer, config.fill, buffer_rng(config, pass))
}
