//! Requests that wait, clients that leave, and the end.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::server::{Reply, Server, leave, question, until, until_line};

/// A question whose answer does not come to an end in a test's time.
fn endless(stream: bool) -> Value {
    question(
        "what is it?",
        json!({"stream": stream, "max_tokens": 100_000_000}),
    )
}

const LONG: [&str; 2] = ["--max-tokens", "100000000"];

#[test]
fn a_full_queue_refuses_and_a_client_that_leaves_frees_its_place() {
    let server = Server::start(&[&LONG[..], &["--queue", "0"]].concat());
    let short = question("hi", json!({}));
    for stream in [true, false] {
        let long = server.begin(&endless(stream));
        until(|| server.metric("aki_running") == 1);
        let refused = server.complete(&short);
        assert_eq!(
            refused.error(),
            (429, String::new(), "queue_full".to_owned())
        );
        assert!(refused.head.contains("retry-after: "), "{}", refused.head);
        leave(long);
        until(|| server.complete(&short).status == 200);
        // Else the next look may still find this one.
        until(|| server.metric("aki_running") == 0);
    }
    assert!(server.metric("aki_refused_total") >= 2);
    assert_eq!(server.metric("aki_cancelled_total"), 2);
    let ended = server.stop();
    assert_eq!(
        ended.stderr.matches(" left ").count(),
        2,
        "{}",
        ended.stderr
    );
}

#[test]
fn requests_wait_for_their_turn_and_those_whose_client_leaves_are_taken_out() {
    let server = Server::start(&[&LONG[..], &["--queue", "1"]].concat());
    let running = server.begin(&endless(true));
    until_line(&running, "content");
    let waits = |count: u64| server.metric("aki_queue_length") == count;
    let first = server.begin(&endless(false));
    until(|| waits(1));
    assert_eq!(server.complete(&question("hi", json!({}))).status, 429);
    leave(first);
    until(|| waits(0));
    let second = server.begin(&question("hi", json!({})));
    until(|| waits(1));
    leave(running);
    assert_eq!(Reply::read(second).status, 200);
    server.stop();
}

#[test]
fn an_answer_takes_no_longer_than_it_may() {
    let server = Server::start(&[&LONG[..], &["--time-limit", "1"]].concat());
    let begun = Instant::now();
    let reply = server.complete(&endless(false)).json();
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert_eq!(reply["choices"][0]["finish_reason"], "length");
    assert!(reply["usage"]["completion_tokens"].as_u64() > Some(8));
    server.stop();
}

#[test]
fn asked_to_end_it_lets_answers_go_on_for_a_while() {
    let mut server = Server::start(&[&LONG[..], &["--grace", "2"]].concat());
    let running = server.begin(&endless(true));
    until_line(&running, "content");
    let waiting = server.begin(&question("hi", json!({})));
    until(|| server.metric("aki_queue_length") == 1);
    server.running.send("TERM");
    until(|| server.get("/health").status == 503);
    let refused = server.complete(&question("hi", json!({})));
    assert_eq!(refused.error(), (503, String::new(), "stopping".to_owned()));
    until_line(&running, "\"finish_reason\":\"length\"");
    // Its turn did not come.
    assert_eq!(Reply::read(waiting).error().0, 503);
    let ended = server.running.end(Duration::from_secs(20));
    assert_eq!(ended.code, Some(143), "{}", ended.stderr);
}

#[test]
fn a_second_ctrl_c_ends_it_at_once() {
    let mut server = Server::start(&[&LONG[..], &["--grace", "600"]].concat());
    let running = server.begin(&endless(true));
    until_line(&running, "content");
    server.running.send("INT");
    until(|| server.get("/health").status == 503);
    std::thread::sleep(Duration::from_millis(1100));
    server.running.send("INT");
    let ended = server.running.end(Duration::from_secs(20));
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
}
