//! Who may ask, and what keeps the server from being started.

use std::fs;

use serde_json::json;

use super::server::{Server, question};
use crate::support::{Workplace, command, finish};

#[test]
fn pages_of_others_may_not_ask_a_server_on_loopback() {
    let server = Server::start(&[]);
    let port = server.port;
    let body = question("hi", json!({})).to_string();
    let ask = |lines: &str| {
        let path = "/v1/chat/completions";
        server.ask("POST", path, lines, body.as_bytes())
    };
    assert_eq!(
        ask(&format!("Origin: http://127.0.0.1:{port}\r\n")).status,
        200
    );
    for origin in ["http://evil.example", "null", "http://127.0.0.1:1"] {
        let reply = ask(&format!("Origin: {origin}\r\n"));
        assert_eq!(reply.error().2, "origin_not_allowed");
        assert_eq!(reply.status, 403);
        assert!(!reply.head.contains("access-control"), "{}", reply.head);
    }
    for (host, status) in [
        ("localhost:1", 200),
        ("[::1]", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example", 403),
    ] {
        let mut stream = server.connect();
        let head = format!("GET /v1/models HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        std::io::Write::write_all(&mut stream, head.as_bytes()).expect("a request");
        assert_eq!(super::server::Reply::read(stream).status, status, "{host}");
    }
    server.stop();
}

#[test]
fn a_key_is_wanted_where_there_is_one() {
    let place = Workplace::new();
    place.train(&[]).good();
    let server = Server::of(place, &[], &[("AKI_API_KEY", "secret")]);
    let ask = |line: &str| server.ask("GET", "/v1/models", line, b"");
    assert_eq!(ask("Authorization: Bearer secret\r\n").status, 200);
    assert_eq!(ask("Authorization: bearer secret\r\n").status, 200);
    for line in [
        "",
        "Authorization: secret\r\n",
        "Authorization: Bearer secre\r\n",
        "Authorization: Bearer secrets\r\n",
        "Authorization: Basic c2VjcmV0\r\n",
    ] {
        let reply = ask(line);
        assert_eq!(
            reply.error(),
            (401, String::new(), "invalid_api_key".to_owned())
        );
        assert!(reply.head.contains("www-authenticate: bearer"));
    }
    let open = ["/health", "/", "/metrics", "/v1/nothing"].map(|path| server.get(path).status);
    assert_eq!(open, [200, 200, 401, 401]);
    let (place, _) = server.stop_keeping();
    fs::write(place.path("key"), "of-file\n").expect("a file");
    let server = Server::of(place, &["--api-key-file", "key"], &[]);
    let key = "Authorization: Bearer of-file\r\n";
    assert_eq!(server.ask("GET", "/metrics", key, b"").status, 200);
    server.stop();
}

#[test]
fn what_cannot_be_served_is_told() {
    let place = Workplace::new();
    place.train(&[]).good();
    let serve = ["serve", "-m", "run", "--device", "cpu", "--addr"];
    let held = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = held.local_addr().expect("an address").to_string();
    let message = place.aki(&[&serve[..], &[&taken]].concat()).refused();
    let message = message.replace(&taken, "[address]");
    insta::assert_snapshot!(message, @"error: cannot listen on [address]: Address already in use (os error 98); choose with --addr");
    drop(held);
    fs::write(place.path("key"), "two words").expect("a file");
    let keyed = [&serve[..], &["127.0.0.1:0", "--api-key-file"]].concat();
    let message = place.aki(&[&keyed[..], &["key"]].concat()).refused();
    insta::assert_snapshot!(message, @"error: the key in key must be one word of ASCII characters");
    let message = place.aki(&[&keyed[..], &["missing"]].concat()).refused();
    insta::assert_snapshot!(message, @"error: cannot read missing: No such file or directory (os error 2)");
    let mut both = command(&place.path("."));
    both.args([&keyed[..], &["key"]].concat())
        .env("AKI_API_KEY", "a");
    let message = finish(both, "").refused();
    insta::assert_snapshot!(message, @"error: AKI_API_KEY is set and --api-key-file is given; use one of them");
}
