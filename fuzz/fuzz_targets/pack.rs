//! Lines that are packed into shards: what is packed can be read back.
#![no_main]

use std::path::Path;

use aki_data::datasets::read_conversation;
use aki_data::pretraining::{CaptionKind, PretrainingKind};
use aki_data::shards::{Limits, PackOptions, RemoteConfig, Shard, pack_shards};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let folder = tempfile::tempdir().expect("a folder");
    let (input, out) = (folder.path().join("in"), folder.path().join("out"));
    std::fs::write(&input, bytes).expect("writing");
    let options = PackOptions {
        images: Some(
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../aki-data/tests/fixtures/pillow"),
        ),
        max_samples: 2,
        max_bad_share: 1.0,
        ..PackOptions::default()
    };
    let Ok(packed) = pack_shards(&input, &out, &options, &mut |_| true) else {
        return;
    };
    let skipped: u64 = packed.skipped.iter().map(|it| it.count).sum();
    assert_eq!(packed.samples + skipped, packed.entries);
    let limits = Limits::default();
    let mut read = 0;
    for shard in 0..packed.shards {
        let shard = Shard::File(out.join(format!("{shard:05}.tar")).into());
        let samples = shard.samples(limits, &RemoteConfig::default());
        for raw in samples.expect("a shard") {
            let raw = raw.expect("a good sample");
            if raw.json.is_some() {
                read_conversation(raw, &limits).expect("a conversation");
            } else {
                let kind = PretrainingKind::Caption(CaptionKind::Txt);
                kind.read(raw, &limits).expect("a caption");
            }
            read += 1;
        }
    }
    assert_eq!(read, packed.samples);
});
