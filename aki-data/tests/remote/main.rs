//! Shards in remote stores: the same samples as from files, whatever a store does meanwhile.
#![cfg(feature = "remote")]

mod buckets;
mod names;
mod order;
mod server;
mod web;

use std::io::Write;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use aki_data::shards::{
    Limits, RawSample, RemoteConfig, RemoteFailure, Retry, Shard, Skipped, expand_shards,
};

/// Gives up within a second.
fn quick() -> RemoteConfig {
    RemoteConfig {
        retry: Retry {
            attempts: 3,
            first_wait: Duration::from_millis(5),
            longest_wait: Duration::from_millis(8),
        },
        idle: Duration::from_millis(400),
        on_failure: RemoteFailure::Skip,
    }
}

/// A shard with so many samples, each with a text of 20,000 bytes. Sample `i` of shard `s` has
/// the key `s-i`.
fn tar(shard: usize, samples: usize) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for sample in 0..samples {
        let text = format!("{sample:04}").repeat(5_000);
        let mut header = tar::Header::new_ustar();
        header.set_size(text.len() as u64);
        let name = format!("{shard}-{sample}.txt");
        let written = builder.append_data(&mut header, name, text.as_bytes());
        written.expect("writing to memory");
    }
    builder.into_inner().expect("writing to memory")
}

/// What all tests log.
static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Logs from before the first warning, as one that nobody listened to is never heard again.
fn listen() {
    static LISTENS: OnceLock<()> = OnceLock::new();
    LISTENS.get_or_init(|| {
        let subscriber = tracing_subscriber::fmt().with_writer(|| Log);
        subscriber.with_ansi(false).without_time().init();
    });
}

fn logged() -> String {
    let log = LOG.lock().unwrap_or_else(PoisonError::into_inner);
    String::from_utf8_lossy(&log).into_owned()
}

fn shards(names: &[String]) -> Vec<Shard> {
    listen();
    expand_shards(names, &quick()).expect("shards")
}

/// The samples of the shards, one shard after another.
fn read(shards: &[Shard], config: &RemoteConfig) -> Vec<Result<RawSample, Skipped>> {
    let opened = shards.iter().map(|shard| {
        let samples = shard.samples(Limits::default(), config);
        samples.expect("it is opened when it is read")
    });
    opened.flatten().collect()
}

/// Keys and texts, which files and stores must agree in.
fn content(samples: Vec<Result<RawSample, Skipped>>) -> Vec<(String, Option<Vec<u8>>)> {
    let content = |sample: Result<RawSample, Skipped>| {
        let sample = sample.expect("a good sample");
        (sample.key, sample.text)
    };
    samples.into_iter().map(content).collect()
}

/// Samples of the same shard in a file.
fn from_file(tar: &[u8]) -> Vec<(String, Option<Vec<u8>>)> {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), tar).expect("writing");
    let samples = content(read(&[Shard::File(file.path().into())], &quick()));
    assert!(!samples.is_empty());
    samples
}
