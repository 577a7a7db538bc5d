//! What decides a mixture and its batches.

/// What decides the order of a mixture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MixtureConfig {
    /// Everything random follows from it.
    pub seed: u64,
    /// This process among `world_size`, from 0.
    pub rank: usize,
    /// Processes that share the data.
    pub world_size: usize,
}

impl MixtureConfig {
    /// One process.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            rank: 0,
            world_size: 1,
        }
    }
}

/// What a batch is, and how it is made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchConfig {
    /// Rows.
    pub batch: usize,
    /// Tokens a row, in which as many samples are put as fit; without it a row is one sample, and
    /// as long as the longest of its batch.
    pub packing: Option<usize>,
    /// Threads that read and decode pictures.
    pub workers: usize,
    /// The share of broken samples above which a source stops everything, 0 to 1.
    pub max_bad_share: f64,
}
