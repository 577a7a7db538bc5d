//! The texts of the pre-training sets, held to `tests/reference/pretraining_sources.py`.

use std::path::{Path, PathBuf};

use aki_data::pretraining::{CaptionKind, Mmc4, PretrainingKind};
use aki_data::shards::{Limits, RawSample, RemoteConfig, Shard};
use serde::Deserialize;

#[derive(Deserialize)]
struct Caption {
    kind: CaptionKind,
    txt: String,
    text: String,
}

#[derive(Deserialize)]
struct Case {
    page: serde_json::Value,
    text: String,
    pictures: Vec<usize>,
}

fn fixture(name: &str) -> PathBuf {
    Path::new("tests/fixtures/pretraining").join(name)
}

fn cases<T: serde::de::DeserializeOwned>(name: &str) -> Vec<T> {
    let text = std::fs::read_to_string(fixture(name)).expect("fixture");
    serde_json::from_str(&text).expect("cases")
}

fn raw() -> RawSample {
    RawSample {
        shard: Path::new("s.tar").into(),
        key: "k".to_owned(),
        pictures: Vec::new(),
        text: None,
        json: None,
    }
}

fn samples(name: &str) -> Vec<RawSample> {
    let shard = Shard::File(fixture(name).into());
    let samples = shard
        .samples(Limits::default(), &RemoteConfig::default())
        .expect("shard");
    samples
        .map(|sample| sample.expect("a good sample"))
        .collect()
}

#[test]
fn captions_are_those_of_the_reference() {
    let cases: Vec<Caption> = cases("captions.json");
    let pictures = samples("gnu.tar").swap_remove(0).pictures;
    assert_eq!(pictures.len(), 1);
    assert_eq!(cases.len(), 10);
    for case in cases {
        let raw = RawSample {
            pictures: pictures.clone(),
            text: Some(case.txt.into_bytes()),
            ..raw()
        };
        let sample = PretrainingKind::Caption(case.kind).read(raw, &Limits::default());
        let sample = sample.expect("a sample");
        assert_eq!(sample.spelled(), case.text, "{:?}", case.kind);
        assert_eq!(sample.pictures, pictures);
    }
}

#[test]
fn pages_have_the_texts_and_pictures_of_the_reference() {
    let mmc4 = PretrainingKind::Mmc4(Mmc4 {
        max_pictures: 3,
        min_similarity: 0.24,
    });
    for case in cases::<Case>("mmc4.json") {
        let raw = RawSample {
            json: Some(case.page.to_string().into_bytes()),
            ..raw()
        };
        let sample = mmc4.read(raw, &Limits::default()).expect("a sample");
        assert_eq!(sample.spelled(), case.text);
        let expected: Vec<_> = case
            .pictures
            .iter()
            .map(|&picture| {
                let text = &case.page["image_info"][picture]["image_base64"];
                let text = text.as_str().expect("a picture");
                base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text)
                    .expect("base64")
            })
            .collect();
        assert_eq!(sample.pictures, expected);
    }
}

#[test]
fn shards_in_all_formats_of_tar_hold_the_same() {
    let read = |name: &str| {
        let samples = samples(name).into_iter();
        let samples = samples.map(|it| (it.key, it.pictures, it.text, it.json));
        samples.collect::<Vec<_>>()
    };
    let gnu = read("gnu.tar");
    let keys: Vec<_> = gnu.iter().map(|sample| sample.0.as_str()).collect();
    let long = format!("{}/{}", "long".repeat(20), "name".repeat(10));
    assert_eq!(keys, ["000", "folder/001", long.as_str(), "größe"]);
    assert_eq!(gnu, read("pax.tar"));
    assert_eq!(gnu, read("ustar.tar"));
}
