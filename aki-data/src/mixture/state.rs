//! Where a mixture stands, to be written down.

use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::config::MixtureConfig;
use crate::DataError;
use crate::stream::StreamState;

/// What it takes to go on after a sample: a few bytes a source, and one number a shard.
///
/// It is held against the run that resumes: with another seed, share of the data or list of
/// sources the order would be another, so that is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MixtureState {
    pub(super) seed: u64,
    pub(super) rank: usize,
    pub(super) world_size: usize,
    /// Samples that came before, broken ones among them.
    pub(super) drawn: u64,
    pub(super) sources: Vec<SourceState>,
}

/// Where one source stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SourceState {
    pub(super) name: Arc<str>,
    pub(super) at: At,
}

/// Behind which sample.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub(super) enum At {
    /// So many of its records were taken by all ranks; and how many there are, and their
    /// fingerprint.
    Records { taken: u64, of: usize, print: u64 },
    /// Nothing of its shards was taken yet.
    Unread,
    /// As the stream says.
    Shards(Arc<StreamState>),
}

impl MixtureState {
    /// Samples that came before, broken ones among them.
    pub fn drawn(&self) -> u64 {
        self.drawn
    }

    /// Numbers of the next items, one a rank.
    ///
    /// # Errors
    /// [`DataError::Resume`] if no stream is so long.
    pub(super) fn round(&self) -> Result<Range<usize>, DataError> {
        let first = usize::try_from(self.drawn).ok();
        let first = first.and_then(|drawn| drawn.checked_mul(self.world_size));
        let round = first.and_then(|first| Some(first..first.checked_add(self.world_size)?));
        round.ok_or_else(|| too_many(self.drawn))
    }

    /// Whether a mixture that would begin as `start` can go on here.
    pub(super) fn check(&self, start: &Self) -> Result<(), DataError> {
        let fault = |reason: String| Err(DataError::Resume { reason });
        if self.world_size != start.world_size {
            return fault(format!(
                "it was written with a world size of {}, and this run has {}; samples are dealt by \
                 it, so resume with as many processes",
                self.world_size, start.world_size
            ));
        }
        if self.rank != start.rank {
            return fault(format!(
                "it was written by rank {}, and this is rank {}; each resumes from its own state",
                self.rank, start.rank
            ));
        }
        if self.seed != start.seed {
            return fault(format!(
                "it was written with seed {}, and this run has {}",
                self.seed, start.seed
            ));
        }
        let names = |state: &Self| -> Vec<Arc<str>> {
            let names = state.sources.iter().map(|source| source.name.clone());
            names.collect()
        };
        let (names_then, names_now) = (names(self), names(start));
        if names_then != names_now {
            return fault(format!(
                "it was written with the sources {names_then:?}, and this run has {names_now:?}"
            ));
        }
        for (then, now) in self.sources.iter().zip(&start.sources) {
            let differs = match (&then.at, &now.at) {
                (
                    At::Records { of, print, .. },
                    At::Records {
                        of: of_now,
                        print: print_now,
                        ..
                    },
                ) => {
                    if of != of_now {
                        format!("other records than it had: {of} then, {of_now} now")
                    } else if print != print_now {
                        format!("other records than it had, if as many: {of}")
                    } else {
                        continue;
                    }
                }
                (At::Unread | At::Shards(_), At::Unread | At::Shards(_)) => continue,
                (At::Records { .. }, _) => "shards now, and had records".to_owned(),
                (_, At::Records { .. }) => "records now, and had shards".to_owned(),
            };
            return fault(format!(
                "source {} has {differs}; resume with the same files",
                now.name
            ));
        }
        Ok(())
    }
}

/// What is said of a state that no stream comes to.
pub(super) fn too_many(before: u64) -> DataError {
    DataError::Resume {
        reason: format!("{before} samples before are too many; the state is damaged"),
    }
}

impl MixtureConfig {
    /// The very beginning.
    pub(super) fn start(&self, sources: Vec<SourceState>) -> MixtureState {
        MixtureState {
            seed: self.seed,
            rank: self.rank,
            world_size: self.world_size,
            drawn: 0,
            sources,
        }
    }
}
