//! What is broken, too long, or not there.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use aki_data::DataError;
use aki_data::mixture::{BatchConfig, BatchStream, Mixture, MixtureConfig};
use aki_data::shards::RemoteConfig;
use aki_data::sources::SourceConfig;

use super::files::{Files, MEDIA, append, batching, preparer, stream, stream_of};

#[test]
fn what_is_broken_is_told_and_the_next_is_taken() {
    let files = Files::new(3);
    let sources = files.sources(&[("seven", 1.0)]);
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = told.clone();
    let mixture = Mixture::new(sources.clone(), MixtureConfig::new(3), None).expect("mixture");
    let mut stream = BatchStream::new(
        mixture,
        None,
        preparer(None),
        batching(4, None, 2),
        move |source, skipped| {
            let message = format!("{source} {} {}", skipped.key, skipped.reason.kind());
            tell.lock().expect("list").push(message);
        },
    )
    .expect("stream");
    let first = stream.next().expect("a batch").expect("good");
    assert_eq!(first.batch.documents.len(), 4);
    let mut told = told.lock().expect("list").clone();
    told.sort();
    told.dedup();
    assert!(!told.is_empty());
    assert!(told.iter().all(|message| {
        message.starts_with("seven seven") && message.ends_with("missing picture")
    }));
    assert_eq!(first.counts.samples, 4);
    let (name, tally) = stream.tallies().next().expect("a source");
    assert_eq!((name, tally.skipped()), ("seven", first.counts.skipped));

    let mixture = Mixture::new(sources, MixtureConfig::new(3), None).expect("mixture");
    let strict = BatchConfig {
        max_bad_share: 0.2,
        ..batching(4, None, 2)
    };
    let mut strict =
        BatchStream::new(mixture, None, preparer(None), strict, |_, _| ()).expect("stream");
    let error = strict.find_map(Result::err).expect("3 of 7 are too many");
    assert!(matches!(error, DataError::TooManyBroken { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains("samples of seven cannot be used"),
        "{error}"
    );
    assert!(strict.next().is_none());
}

#[test]
fn long_texts_are_cut_and_what_is_left_without_an_answer_is_skipped() {
    let files = Files::new(0);
    let sources = files.sources(&[("seven", 1.0), ("shards", 1.0)]);
    let read = |limit| {
        let mixture = Mixture::new(sources.clone(), MixtureConfig::new(3), None).expect("mixture");
        let config = BatchConfig {
            max_bad_share: 1.0,
            ..batching(30, None, 2)
        };
        let mut stream = BatchStream::new(mixture, None, preparer(Some(limit)), config, |_, _| ())
            .expect("stream");
        stream.next().expect("a batch").expect("good")
    };
    let whole = read(1000);
    assert_eq!((whole.counts.cut, whole.counts.skipped), (0, 0));
    let cut = read(20);
    assert!(
        cut.counts.cut > 0 && cut.counts.skipped > 0,
        "{:?}",
        cut.counts
    );
    assert!(cut.batch.seq_len <= 20 - 1 + MEDIA);
    assert!(
        cut.batch
            .documents
            .iter()
            .all(|document| document.kind == "shards")
    );
}

#[test]
fn a_source_that_cannot_be_used_is_named() {
    let files = Files::new(0);
    let mut config = files.config("five");
    config.images = Some("/no/such/folder".into());
    let error = config
        .open(&RemoteConfig::default())
        .expect_err("no folder")
        .to_string();
    assert!(
        error.contains("five") && error.contains("/no/such/folder"),
        "{error}"
    );
    std::fs::write(files.folder.path().join("five.jsonl"), "").expect("writing");
    assert!(files.config("five").open(&RemoteConfig::default()).is_err());
    assert!(Mixture::new(Arc::from([]), MixtureConfig::new(1), None).is_err());
}

#[test]
fn what_is_longer_than_a_row_is_told_before_its_pictures_are_looked_at() {
    let files = Files::new(7);
    let sources = files.sources(&[("seven", 1.0)]);
    let config = BatchConfig {
        max_bad_share: 1.0,
        ..batching(4, Some(10), 2)
    };
    let told = Arc::new(Mutex::new(None));
    let tell = told.clone();
    let mixture = Mixture::new(sources, MixtureConfig::new(3), None).expect("mixture");
    let stream = BatchStream::new(mixture, None, preparer(None), config, move |_, skipped| {
        *tell.lock().expect("a place") = Some(skipped.clone());
    });
    let error = stream.expect("stream").find_map(Result::err);
    let error = error.expect("none fits").to_string();
    assert!(
        error.contains("100 of 100 samples of seven") && error.contains("(too long 100)"),
        "{error}"
    );
    let skipped = told.lock().expect("a place").take().expect("one");
    assert_eq!(skipped.shard, files.folder.path().join("seven.jsonl"));
    let told = skipped.reason.to_string();
    assert!(
        told.ends_with("do not fit into a row of 10; raise packing, or set max_text_len"),
        "{told}"
    );
}

#[test]
fn shards_that_are_cut_off_are_too_many_as_shards() {
    let files = Files::new(0);
    let sources = files.sources(&[("shards", 1.0)]);
    for shard in 0..3 {
        let path = files.folder.path().join(format!("{shard}.tar"));
        let bytes = std::fs::read(&path).expect("a shard");
        std::fs::write(path, &bytes[..bytes.len() - 3_000]).expect("writing");
    }
    let mut stream = stream(&sources, batching(1, None, 1), None);
    let error = stream.find_map(Result::err).expect("all are damaged");
    assert!(
        error
            .to_string()
            .contains("3 of 3 shards with samples of shards cannot be used (damaged shard 3)"),
        "{error}"
    );
}

/// Set in the process whose standard input is a shard.
const PIPED: &str = "AKI_TEST_PIPED";

#[test]
fn the_end_of_standard_input_is_judged() {
    if std::env::var_os(PIPED).is_some() {
        let config = SourceConfig {
            shards: vec!["-".to_owned()],
            ..Files::new(0).config("shards")
        };
        let source = config.open(&RemoteConfig::default()).expect("source");
        let stream = stream_of(
            &Arc::from([source]),
            MixtureConfig::new(3),
            preparer(None),
            batching(4, None, 2),
            None,
        );
        let made: Result<Vec<_>, _> = stream.expect("stream").collect();
        let error = made.map(|_| ()).expect_err("nothing is good");
        let told = error.to_string();
        assert!(
            told.contains("90 of 90 samples of shards cannot be used"),
            "{told}"
        );
        return;
    }
    let mut shard = tar::Builder::new(Vec::new());
    for n in 0..90 {
        append(&mut shard, &format!("{n}.png"), b"no picture");
        append(&mut shard, &format!("{n}.txt"), b"a circle");
    }
    let shard = shard.into_inner().expect("a shard");
    let mut piped = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "broken::the_end_of_standard_input_is_judged"])
        .env(PIPED, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process");
    let mut stdin = piped.stdin.take().expect("a pipe");
    stdin.write_all(&shard).expect("writing");
    drop(stdin);
    let output = piped.wait_with_output().expect("its end");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && told.contains("1 passed"),
        "{told}"
    );
}
