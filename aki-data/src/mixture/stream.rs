//! Places in several sources, drawn by weight.

use std::sync::Arc;

use rand::{Rng, RngExt};

use super::config::MixtureConfig;
use super::state::{At, MixtureState, SourceState};
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
/// choice needs no memory. Records of a source come in a new order each pass, and ranks take turns
/// at them; shards are read as [`ShardStream`] says.
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

    /// Which source item number `drawn` of this rank comes from.
    fn choice(&self) -> usize {
        let MixtureState {
            seed, rank, drawn, ..
        } = self.state;
        let mut rng = keyed_rng(seed, CHOICE_DOMAIN, drawn, rank as u64);
        let all = self.sums.last().copied().unwrap_or_default();
        let drawn = rng.random::<f64>() * all;
        let chosen = self.sums.partition_point(|&sum| sum <= drawn);
        chosen.min(self.sums.len() - 1)
    }

    fn draw(&mut self) -> Result<Option<Place>, DataError> {
        let source = self.choice();
        let name = &self.sources[source].name;
        let of_source = |error| of_source(name, error);
        let (item, drawn) = self.state.item(self.state.drawn)?;
        let at = self.state.sources[source].at.clone();
        let (raw, at) = match (&mut self.open[source], at) {
            (Open::Records(order), At::Records { taken, of, print }) => {
                let (item, taken) = self.state.item(taken).map_err(of_source)?;
                let raw = Raw::Record(order.index(item));
                (raw, At::Records { taken, of, print })
            }
            (Open::Shards(stream), _) => match stream.next().transpose().map_err(of_source)? {
                None => return Ok(None),
                Some(drawn) => (Raw::Sample(drawn.sample), At::Shards(Arc::new(drawn.state))),
            },
            (Open::Records(_), _) => unreachable!("a source stays what it is"),
        };
        self.state.sources[source].at = at;
        self.state.drawn = drawn;
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
