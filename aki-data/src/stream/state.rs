//! Where a stream is, small enough for every checkpoint.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::config::{ShardDraw, StreamConfig};
use crate::DataError;
use crate::fingerprint::fnv1a;
use crate::shards::Shard;

/// What it takes to go on after a sample: how many were drawn in this pass, and how
/// many each finished shard of the pass held, and which of them a remote store failed
/// to give whole. A few bytes, and one number a shard.
///
/// Nothing in it depends on how many threads work on the samples. The rest is held
/// against the run that resumes: another seed, share of the data or list of shards
/// would go on with another order and is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamState {
    pub(super) seed: u64,
    pub(super) rank: usize,
    pub(super) world_size: usize,
    pub(super) draw: ShardDraw,
    pub(super) buffer: usize,
    pub(super) fill: usize,
    pub(super) shards: usize,
    /// Of the shards' file names, in order. A folder may move.
    pub(super) names: u64,
    pub(super) pass: u64,
    pub(super) drawn: u64,
    /// Samples in the shards of the pass that were read to their ends.
    pub(super) finished: Arc<Vec<u32>>,
    /// Places in the pass of the shards that a remote store failed to give whole.
    #[serde(default)]
    pub(super) given_up: Arc<Vec<u32>>,
}

impl StreamState {
    /// The very beginning.
    pub(super) fn new(config: &StreamConfig, shards: &[Shard]) -> Self {
        Self {
            seed: config.seed,
            rank: config.rank,
            world_size: config.world_size,
            draw: config.draw,
            buffer: config.buffer,
            fill: config.fill,
            shards: shards.len(),
            names: fingerprint(shards),
            pass: 0,
            drawn: 0,
            finished: Arc::default(),
            given_up: Arc::default(),
        }
    }

    /// Passes over the data before this one.
    pub fn pass(&self) -> u64 {
        self.pass
    }

    /// Samples of this pass that came before, broken ones among them.
    pub fn drawn(&self) -> u64 {
        self.drawn
    }

    /// Whether a stream that would begin as `start` can go on here.
    pub(super) fn check(&self, start: &Self) -> Result<(), DataError> {
        let differs = |what: &str, then: &dyn std::fmt::Display, now: &dyn std::fmt::Display| {
            format!("it was written with {what} {then}, and this run has {now}")
        };
        let reason = if self.world_size != start.world_size {
            let told = differs("a world size of", &self.world_size, &start.world_size);
            format!("{told}; shards are dealt by it, so resume with as many processes")
        } else if self.rank != start.rank {
            let told = differs("rank", &self.rank, &start.rank);
            format!("{told}; each rank resumes from its own state")
        } else if self.seed != start.seed {
            differs("seed", &self.seed, &start.seed)
        } else if self.draw != start.draw {
            "one of the two resamples shards, the other does not".to_owned()
        } else if (self.buffer, self.fill) != (start.buffer, start.fill) {
            let size = |state: &Self| format!("{} filled to {}", state.buffer, state.fill);
            differs("a buffer of", &size(self), &size(start))
        } else if self.shards != start.shards {
            let told = differs("a number of shards of", &self.shards, &start.shards);
            format!("{told}; resume with the same shards")
        } else if self.names != start.names {
            "its shards have other names or another order; resume with the same".to_owned()
        } else {
            return Ok(());
        };
        Err(DataError::Resume { reason })
    }
}

/// Of the shards' file names.
fn fingerprint(shards: &[Shard]) -> u64 {
    fnv1a(shards.iter().flat_map(|shard| {
        let name = shard.name();
        let name = name.file_name().unwrap_or_default().to_string_lossy();
        let name = name.into_owned().into_bytes();
        name.into_iter().chain([b'\n'])
    }))
}
