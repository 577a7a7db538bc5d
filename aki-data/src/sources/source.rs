//! A source that is open.

use std::path::Path;
use std::sync::Arc;

use super::config::SourceConfig;
use super::example::Example;
use crate::datasets::read_conversation;
use crate::pretraining::PretrainingKind;
use crate::shards::{Limits, RawSample, RemoteConfig, Shard, Skipped};
use crate::stream::{Prefetch, prefetch};
use crate::{DataError, Dataset};

/// A source that is open: annotations are in memory, pictures and shards where they are.
#[derive(Clone, Debug)]
pub struct Source {
    /// What it is called.
    pub name: Arc<str>,
    /// How it stands in the run file.
    pub config: SourceConfig,
    pub(crate) data: Data,
}

/// What a source is made of.
#[derive(Clone, Debug)]
pub(crate) enum Data {
    /// Annotations, their file, and the folder of the pictures.
    Records {
        dataset: Dataset,
        file: Arc<Path>,
        images: Arc<Path>,
    },
    /// Tar files.
    Shards {
        shards: Vec<Shard>,
        kind: ShardKind,
        limits: Limits,
        remote: RemoteConfig,
    },
}

/// What the samples of shards are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ShardKind {
    /// Captions or web pages.
    Pretraining(PretrainingKind),
    /// Conversations.
    Conversation,
}

/// A place in a source, from which a thread makes an example.
#[derive(Debug)]
pub(crate) enum Raw {
    /// A record's index.
    Record(usize),
    /// The members of a shard's sample.
    Sample(Result<RawSample, Skipped>),
}

impl Source {
    /// Records or samples, where it is known before reading; broken ones are among a shard's.
    ///
    /// # Errors
    /// As [`declared_samples`](crate::shards::declared_samples).
    pub fn declared(&self) -> Result<Option<u64>, DataError> {
        match &self.data {
            Data::Records { dataset, .. } => Ok(Some(dataset.len() as u64)),
            Data::Shards { shards, remote, .. } => crate::shards::declared_samples(shards, remote),
        }
    }

    /// The annotations, if it is made of such.
    pub fn dataset(&self) -> Option<&Dataset> {
        match &self.data {
            Data::Records { dataset, .. } => Some(dataset),
            Data::Shards { .. } => None,
        }
    }

    /// The shards, if it is made of such.
    pub fn shards(&self) -> &[Shard] {
        match &self.data {
            Data::Records { .. } => &[],
            Data::Shards { shards, .. } => shards,
        }
    }

    /// All examples in the order of the files, as their makers have them.
    pub fn in_file_order(&self) -> Box<dyn Iterator<Item = Result<Example, Skipped>> + Send> {
        let source = self.clone();
        Box::new(self.places().map(move |raw| source.example(raw, None)))
    }

    /// What `work` makes of all examples, in the order of the files. It is done by `threads`, on few
    /// more than that at a time.
    ///
    /// # Errors
    /// [`DataError::Stream`] if the system gives no thread.
    ///
    /// # Panics
    /// If `threads` is 0.
    pub fn worked_in_file_order<T: Send + 'static>(
        &self,
        threads: usize,
        work: impl Fn(Result<Example, Skipped>) -> T + Clone + Send + 'static,
    ) -> Result<Prefetch<T>, DataError> {
        let source = self.clone();
        let work = move |raw| work(source.example(raw, None));
        prefetch(self.places(), threads, 2 * threads, work)
    }

    /// All places in the order of the files.
    fn places(&self) -> Box<dyn Iterator<Item = Raw> + Send> {
        match &self.data {
            Data::Records { dataset, .. } => Box::new((0..dataset.len()).map(Raw::Record)),
            Data::Shards {
                shards,
                limits,
                remote,
                ..
            } => {
                let (shards, limits, remote) = (shards.clone().into_iter(), *limits, *remote);
                Box::new(shards.flat_map(move |shard| shard_samples(&shard, limits, &remote)))
            }
        }
    }

    /// What stands at a place. With a seed and an item number the options of a question are
    /// shuffled.
    pub(crate) fn example(
        &self,
        raw: Raw,
        shuffled: Option<(u64, usize)>,
    ) -> Result<Example, Skipped> {
        match (&self.data, raw) {
            (
                Data::Records {
                    dataset,
                    file,
                    images,
                },
                Raw::Record(index),
            ) => {
                let record = match shuffled {
                    Some((seed, item)) => dataset.get_shuffled(index, seed, item),
                    None => dataset.get(index),
                };
                Ok(Example::of_record(record, file, images))
            }
            (Data::Shards { kind, limits, .. }, Raw::Sample(sample)) => {
                let sample = sample?;
                match kind {
                    ShardKind::Pretraining(kind) => kind.read(sample, limits).map(Example::from),
                    ShardKind::Conversation => {
                        let shard = sample.shard.clone();
                        let (pictures, record) = read_conversation(sample, limits)?;
                        Ok(Example::of_shard(shard, pictures, record))
                    }
                }
            }
            _ => unreachable!("a place is that of its own source"),
        }
    }
}

/// A shard's samples; one that cannot be opened is one broken sample.
fn shard_samples(
    shard: &Shard,
    limits: Limits,
    remote: &RemoteConfig,
) -> Box<dyn Iterator<Item = Raw> + Send> {
    match shard.samples(limits, remote) {
        Ok(samples) => Box::new(samples.map(Raw::Sample)),
        Err(skipped) => Box::new(std::iter::once(Raw::Sample(Err(skipped)))),
    }
}
