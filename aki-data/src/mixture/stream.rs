//! Places in several sources, drawn by weight.

use std::sync::Arc;

use rand::{Rng, RngExt};

use super::config::MixtureConfig;
use super::state::{At, MixtureState, SourceState, too_many};
use crate::DataError;
use crate::order::{Order, keyed_rng};
use crate::sources::{Data, Raw, Source};
use crate::stream::{ShardDraw, ShardStream, StreamConfig};

/// Keep the choice of sources, and what each source draws, apart from all else.
const CHOICE_DOMAIN: u64 = 0x616b_692d_6d69_7874; // "aki-mixt"
const SOURCE_DOMAIN: u64 = 0x616b_692d_736f_7572; // "aki-sour"

/// An endless stream of places in sources; it ends with standard input only.
///
/// Item `i` comes from a source that is drawn by weight with random numbers of its own, so the
/// choice needs no memory. Records of a source come in a new order each pass; shards are read as
/// [`ShardStream`] says. Ranks take turns at the items: of records, all of them together are given
/// what one rank alone would be given, in the same order.
pub struct Mixture {
    sources: Arc<[Source]>,
    open: Vec<Open>,
    /// Sums of the weights up to each source.
    sums: Vec<f64>,
    state: MixtureState,
    ended: bool,
}

/// What is left of a source.
enum Open {
    Records(Order),
    Shards(Box<ShardStream>),
}

/// A place in one of the sources.
#[derive(Debug)]
pub struct Place {
    /// Which source.
    pub source: usize,
    /// Number of the item, unlike that of any other rank; what is random about it follows from it.
    pub item: usize,
    pub(super) raw: Raw,
    /// Resumes with the place after this one.
    pub state: MixtureState,
}

impl Mixture {
    /// The stream from its beginning, or from behind `state`.
    ///
    /// # Errors
    /// - [`DataError::Stream`] if there is no source, or one does not fit the ranks.
    /// - [`DataError::Resume`] if the state is that of another mixture.
    pub fn new(
        sources: Arc<[Source]>,
        config: MixtureConfig,
        state: Option<&MixtureState>,
    ) -> Result<Self, DataError> {
        let fault = |reason: String| Err(DataError::Stream { reason });
        if sources.is_empty() {
            return fault("there is no source to train on".to_owned());
        }
        if config.rank >= config.world_size {
            return fault(format!(
                "rank {} of {} ranks; they count from 0",
                config.rank, config.world_size
            ));
        }
        let begun = sources.iter().map(|source| SourceState {
            name: source.name.clone(),
            at: match &source.data {
                Data::Records { dataset, .. } => At::Records {
                    taken: 0,
                    of: dataset.len(),
                    print: dataset.fingerprint(),
                },
                Data::Shards { .. } => At::Unread,
            },
        });
        let start = config.start(begun.collect());
        if let Some(state) = state {
            state.check(&start)?;
        }
        let state = state.cloned().unwrap_or(start);
        let open = sources.iter().zip(&state.sources).enumerate();
        let open = open.map(|(number, (source, then))| {
            let open = open_source(source, config, number, &then.at);
            open.map_err(|error| of_source(&source.name, error))
        });
        let open = open.collect::<Result<_, _>>()?;
        let sums = sources.iter().scan(0.0, |sum, source| {
            *sum += source.config.weight();
            Some(*sum)
        });
        Ok(Self {
            sums: sums.collect(),
            open,
            sources,
            state,
            ended: false,
        })
    }

    /// Where it stands.
    pub fn state(&self) -> &MixtureState {
        &self.state
    }

    /// The sources, in their order.
    pub fn sources(&self) -> &Arc<[Source]> {
        &self.sources
    }

    /// Which source an item comes from.
    fn choice(&self, item: usize) -> usize {
        let mut rng = keyed_rng(self.state.seed, CHOICE_DOMAIN, item as u64, 0);
        let all = self.sums.last().copied().unwrap_or_default();
        let drawn = rng.random::<f64>() * all;
        let chosen = self.sums.partition_point(|&sum| sum <= drawn);
        chosen.min(self.sums.len() - 1)
    }

    fn draw(&mut self) -> Result<Option<Place>, DataError> {
        let round = self.state.round()?;
        let rank = self.state.rank;
        let item = round.start + rank;
        let choices: Vec<usize> = round.map(|item| self.choice(item)).collect();
        let source = choices[rank];
        let name = &self.sources[source].name;
        let of_source = |error| of_source(name, error);
        let at = &mut self.state.sources[source].at;
        let raw = match (&mut self.open[source], &*at) {
            (Open::Records(order), At::Records { taken, .. }) => {
                // The ranks before this one take theirs first.
                let before = choices[..rank].iter().filter(|&&it| it == source);
                let place = usize::try_from(*taken).ok();
                let place = place.and_then(|taken| taken.checked_add(before.count()));
                Raw::Record(order.index(place.ok_or_else(|| of_source(too_many(*taken)))?))
            }
            (Open::Shards(stream), _) => match stream.next().transpose().map_err(of_source)? {
                None => return Ok(None),
                Some(drawn) => {
                    *at = At::Shards(Arc::new(drawn.state));
                    Raw::Sample(drawn.sample)
                }
            },
            (Open::Records(_), _) => unreachable!("a source stays what it is"),
        };
        for choice in choices {
            if let At::Records { taken, .. } = &mut self.state.sources[choice].at {
                let next = taken.checked_add(1);
                *taken = next.ok_or_else(|| too_many(*taken))?;
            }
        }
        self.state.drawn += 1;
        Ok(Some(Place {
            source,
            item,
            raw,
            state: self.state.clone(),
        }))
    }
}

fn open_source(
    source: &Source,
    config: MixtureConfig,
    number: usize,
    at: &At,
) -> Result<Open, DataError> {
    let seed = keyed_rng(config.seed, SOURCE_DOMAIN, number as u64, 0).next_u64();
    let (rank, world_size) = (config.rank, config.world_size);
    Ok(match &source.data {
        Data::Records { dataset, .. } => Open::Records(Order::new(seed, dataset.len())),
        Data::Shards {
            shards,
            limits,
            remote,
            ..
        } => {
            let plain = StreamConfig::new(seed);
            let buffer = source.config.buffer();
            let config = StreamConfig {
                rank,
                world_size,
                draw: match source.config.resample {
                    Some(true) => ShardDraw::Resampled,
                    _ => ShardDraw::Once,
                },
                buffer,
                fill: buffer.div_ceil(5),
                limits: *limits,
                remote: *remote,
                ..plain
            };
            let shards = shards.clone();
            Open::Shards(Box::new(match at {
                At::Shards(state) => ShardStream::resume(shards, config, state)?,
                _ => ShardStream::new(shards, config)?,
            }))
        }
    })
}

/// The same error, saying which source it is about.
fn of_source(name: &str, error: DataError) -> DataError {
    let told = |reason: String| format!("source {name}: {reason}");
    match error {
        DataError::Resume { reason } => DataError::Resume {
            reason: told(reason),
        },
        DataError::Stream { reason } => DataError::Stream {
            reason: told(reason),
        },
        DataError::Remote { url, reason } => DataError::Remote {
            url,
            reason: told(reason),
        },
        other => other,
    }
}

impl Iterator for Mixture {
    type Item = Result<Place, DataError>;

    /// Ends after an error.
    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let place = self.draw().transpose();
        self.ended = !matches!(place, Some(Ok(_)));
        place
    }
}
