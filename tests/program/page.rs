//! The page of `aki serve`, in a browser; and the attention that it shows.

use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::python;
use crate::serve::server::{Reply, Server, shown};
use crate::support::{Workplace, repository};

const CHROMIUM: &str = "/usr/bin/chromium";

/// Where pictures of what the browser sees are put.
const SHOTS: &str = "AKI_PAGE_SHOTS";

#[test]
fn a_browser_shows_the_page() {
    if python::lacks("playwright", "1.65.2") {
        return;
    }
    if !Path::new(CHROMIUM).exists() {
        eprintln!("skipped: there is no {CHROMIUM}; apt-get install chromium");
        return;
    }
    let place = Workplace::new();
    place.train(&[]).good();
    let args = ["--max-tokens", "100000000"];
    let server = Server::of(place, &args, &[("AKI_API_KEY", "secret")]);
    let mut command = Command::new("python3");
    command
        .arg(repository().join("tests/reference/page.py"))
        .arg(format!("http://127.0.0.1:{}", server.port))
        .args(["--key", "secret"]);
    if let Some(folder) = std::env::var_os(SHOTS) {
        command.arg("--shots").arg(folder);
    }
    let output = command.output().expect("python3");
    let said = String::from_utf8_lossy(&output.stdout);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{told}");
    assert_eq!(said, "all of it is as it should be\n");
    server.stop();
}

#[test]
fn the_page_is_whole_and_asks_nobody_else() {
    let server = Server::start(&[]);
    let page = server.get("/");
    assert_eq!(page.status, 200);
    let policy =
        "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self';";
    assert!(page.head.contains(policy), "{}", page.head);
    for (part, kind) in [("/page.css", "text/css"), ("/page.js", "text/javascript")] {
        assert!(page.body.contains(&format!("\"{part}\"")), "{part}");
        let part = server.get(part);
        assert_eq!(part.status, 200);
        assert!(part.head.contains(kind), "{}", part.head);
        assert!(!part.body.contains("http://") && !part.body.contains("https://"));
        assert!(!part.body.contains("innerHTML"));
    }
    server.stop();
}

fn look(server: &Server, request: &Value) -> Reply {
    let body = request.to_string();
    server.ask("POST", "/api/attention", "", body.as_bytes())
}

fn halves(json: &Value) -> Vec<u16> {
    let text = json.as_str().expect("base64");
    let bytes = BASE64_STANDARD.decode(text).expect("base64");
    let halves = bytes.chunks(2);
    halves
        .map(|it| u16::from_le_bytes([it[0], it[1]]))
        .collect()
}

#[test]
fn attention_is_told_under_both_rules() {
    let server = Server::start(&[]);
    let mut messages = shown(&server.picture(), "what is it?");
    let answer = json!({"role": "assistant", "content": "blue"});
    messages.as_array_mut().expect("messages").push(answer);
    for policy in ["mma", "causal"] {
        let request = json!({"messages": messages, "policy": policy, "answer": policy == "causal"});
        let reply = look(&server, &request);
        assert_eq!(reply.status, 200, "{}", reply.body);
        let view = reply.json();
        assert_eq!(view["answer"].is_string(), policy == "causal");
        let (words, media) = (view["words"].as_array().expect("words"), 4);
        assert_eq!(view["media"], media);
        assert_eq!(view["grid"], 8);
        let of_media = halves(&view["media_to_words"]);
        assert_eq!(of_media.len(), 2 * words.len() * media);
        assert_eq!(halves(&view["words_to_media"]).len(), of_media.len());
        assert_eq!(halves(&view["patches"]).len(), media * 64);
        for (at, word) in words.iter().enumerate() {
            let values = &of_media[at * media..][..media];
            let seen = word["shown"].as_bool().expect("a flag");
            assert_eq!(values.iter().any(|&half| half != 0), seen, "{word}");
            match word["part"].as_str() {
                Some("question") => assert_eq!(seen, policy == "mma"),
                Some("answer") => assert!(!seen),
                _ => {}
            }
        }
    }
    server.stop();
}

#[test]
fn what_cannot_be_looked_at_is_told() {
    let server = Server::start(&[]);
    let with = shown(&server.picture(), "what is it?");
    let without = json!([{"role": "user", "content": "what is it?"}]);
    for (request, expected) in [
        (
            json!({"messages": with, "policy": "prefix"}),
            "policy must be mma or causal",
        ),
        (json!({"messages": with}), "policy must be mma or causal"),
        (
            json!({"messages": with, "policy": "mma", "layers": [7]}),
            "layer 7 is not there",
        ),
        (
            json!({"messages": with, "policy": "mma", "layers": [-1]}),
            "layers must be whole numbers",
        ),
        (
            json!({"messages": without, "policy": "mma"}),
            "no picture in the conversation",
        ),
        (
            json!({"messages": [], "policy": "mma"}),
            "messages must be a list",
        ),
        (
            json!({"messages": with, "policy": "mma", "heads": 1}),
            "heads is not known here",
        ),
        (json!([]), "the body must be a JSON object"),
    ] {
        let reply = look(&server, &request);
        assert_eq!(reply.status, 400, "{}", reply.body);
        let message = reply.json()["error"]["message"].to_string();
        assert!(message.contains(expected), "{message}");
    }
    server.stop();
}
