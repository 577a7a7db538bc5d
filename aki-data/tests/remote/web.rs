//! Reading from a web server that fails.

use std::time::Duration;

use aki_data::shards::{Limits, RemoteConfig, Retry, SkipReason};
use proptest::prelude::*;

use super::server::{Content, Fault, Server};
use super::{content, from_file, logged, quick, read, shards, tar};

#[test]
fn the_samples_are_those_of_the_file_whatever_the_server_does() {
    let server = Server::start();
    let bytes = tar(0, 40);
    let expected = from_file(&bytes);
    let elsewhere = server.url("/elsewhere/b.tar");
    server.put("/elsewhere/b.tar", Content::new(bytes.clone(), None));
    let faults = || {
        let busy = || Fault::Status("503 Service Unavailable");
        [
            vec![],
            vec![busy(), busy()],
            vec![
                Fault::Status("429 Too Many Requests"),
                Fault::Status("408 Request Timeout"),
            ],
            vec![Fault::Cut(300_000)],
            vec![
                Fault::Cut(0),
                Fault::Cut(0),
                Fault::Cut(1),
                Fault::Cut(1),
                Fault::Cut(511),
            ],
            vec![
                Fault::Stall(100_000),
                busy(),
                Fault::Cut(5),
                Fault::Stall(0),
            ],
            vec![Fault::Redirect(elsewhere.clone())],
            vec![Fault::Cut(200_000), Fault::Redirect(elsewhere.clone())],
        ]
    };
    for tag in [None, Some("\"strong\""), Some("W/\"weak\"")] {
        server.put("/elsewhere/b.tar", Content::new(bytes.clone(), tag));
        for (number, faults) in faults().into_iter().enumerate() {
            let path = format!("/{number}.tar");
            server.put(&path, Content::new(bytes.clone(), tag));
            server.fail(&path, faults);
            let samples = content(read(&shards(&[server.url(&path)]), &quick()));
            assert!(samples == expected, "{path} with tag {tag:?}");
        }
    }
    // Of the three, the first knew no tag and the last none that can be asked for.
    let resumed: Vec<_> = server
        .requests("/3.tar")
        .into_iter()
        .skip(1)
        .step_by(2)
        .collect();
    let header = |name: &str| -> Vec<_> {
        resumed
            .iter()
            .map(|request| request.headers.get(name).cloned())
            .collect()
    };
    assert_eq!(header("range"), vec![Some("bytes=300000-".to_owned()); 3]);
    assert_eq!(
        header("if-match"),
        [None, Some("\"strong\"".to_owned()), None]
    );
}

/// What is in the place of a shard that cannot be read.
fn failure(url: String, config: &RemoteConfig) -> String {
    let mut samples = read(&shards(&[url]), config);
    let skipped = samples.pop().expect("an item").expect_err("a failure");
    assert!(samples.iter().all(Result::is_ok));
    assert_eq!(skipped.reason.kind(), "remote store failed");
    match skipped.reason {
        SkipReason::Remote { reason } => reason,
        other => panic!("{other}"),
    }
}

#[test]
fn what_a_server_answers_stands() {
    let server = Server::start();
    for (status, times) in [
        ("404 Not Found", 1),
        ("400 Bad Request", 1),
        ("403 Forbidden", 1),
        ("410 Gone", 1),
        ("429 Too Many Requests", 3),
        ("500 Internal Server Error", 3),
    ] {
        let path = format!("/{}.tar", &status[..3]);
        server.fail(&path, (0..5).map(|_| Fault::Status(status)));
        let reason = failure(server.url(&path), &quick());
        assert!(reason.contains(status), "{reason}");
        assert_eq!(server.requests(&path).len(), times, "{status}");
    }
    let nobody = "http://127.0.0.1:1/x.tar".to_owned();
    let reason = failure(nobody, &quick());
    assert!(
        reason.contains("refused") && reason.contains("3 times"),
        "{reason}"
    );
}

#[test]
fn an_object_that_changed_is_not_read_on() {
    let server = Server::start();
    let (old, new) = (tar(0, 40), tar(1, 40));
    assert_eq!(old.len(), new.len());
    let longer = tar(1, 41);
    for (then, now, new) in [
        (Some("\"a\""), Some("\"b\""), new.clone()),
        (Some("W/\"a\""), Some("W/\"b\""), new),
        (None, None, longer),
    ] {
        server.put("/a.tar", Content::new(old.clone(), then));
        server.fail("/a.tar", [Fault::Change(300_000, Content::new(new, now))]);
        let before = server.requests("/a.tar").len();
        let reason = failure(server.url("/a.tar"), &quick());
        assert!(reason.contains("changed"), "{reason}");
        assert_eq!(
            server.requests("/a.tar").len() - before,
            2,
            "it is not tried again"
        );
    }
    server.put("/b.tar", Content::new(old, None));
    server.fail("/b.tar", [Fault::Cut(300_000), Fault::Whole]);
    let reason = failure(server.url("/b.tar"), &quick());
    assert!(reason.contains("no parts"), "{reason}");
}

#[test]
fn a_body_that_is_longer_than_announced_is_not_read_on() {
    let server = Server::start();
    server.put("/a.tar", Content::new(tar(0, 40), None));
    // The first answer says how much there is.
    server.fail("/a.tar", [Fault::Cut(300_000), Fault::Longer(100_000)]);
    let reason = failure(server.url("/a.tar"), &quick());
    assert!(reason.contains("bytes that were announced"), "{reason}");
    assert_eq!(server.requests("/a.tar").len(), 2, "it is not tried again");
}

#[test]
fn waits_grow_and_are_told() {
    let server = Server::start();
    server.put("/a.tar", Content::new(tar(0, 2), None));
    let faults = [
        "503 Service Unavailable",
        "500 Internal Server Error",
        "502 Bad Gateway",
    ];
    server.fail("/a.tar", faults.map(Fault::Status));
    let config = RemoteConfig {
        retry: Retry {
            attempts: 4,
            first_wait: Duration::from_millis(60),
            longest_wait: Duration::from_millis(150),
        },
        ..quick()
    };
    let url = format!("{}?token=secret", server.url("/a.tar"));
    let samples = read(&shards(&[url]), &config);
    assert_eq!(content(samples).len(), 2);
    let times: Vec<_> = server
        .requests("/a.tar")
        .iter()
        .map(|request| request.at)
        .collect();
    let waits: Vec<_> = times
        .windows(2)
        .map(|pair| (pair[1] - pair[0]).as_millis())
        .collect();
    assert!(
        waits[0] >= 60 && waits[1] >= 120 && waits[2] >= 150,
        "{waits:?}"
    );
    let told = logged();
    let here = server.url("/");
    let lines: Vec<_> = told.lines().filter(|line| line.contains(&here)).collect();
    let expected = format!(
        "retrying {} in 0.06 s: the server answered 503 Service Unavailable",
        server.url("/a.tar")
    );
    assert!(lines.len() == 3 && lines[0].ends_with(&expected), "{told}");
    assert!(!told.contains("secret"), "{told}");
}

#[test]
fn a_large_body_is_never_held() {
    const MEMBER: usize = 1_000_000;
    let mut builder = tar::Builder::new(Vec::new());
    for key in ["a", "b"] {
        let mut header = tar::Header::new_ustar();
        header.set_size(MEMBER as u64);
        let text = vec![b'x'; MEMBER];
        let written = builder.append_data(&mut header, format!("{key}.txt"), text.as_slice());
        written.expect("writing to memory");
    }
    let bytes = builder.into_inner().expect("writing to memory");
    let (unit, tail) = bytes.split_at(bytes.len() - 1024);
    let large = Content {
        unit: unit.to_vec(),
        times: 100,
        tail: tail.to_vec(),
        tag: None,
    };
    let server = Server::start();
    server.put("/large.tar", large);
    let shard = &shards(&[server.url("/large.tar")])[0];
    // What comes while nothing is read must not count as silence either.
    let config = quick();
    let mut samples = shard.samples(Limits::default(), &config).expect("a shard");
    for read in 1..=200 {
        let sample = samples.next().expect("a sample").expect("a good one");
        assert_eq!(sample.text.map(|text| text.len()), Some(MEMBER));
        if read % 50 == 1 {
            std::thread::sleep(config.idle + Duration::from_millis(100));
            // The system's buffers for both ends of a connection, which Linux lets grow to 4
            // and 6 or 32 MiB, and what is ours.
            let ahead = server.sent() - (read * MEMBER) as u64;
            assert!(ahead < 64 << 20, "{ahead} bytes ahead");
        }
    }
    assert!(samples.next().is_none());
    assert_eq!(server.requests("/large.tar").len(), 1);
}

#[test]
fn within_an_asynchronous_task_it_is_an_error() {
    let server = Server::start();
    server.put("/a.tar", Content::new(tar(0, 2), None));
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let url = server.url("/a.tar");
    let task = async { failure(url, &quick()) };
    let reason = runtime.expect("a runtime").block_on(task);
    assert!(reason.contains("thread"), "{reason}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_body_cut_anywhere_is_put_together(
        cuts in prop::collection::vec(1_u64..300_000, 0..6), tagged: bool,
    ) {
        let server = Server::start();
        let bytes = tar(0, 30);
        server.put("/a.tar", Content::new(bytes.clone(), tagged.then_some("\"t\"")));
        server.fail("/a.tar", cuts.into_iter().map(Fault::Cut));
        let samples = content(read(&shards(&[server.url("/a.tar")]), &quick()));
        prop_assert!(samples == from_file(&bytes));
    }
}
