//! Requests that are refused, each with its status, parameter and code, and the server that lives on.

use std::fs;
use std::io::Write;

use serde_json::{Value, json};

use super::server::{Reply, Server, question, shown, uri};
use crate::support::Workplace;

/// The beginning of a PNG of a size: signature, IHDR with its checksum, and the head of an IDAT.
fn png_header(width: u32, height: u32) -> Vec<u8> {
    let mut chunk = b"IHDR".to_vec();
    chunk.extend([width.to_be_bytes(), height.to_be_bytes()].concat());
    chunk.extend([8, 2, 0, 0, 0]);
    let checksum = !chunk.iter().fold(!0_u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 * (crc & 1))
        })
    });
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\x0d".to_vec();
    png.extend(chunk);
    png.extend(checksum.to_be_bytes());
    png.extend(b"\0\0\0\x04IDAT\0\0\0\0\0\0\0\0");
    png
}

/// Checks that each request is refused with 400, a parameter and a code.
fn refused(server: &Server, cases: impl IntoIterator<Item = (Value, &'static str, &'static str)>) {
    for (request, param, code) in cases {
        let reply = server.complete(&request);
        let expected = (400, param.to_owned(), code.to_owned());
        assert_eq!(reply.error(), expected, "{}", reply.body);
    }
    server.complete(&with(json!({}))).text();
}

fn with(more: Value) -> Value {
    question("hi", more)
}

fn message(message: Value) -> Value {
    with(json!({"messages": [message]}))
}

fn user(content: Value) -> Value {
    message(json!({"role": "user", "content": content}))
}

fn image(url: &str) -> Value {
    json!({"type": "image_url", "image_url": {"url": url}})
}

#[test]
fn messages_that_are_none() {
    let server = Server::start(&[]);
    let cases = [
        (json!([]), "", ""),
        (json!({}), "model", ""),
        (with(json!({"model": 3})), "model", ""),
        (with(json!({"messages": []})), "messages", ""),
        (with(json!({"messages": "hi"})), "messages", ""),
        (message(json!("hi")), "messages[0]", ""),
        (message(json!({"content": "hi"})), "messages[0].role", ""),
        (
            message(json!({"role": "tool", "content": "hi"})),
            "messages[0].role",
            "",
        ),
        (
            message(json!({"role": "user", "content": "hi", "nickname": "a"})),
            "messages[0].nickname",
            "unknown_parameter",
        ),
        (
            message(json!({"role": "assistant", "content": "hi"})),
            "messages",
            "",
        ),
        (user(json!(null)), "messages[0].content", ""),
        (user(json!([])), "messages[0].content", ""),
        (
            user(json!([{"type": "input_audio"}])),
            "messages[0].content[0].type",
            "",
        ),
        (
            user(json!([{"type": "text"}])),
            "messages[0].content[0].text",
            "",
        ),
        (
            user(json!([{"type": "image_url"}])),
            "messages[0].content[0].image_url",
            "",
        ),
    ];
    refused(&server, cases);
    let system = json!([{"role": "user", "content": "hi"}, {"role": "system", "content": "hi"}]);
    refused(
        &server,
        [(with(json!({"messages": system})), "messages[1].role", "")],
    );
    server.stop();
}

#[test]
fn pictures_that_are_none_or_too_large_or_too_many() {
    let server = Server::start(&["--max-pictures", "1"]);
    let picture = server.picture();
    let see = |url: &str| user(json!([image(url)]));
    let bomb = uri(&png_header(50_000, 50_000));
    let narrow = uri(&png_header(16_385, 1));
    let cut = uri(&fs::read(server.place.path("run/examples/1.png")).expect("a file")[..60]);
    let of_picture = "messages[0].content[0].image_url.url";
    let cases = [
        (
            see("https://example.com/a.png"),
            of_picture,
            "invalid_image_url",
        ),
        (see("file:///etc/passwd"), of_picture, "invalid_image_url"),
        (see("data:image/png"), of_picture, "invalid_image_url"),
        (
            see("data:text/plain;base64,aGk="),
            of_picture,
            "invalid_image_url",
        ),
        (
            see("data:image/png;base64,a?=="),
            of_picture,
            "invalid_base64",
        ),
        (
            see("data:image/png;base64,aGk="),
            of_picture,
            "invalid_image",
        ),
        (see(&uri(b"II*\0\x08\0\0\0")), of_picture, "invalid_image"),
        (see(&bomb), of_picture, "image_too_large"),
        (see(&narrow), of_picture, "image_too_large"),
        (see(&cut), of_picture, "invalid_image"),
        (
            user(json!([image(&picture), image(&picture)])),
            "messages[0].content[1].image_url",
            "too_many_images",
        ),
    ];
    refused(&server, cases);
    server
        .complete(&with(json!({"messages": shown(&picture, "hi")})))
        .text();
    server.stop();
}

#[test]
fn pictures_that_are_too_much_together_and_prompts_that_are_too_long() {
    let server = Server::start(&["--max-prompt", "64"]);
    let large = uri(&png_header(7_000, 7_000));
    let cases = [
        (
            user(json!([image(&large), image(&large), image(&large)])),
            "messages",
            "image_too_large",
        ),
        (with(json!({"n": 8})), "messages", "context_length_exceeded"),
        (
            question(&"what is it? ".repeat(40), json!({})),
            "messages",
            "context_length_exceeded",
        ),
    ];
    refused(&server, cases);
    let long = json!([{"role": "user", "content": "what is it? ".repeat(40)}]);
    let look = json!({"messages": long, "policy": "mma"}).to_string();
    let reply = server.ask("POST", "/api/attention", "", look.as_bytes());
    assert_eq!(reply.error().2, "context_length_exceeded");
    let name = server.get("/v1/models/%ff");
    assert_eq!(name.error().0, 400, "{}", name.body);
    server.stop();
}

#[test]
fn settings_that_are_wrong_or_ask_for_what_is_not_there() {
    let server = Server::start(&[]);
    let cases = [
        (with(json!({"temperature": 2.5})), "temperature", ""),
        (with(json!({"temperature": "hot"})), "temperature", ""),
        (with(json!({"top_p": -0.1})), "top_p", ""),
        (with(json!({"max_tokens": 0})), "max_tokens", ""),
        (with(json!({"max_completion_tokens": 7})), "max_tokens", ""),
        (with(json!({"n": 9})), "n", ""),
        (with(json!({"seed": 0.5})), "seed", ""),
        (with(json!({"stop": ["a", "b", "c", "d", "e"]})), "stop", ""),
        (with(json!({"stop": ""})), "stop", ""),
        (with(json!({"top_logprobs": 2})), "top_logprobs", ""),
        (
            with(json!({"logprobs": true, "top_logprobs": 21})),
            "top_logprobs",
            "",
        ),
        (with(json!({"stream_options": {}})), "stream_options", ""),
        (
            with(json!({"stream": true, "stream_options": {"a": 1}})),
            "stream_options.a",
            "unknown_parameter",
        ),
        (
            with(json!({"frequency_penalty": 0.5})),
            "frequency_penalty",
            "unsupported_parameter",
        ),
        (
            with(json!({"presence_penalty": 1})),
            "presence_penalty",
            "unsupported_parameter",
        ),
        (
            with(json!({"response_format": {"type": "json_object"}})),
            "response_format",
            "unsupported_parameter",
        ),
        (
            with(json!({"tools": [{"type": "function"}]})),
            "tools",
            "unsupported_parameter",
        ),
        (
            with(json!({"functions": [{}]})),
            "functions",
            "unsupported_parameter",
        ),
        (
            with(json!({"tool_choice": "required"})),
            "tool_choice",
            "unsupported_parameter",
        ),
        (
            with(json!({"logit_bias": {"5": 1}})),
            "logit_bias",
            "unsupported_parameter",
        ),
        (with(json!({"top_k": 5})), "top_k", "unknown_parameter"),
    ];
    refused(&server, cases);
    let other = server.complete(&with(json!({"model": "gpt-4o"})));
    let expected = (404, "model".to_owned(), "model_not_found".to_owned());
    assert_eq!(other.error(), expected);
    // What asks for nothing is no mistake.
    let idle = json!({
        "frequency_penalty": 0, "presence_penalty": 0.0, "response_format": {"type": "text"}, "tools": [],
        "tool_choice": "none", "logit_bias": {}, "user": "me", "metadata": {"a": "b"}, "n": 1, "stop": null,
        "max_completion_tokens": 8, "modalities": ["text"], "verbosity": null, "no_such_thing": null,
        "messages": [{"role": "user", "content": "hi", "name": "me", "function_call": null}],
    });
    server.complete(&with(idle)).text();
    server.stop();
}

#[test]
fn bodies_that_are_no_requests() {
    let server = Server::start(&["--max-body", "1", "--patience", "1"]);
    let path = "/v1/chat/completions";
    for body in ["", "{", "nul", "\u{feff}{}", "{\"model\": \"run\"} x"] {
        let reply = server.ask("POST", path, "", body.as_bytes());
        assert_eq!(reply.error().0, 400, "{body}");
    }
    let deep = "[".repeat(100_000);
    assert_eq!(server.ask("POST", path, "", deep.as_bytes()).error().0, 400);
    assert_eq!(server.ask("POST", path, "", b"\xff\xfe{}").error().0, 400);

    let large = question(&"a".repeat(1 << 21), json!({}));
    let reply = server.complete(&large);
    assert_eq!(
        (reply.error().0, reply.error().2.as_str()),
        (413, "body_too_large")
    );
    // Who asks first is told before the body is sent.
    let mut stream = server.connect();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999\r\nExpect: 100-continue\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).expect("a head");
    assert_eq!(Reply::read(stream).error().0, 413);

    // A body that does not come.
    let mut stream = server.connect();
    let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{{");
    stream.write_all(head.as_bytes()).expect("a head");
    let reply = Reply::read(stream);
    assert_eq!(
        reply.error(),
        (408, String::new(), "request_timeout".to_owned())
    );
    // A head that does not come: there is no request to answer.
    let mut stream = server.connect();
    stream
        .write_all(b"GET /health HTTP/1.1\r\nHo")
        .expect("a part");
    let mut nothing = Vec::new();
    std::io::Read::read_to_end(&mut stream, &mut nothing).ok();
    assert_eq!(nothing, b"");

    assert_eq!(server.get("/v2").error().0, 404);
    assert_eq!(server.get(path).error().0, 405);
    server.complete(&question("hi", json!({}))).text();
    server.stop();
}

#[test]
fn a_prompt_may_be_too_long_and_logits_may_be_no_numbers() {
    let place = Workplace::new();
    place.train(&[]).good();
    let file = place.path("run/model/lang_model/config.json");
    let mut config: Value =
        serde_json::from_slice(&fs::read(&file).expect("a file")).expect("JSON");
    config["max_position_embeddings"] = 48.into();
    fs::write(&file, config.to_string()).expect("a file");
    let server = Server::of(place, &[], &[]);
    let many = "what is it? ".repeat(20);
    for text in [many.as_str(), &"a ".repeat(1 << 20)] {
        for stream in [false, true] {
            let reply = server.complete(&question(text, json!({ "stream": stream })));
            let expected = (
                400,
                "messages".to_owned(),
                "context_length_exceeded".to_owned(),
            );
            assert_eq!(reply.error(), expected, "{}", reply.body);
        }
    }
    // An answer takes the room that there is.
    let reply = server
        .complete(&question("hi", json!({"max_tokens": 1000})))
        .json();
    assert_eq!(reply["usage"]["total_tokens"], 48, "{reply}");
    assert_eq!(reply["choices"][0]["finish_reason"], "length");

    // Weights that are not numbers.
    let Server { place, running, .. } = server;
    running.kill();
    let file = place.path("run/model/model.safetensors");
    let mut bytes = fs::read(&file).expect("weights");
    let header = u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes")) as usize;
    bytes[8 + header..].fill(0xff);
    fs::write(&file, bytes).expect("weights");
    let server = Server::of(place, &[], &[]);
    let reply = server.complete(&question("hi", json!({})));
    assert_eq!(reply.error().0, 500);
    assert!(reply.body.contains("--dtype f32"), "{}", reply.body);
    let reply = server.complete(&question("hi", json!({"stream": true})));
    assert_eq!(reply.status, 200);
    let last = reply
        .body
        .trim_end()
        .rsplit("data: ")
        .next()
        .expect("an event");
    assert!(last.contains("server_error"), "{}", reply.body);
    server.stop();
}
