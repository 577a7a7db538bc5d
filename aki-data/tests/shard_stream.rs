//! The order of a stream of shards: complete, disjoint between ranks, resumable anywhere.

use std::collections::BTreeMap;
use std::path::Path;

use aki_data::shards::{Limits, RemoteConfig, Shard, expand_shards};
use aki_data::stream::{Drawn, ShardDraw, ShardStream, StreamConfig, StreamState, prefetch};
use proptest::prelude::*;

/// A folder of shards with so many samples each. Sample `i` of shard `s` has the key
/// `s-i`; every fifth has a member above its limit.
fn folder(sizes: &[usize]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("folder");
    for (shard, &size) in sizes.iter().enumerate() {
        let mut builder = tar::Builder::new(Vec::new());
        for sample in 0..size {
            let text = "x".repeat(if sample % 5 == 4 { 11 } else { 3 });
            let mut header = tar::Header::new_ustar();
            header.set_size(text.len() as u64);
            let name = format!("{shard}-{sample}.txt");
            let written = builder.append_data(&mut header, name, text.as_bytes());
            written.expect("writing to memory");
        }
        let bytes = builder.into_inner().expect("writing to memory");
        std::fs::write(name(folder.path(), shard), bytes).expect("writing");
    }
    folder
}

fn name(folder: &Path, shard: usize) -> std::path::PathBuf {
    folder.join(format!("{shard:03}.tar"))
}

fn shards(folder: &tempfile::TempDir) -> Vec<Shard> {
    expand_shards(
        &[folder.path().join("*.tar").display().to_string()],
        &RemoteConfig::default(),
    )
    .expect("shards")
}

fn config(seed: u64) -> StreamConfig {
    StreamConfig {
        buffer: 7,
        fill: 3,
        limits: Limits {
            text_bytes: 10,
            ..Limits::default()
        },
        ..StreamConfig::new(seed)
    }
}

fn key(drawn: &Drawn) -> String {
    match &drawn.sample {
        Ok(sample) => sample.key.clone(),
        Err(skipped) => format!("bad {}", skipped.key),
    }
}

/// The samples of one pass.
fn pass(stream: ShardStream, pass: u64) -> Vec<Drawn> {
    let drawn = stream.map(|drawn| drawn.expect("a sample"));
    drawn
        .skip_while(|drawn| drawn.state.pass() < pass)
        .take_while(|drawn| drawn.state.pass() == pass)
        .collect()
}

fn through_json(state: &StreamState) -> StreamState {
    let json = serde_json::to_string(state).expect("a state is data");
    serde_json::from_str(&json).expect("and comes back")
}

fn draws() -> impl Strategy<Value = ShardDraw> {
    prop_oneof![Just(ShardDraw::Once), Just(ShardDraw::Resampled)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_pass_has_each_sample_once_over_all_ranks(
        seed: u64, sizes in prop::collection::vec(0_usize..12, 4..9), world_size in 1_usize..5,
        number in 0_u64..3,
    ) {
        // A rank with nothing to read is an error of its own.
        let sizes: Vec<_> = sizes.iter().map(|size| size + 1).collect();
        let folder = folder(&sizes);
        let mut seen = BTreeMap::<String, usize>::new();
        for rank in 0..world_size {
            let config = StreamConfig { rank, world_size, ..config(seed) };
            let stream = ShardStream::new(shards(&folder), config).expect("stream");
            for drawn in pass(stream, number) {
                *seen.entry(key(&drawn)).or_default() += 1;
            }
        }
        prop_assert_eq!(seen.len(), sizes.iter().sum::<usize>());
        prop_assert!(seen.values().all(|&times| times == 1));
    }

    #[test]
    fn resuming_anywhere_goes_on_with_the_same_samples(
        seed: u64, sizes in prop::collection::vec(0_usize..9, 4..7), draw in draws(),
        rank in 0_usize..2, buffer in 1_usize..9, damaged: bool,
    ) {
        let mut sizes = sizes;
        sizes.extend([3, 4, 5]);
        let folder = folder(&sizes);
        if damaged {
            let last = name(folder.path(), sizes.len() - 1);
            let bytes = std::fs::read(&last).expect("shard");
            std::fs::write(&last, &bytes[..2 * 1024 + 600]).expect("writing");
            std::fs::write(name(folder.path(), 0), b"no tar").expect("writing");
        }
        let config = StreamConfig {
            rank, world_size: 2, draw, buffer, fill: buffer.div_ceil(2), ..config(seed)
        };
        let start = ShardStream::new(shards(&folder), config);
        let start = start.expect("stream");
        let first = start.state().clone();
        // Into the third pass.
        let all: Vec<_> = start.map_while(Result::ok).take(60).collect();
        let states = std::iter::once(&first).chain(all.iter().map(|drawn| &drawn.state));
        for (at, state) in states.enumerate() {
            let resumed = ShardStream::resume(shards(&folder), config, &through_json(state));
            let resumed = resumed.expect("the same stream");
            prop_assert_eq!(resumed.state(), state);
            let rest: Vec<_> = resumed.map_while(Result::ok).take(all.len() - at).collect();
            prop_assert_eq!(&rest[..], &all[at..], "after {} samples", at);
        }
    }
}

#[test]
fn threads_change_neither_samples_nor_states() {
    let folder = folder(&[9, 4, 11]);
    let of = |threads| {
        let stream = ShardStream::new(shards(&folder), config(3)).expect("stream");
        let prefetched = prefetch(stream, threads, 4, |drawn| drawn).expect("threads");
        prefetched
            .take(80)
            .collect::<Result<Vec<_>, _>>()
            .expect("samples")
    };
    let one = of(1);
    assert_eq!(one, of(5));
    let bad = one.iter().filter(|drawn| drawn.sample.is_err()).count();
    assert!(bad >= 9, "three of the 24 samples are too long");
    let orders = [&one[..24], &one[24..48]].map(|pass| pass.iter().map(key).collect::<Vec<_>>());
    assert_ne!(orders[0], orders[1], "each pass has an order of its own");
}

#[test]
fn another_stream_is_refused_with_the_reason() {
    let folder = folder(&[5, 5, 5, 5]);
    let all = shards(&folder);
    let config = StreamConfig {
        world_size: 2,
        ..config(1)
    };
    let mut stream = ShardStream::new(all.clone(), config).expect("stream");
    let state = stream.nth(4).expect("a sample").expect("a sample").state;
    let refused = |shards: Vec<Shard>, config: StreamConfig, part: &str| {
        let error = ShardStream::resume(shards, config, &state).err();
        let error = error.expect("another stream").to_string();
        assert!(error.contains(part), "{error}");
    };
    let with = |change: &dyn Fn(&mut StreamConfig)| {
        let mut config = config;
        change(&mut config);
        config
    };
    refused(
        all.clone(),
        with(&|it| it.world_size = 4),
        "world size of 2, and this run has 4",
    );
    refused(all.clone(), with(&|it| it.rank = 1), "rank 0");
    refused(all.clone(), with(&|it| it.seed = 9), "seed 1");
    refused(all.clone(), with(&|it| it.buffer = 8), "buffer of 7");
    refused(
        all.clone(),
        with(&|it| it.draw = ShardDraw::Resampled),
        "resamples",
    );
    refused(all[..3].to_vec(), config, "number of shards of 4");
    let mut turned = all.clone();
    turned.reverse();
    refused(turned, config, "order");
    for shard in 0..4 {
        let empty = tar::Builder::new(Vec::new()).into_inner().expect("memory");
        std::fs::write(name(folder.path(), shard), empty).expect("writing");
    }
    refused(all, config, "fewer samples");
}

#[test]
fn what_cannot_be_streamed_is_told() {
    let folder = folder(&[0, 0]);
    let new = |config| ShardStream::new(shards(&folder), config);
    for config in [
        StreamConfig {
            rank: 1,
            ..config(0)
        },
        StreamConfig {
            world_size: 3,
            ..config(0)
        },
        StreamConfig {
            fill: 0,
            ..config(0)
        },
        StreamConfig {
            fill: 8,
            ..config(0)
        },
    ] {
        assert!(new(config).is_err());
    }
    let mut stream = new(config(0)).expect("stream");
    let error = stream.next().expect("an item").expect_err("no sample");
    assert!(error.to_string().contains("no sample"), "{error}");
    assert!(stream.next().is_none());
}
