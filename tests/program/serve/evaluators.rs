//! The calls of programs that evaluate models from outside: `VLMEvalKit` (`vlmeval/api/gpt.py`, `lmdeploy.py` and
//! `base.py`) and lmms-eval (`models/simple/openai.py` and `models/chat/openai.py`), as they stood in November 2026.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::server::Server;
use crate::support::{Workplace, repository, text};

/// What Python's requests sends beside a body.
const REQUESTS: &str = "User-Agent: python-requests/2.32.5\r\nAccept-Encoding: gzip, deflate\r\nAccept: */*\r\n\
    Content-Type: application/json\r\nAuthorization: Bearer sk-aki\r\n";

/// What OpenAI's client sends, by which lmms-eval asks.
const OPENAI: &str = "Accept: application/json\r\nContent-Type: application/json\r\nUser-Agent: OpenAI/Python 2.8.1\r\n\
    X-Stainless-Lang: python\r\nX-Stainless-Async: false\r\nx-stainless-retry-count: 0\r\n\
    x-stainless-read-timeout: 600\r\nAuthorization: Bearer sk-aki\r\n";

const QUESTION: &str = "what color is the shape?";

fn jpeg() -> std::path::PathBuf {
    repository().join("aki-data/tests/fixtures/pillow_modes/420_61x47.jpg")
}

fn serve() -> Server {
    let place = Workplace::new();
    place.train(&[]).good();
    Server::of(place, &["--max-tokens", "8"], &[("AKI_API_KEY", "sk-aki")])
}

/// What `aki generate` says to the picture.
fn generated(server: &Server) -> String {
    let picture = text(&jpeg());
    let args = ["generate", "-m", "run", "--device", "cpu", "-p", QUESTION];
    let more = ["-i", &picture, "--max-new-tokens", "8"];
    let said = server.place.aki(&[&args[..], &more].concat()).good().stdout;
    said.trim_end().to_owned()
}

fn said(server: &Server, head: &str, body: &Value) -> String {
    let path = "/v1/chat/completions";
    let reply = server.ask("POST", path, head, body.to_string().as_bytes());
    reply.text().trim().to_owned()
}

fn uri(kind: &str) -> String {
    let bytes = std::fs::read(jpeg()).expect("a picture");
    format!("data:image/{kind};base64,{}", BASE64_STANDARD.encode(bytes))
}

#[test]
fn vlmevalkit_is_answered() {
    let server = serve();
    // Whether it works at all.
    let hello = json!([{"role": "user", "content": [{"type": "text", "text": "hello"}]}]);
    let mut call = json!({
        "model": "run", "messages": hello, "n": 1, "temperature": 0, "max_tokens": 2048,
    });
    assert!(!said(&server, REQUESTS, &call).is_empty());
    // GPT4V, which shrinks pictures and says how closely they are to be looked at.
    let picture = json!({"url": uri("jpeg"), "detail": "low"});
    call["messages"] = json!([{"role": "user", "content": [
        {"type": "image_url", "image_url": picture},
        {"type": "text", "text": QUESTION},
    ]}]);
    let expected = generated(&server);
    assert_eq!(said(&server, REQUESTS, &call), expected);
    // LMDeployAPI, which asks for the model's name and sends the benchmark's.
    let models = server.ask("GET", "/v1/models", REQUESTS, b"").json();
    assert_eq!(models["data"][0]["id"], "run");
    call["dataset"] = "MMBench_DEV_EN".into();
    call["messages"][0]["content"][0]["image_url"] = json!({"url": uri("jpeg")});
    call["temperature"] = json!(0.0);
    assert_eq!(said(&server, REQUESTS, &call), expected);
    server.stop();
}

#[test]
fn lmms_eval_is_answered() {
    let server = serve();
    let expected = generated(&server);
    let picture = json!({"type": "image_url", "image_url": {"url": uri("png")}});
    let question = json!({"type": "text", "text": QUESTION});
    // The simple one has the text first, the other one parts in the task's order.
    for content in [[&question, &picture], [&picture, &question]] {
        let call = json!({
            "model": "run",
            "messages": [{"role": "user", "content": content}],
            "max_tokens": 1024,
            "temperature": 0,
        });
        assert_eq!(said(&server, OPENAI, &call), expected);
    }
    server.stop();
}
