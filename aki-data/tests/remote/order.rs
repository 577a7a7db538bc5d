//! What a store that fails does to the order of a stream, and to resuming.

use aki_data::DataError;
use aki_data::shards::{RemoteConfig, RemoteFailure, Shard};
use aki_data::stream::{Drawn, ShardStream, StreamConfig, StreamState};

use super::server::{Content, Fault, Server};
use super::{quick, shards, tar};

fn config(on_failure: RemoteFailure) -> StreamConfig {
    StreamConfig {
        buffer: 7,
        fill: 3,
        remote: RemoteConfig {
            on_failure,
            ..quick()
        },
        ..StreamConfig::new(3)
    }
}

/// Five shards of six samples.
fn store() -> (Server, Vec<Shard>) {
    let server = Server::start();
    for shard in 0..5 {
        server.put(&format!("/{shard}.tar"), Content::new(tar(shard, 6), None));
    }
    let shards = shards(&[server.url("/{0..4}.tar")]);
    (server, shards)
}

/// Gives two samples and fails.
fn fail_2(server: &Server) {
    server.fail(
        "/2.tar",
        [Fault::Cut(50_000), Fault::Status("404 Not Found")],
    );
}

/// Gives none.
fn fail_4(server: &Server) {
    server.fail("/4.tar", [Fault::Status("404 Not Found")]);
}

fn label(drawn: &Drawn) -> String {
    match &drawn.sample {
        Ok(sample) => sample.key.clone(),
        Err(skipped) => {
            assert_eq!(skipped.reason.kind(), "remote store failed");
            let name = skipped.shard.file_name().expect("a file's name");
            format!("rest of {}", name.display())
        }
    }
}

/// The first two passes.
fn two_passes(stream: ShardStream) -> Vec<(String, StreamState)> {
    let drawn = stream.map(|drawn| drawn.expect("a sample"));
    let two = drawn.take_while(|drawn| drawn.state.pass() < 2);
    two.map(|drawn| (label(&drawn), drawn.state)).collect()
}

fn labels(drawn: &[(String, StreamState)]) -> Vec<&str> {
    drawn.iter().map(|(label, _)| label.as_str()).collect()
}

fn start(shards: &[Shard], on_failure: RemoteFailure) -> ShardStream {
    ShardStream::new(shards.to_vec(), config(on_failure)).expect("a stream")
}

#[test]
fn what_was_skipped_is_skipped_by_every_run_that_goes_on() {
    let (server, shards) = store();
    fail_2(&server);
    fail_4(&server);
    let all = two_passes(start(&shards, RemoteFailure::Skip));
    // In the first pass 0, 1 and 3 whole, two samples of 2, and the two failures.
    assert_eq!(all.len(), 3 * 6 + 2 + 2 + 5 * 6);
    let lost = labels(&all)
        .iter()
        .filter(|label| label.starts_with("rest"))
        .count();
    assert_eq!(lost, 2);
    let first = |path: &str| server.requests(path)[0].at;
    let by_time = match first("/2.tar") < first("/4.tar") {
        true => [fail_2, fail_4],
        false => [fail_4, fail_2],
    };
    for (at, (_, state)) in all.iter().enumerate() {
        let json = serde_json::to_string(state).expect("a state is data");
        let data: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        let state = serde_json::from_str(&json).expect("and comes back");
        // What had failed has recovered; what was still to fail does.
        let given_up = data["given_up"].as_array().expect("a list").len();
        let still = by_time.iter().skip(given_up).filter(|_| data["pass"] == 0);
        server.mend();
        still.for_each(|fail| fail(&server));
        // Nothing more is done about what was skipped before.
        let on_failure = match given_up {
            2 => RemoteFailure::Stop,
            _ => RemoteFailure::Skip,
        };
        let resumed = ShardStream::resume(shards.clone(), config(on_failure), &state);
        let rest = two_passes(resumed.expect("a stream"));
        assert_eq!(labels(&rest), labels(&all[at + 1..]), "after {at}");
        let states = |drawn: &[(String, StreamState)]| -> Vec<StreamState> {
            drawn.iter().map(|(_, state)| state.clone()).collect()
        };
        assert_eq!(states(&rest), states(&all[at + 1..]), "after {at}");
    }
}

#[test]
fn a_stopped_stream_can_be_resumed_as_if_nothing_had_failed() {
    let (server, shards) = store();
    let whole = two_passes(start(&shards, RemoteFailure::Stop));
    assert_eq!(whole.len(), 2 * 5 * 6);
    fail_2(&server);
    fail_4(&server);
    let mut drawn = Vec::new();
    let mut stream = start(&shards, RemoteFailure::Stop);
    let error = loop {
        match stream.next().expect("an item") {
            Ok(sample) => drawn.push((label(&sample), sample.state)),
            Err(error) => break error,
        }
    };
    assert!(stream.next().is_none());
    let DataError::Remote { url, reason } = &error else {
        panic!("{error}");
    };
    assert!(
        url.starts_with("http://") && reason.contains("404"),
        "{error}"
    );
    assert_eq!(labels(&drawn), labels(&whole[..drawn.len()]));
    assert!(!drawn.is_empty());
    server.mend();
    let (_, state) = &drawn[drawn.len() - 1];
    let resumed = ShardStream::resume(shards, config(RemoteFailure::Skip), state);
    let rest = two_passes(resumed.expect("a stream"));
    assert_eq!(labels(&rest), labels(&whole[drawn.len()..]));
}

#[test]
fn a_store_that_fails_while_resuming_refuses_it() {
    let (server, shards) = store();
    let all = two_passes(start(&shards, RemoteFailure::Skip));
    let mut refused = 0;
    for (_, state) in &all[..30] {
        let paths: Vec<_> = (0..5).map(|shard| format!("/{shard}.tar")).collect();
        let asked = |path: &String| server.requests(path).len();
        let before: Vec<_> = paths.iter().map(asked).collect();
        // Whichever shard it asks for, it is not there.
        for path in &paths {
            server.fail(path, [Fault::Status("404 Not Found")]);
        }
        match ShardStream::resume(shards.clone(), config(RemoteFailure::Skip), state) {
            Ok(_) => {
                let after: Vec<_> = paths.iter().map(asked).collect();
                assert_eq!(before, after, "no sample was needed");
            }
            Err(DataError::Remote { .. }) => refused += 1,
            Err(error) => panic!("{error}"),
        }
        server.mend();
    }
    assert!(refused > 25, "{refused}");
}
