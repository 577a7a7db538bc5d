//! What decides the order of a stream.

use crate::DataError;
use crate::shards::{Limits, RemoteConfig};

/// How the shards of a pass are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShardDraw {
    /// Each once, in an order shuffled anew for each pass. Ranks take turns.
    Once,
    /// As many as there are, drawn with replacement. A rank draws for itself, so two
    /// may read the same shard.
    Resampled,
}

/// The order of a stream, and how it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamConfig {
    /// Everything random follows from it.
    pub seed: u64,
    /// This process among `world_size`, from 0.
    pub rank: usize,
    /// Processes that share the data.
    pub world_size: usize,
    /// How shards are chosen.
    pub draw: ShardDraw,
    /// Samples that a sample is drawn from. They are held in memory as they stand in
    /// the shards: 5,000 web pictures take some 300 MB.
    pub buffer: usize,
    /// Samples to wait for before the first is drawn.
    pub fill: usize,
    /// Sizes that are refused.
    pub limits: Limits,
    /// How remote shards are read, and what is done when they cannot be.
    pub remote: RemoteConfig,
}

impl StreamConfig {
    /// One process, each shard once, and the buffer of AKI's pre-training: 5,000
    /// samples, drawn from once 1,000 are there.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            rank: 0,
            world_size: 1,
            draw: ShardDraw::Once,
            buffer: 5_000,
            fill: 1_000,
            limits: Limits::default(),
            remote: RemoteConfig::default(),
        }
    }

    /// Whether this can be done with so many shards.
    pub(super) fn check(&self, shards: usize, piped: bool) -> Result<(), DataError> {
        let fault = |reason: String| Err(DataError::Stream { reason });
        if self.rank >= self.world_size {
            return fault(format!(
                "rank {} of {} ranks; they count from 0",
                self.rank, self.world_size
            ));
        }
        if self.fill == 0 || self.fill > self.buffer {
            return fault(format!(
                "a buffer of {} samples that is drawn from at {}; it must be 1 to the buffer's size",
                self.buffer, self.fill
            ));
        }
        if u32::try_from(shards).is_err() {
            return fault(format!("{shards} shards are more than 2^32"));
        }
        match self.draw {
            ShardDraw::Once if shards < self.world_size => fault(format!(
                "{shards} shards cannot be dealt to {} ranks; cut them smaller or resample",
                self.world_size
            )),
            ShardDraw::Resampled if shards == 0 => fault("there is no shard".to_owned()),
            _ if piped && (self.world_size > 1 || shards > 1) => {
                fault("standard input can be read by one rank and as the only shard".to_owned())
            }
            _ => Ok(()),
        }
    }
}
