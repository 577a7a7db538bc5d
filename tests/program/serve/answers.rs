//! What is answered, whole and in parts.

use serde_json::{Value, json};

use super::server::{Server, question, shown};

#[test]
fn an_answer_is_that_of_generate_and_a_stream_puts_together_the_same() {
    let server = Server::start(&[]);
    let asked = "what color is the shape?";
    let args = ["generate", "-m", "run", "--device", "cpu", "-p", asked];
    let limit = ["--max-new-tokens", "8"];
    let image = ["-i", "run/examples/1.png"];
    let text = server.place.aki(&[&args[..], &limit].concat()).good();
    let seen = server
        .place
        .aki(&[&args[..], &limit, &image].concat())
        .good();
    let messages = shown(&server.picture(), asked);
    for (more, expected) in [
        (json!({}), text.stdout),
        (json!({ "messages": messages }), seen.stdout),
    ] {
        let whole = server.complete(&question(asked, more.clone()));
        assert_eq!(format!("{}\n", whole.text()), expected);
        let mut more = more;
        more["stream"] = true.into();
        let parts = server.complete(&question(asked, more));
        assert!(parts.head.contains("content-type: text/event-stream"));
        let events = parts.events();
        assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
        assert_eq!(joined(&events, 0), whole.text());
        let reasons = events.iter().map(|it| &it["choices"][0]["finish_reason"]);
        let reasons: Vec<&Value> = reasons.filter(|it| !it.is_null()).collect();
        assert_eq!(reasons, [&whole.json()["choices"][0]["finish_reason"]]);
        assert!(events.iter().all(|it| it.get("usage").is_none()));
    }
    let ended = server.stop();
    insta::assert_snapshot!(
        told(&ended.stderr), @"
    POST /v1/chat/completions 200 19+8 tokens [s]
    POST /v1/chat/completions 200 19+8 tokens [s]
    POST /v1/chat/completions 200 23+8 tokens [s]
    POST /v1/chat/completions 200 23+8 tokens [s]
    stopping: answers have 10 s left
    ");
}

/// A log without the seconds.
fn told(log: &str) -> String {
    let lines = log.lines().map(|line| match line.rsplit_once("tokens ") {
        Some((before, _)) => format!("{before}tokens [s]"),
        None => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The text of one choice of a stream.
fn joined(events: &[Value], choice: usize) -> String {
    let choices = events.iter().filter_map(|it| it["choices"].get(0));
    let of_choice = choices.filter(|it| it["index"] == choice);
    of_choice
        .filter_map(|it| it["delta"]["content"].as_str())
        .collect()
}

#[test]
fn tokens_are_counted_texts_stop_and_draws_follow_their_seed() {
    let server = Server::start(&[]);
    let whole = server.complete(&question("what is it?", json!({}))).json();
    let usage = &whole["usage"];
    assert_eq!(usage["completion_tokens"], 8, "{whole}");
    assert_eq!(whole["choices"][0]["finish_reason"], "length");
    let prompt = usage["prompt_tokens"].as_u64().expect("a number");
    assert_eq!(usage["total_tokens"], prompt + 8);

    // A picture is four tokens here; the line's end goes with `<image>`.
    let messages = shown(&server.picture(), "what is it?");
    let seen = question("what is it?", json!({"messages": messages}));
    let seen = server.complete(&seen).json();
    assert_eq!(seen["usage"]["prompt_tokens"], prompt + 4);
    let more = json!({"stream": true, "stream_options": {"include_usage": true}});
    let events = server.complete(&question("what is it?", more)).events();
    let last = events.last().expect("events");
    assert_eq!((&last["usage"], &last["choices"]), (usage, &json!([])));
    assert!(events[0]["usage"].is_null());

    let text = whole["choices"][0]["message"]["content"]
        .as_str()
        .expect("a text");
    let stop = text.chars().rev().take(3).collect::<Vec<_>>();
    let stop: String = stop.into_iter().rev().collect();
    let before = text.split(&stop).next().expect("a text");
    for stop in [json!(stop), json!(["\u{1}", stop])] {
        let ended = server.complete(&question("what is it?", json!({"stop": stop})));
        assert_eq!(ended.text(), before);
        assert_eq!(ended.json()["choices"][0]["finish_reason"], "stop");
    }

    let drawn = |seed: u64, top_p: f64| {
        let more = json!({"seed": seed, "top_p": top_p, "temperature": 1.5, "n": 2});
        let reply = server.complete(&question("what is it?", more)).json();
        let text = |at: usize| reply["choices"][at]["message"]["content"].to_string();
        (text(0), text(1))
    };
    let (first, second) = drawn(1, 1.0);
    assert_eq!(drawn(1, 1.0), (first.clone(), second.clone()));
    assert_eq!(
        drawn(2, 1.0).0,
        second,
        "answer i draws with the seed and i"
    );
    assert_ne!(first, second);
    // The smallest share is the likeliest token.
    assert_eq!(drawn(3, 0.0).0, json!(text).to_string());
    server.stop();
}

#[test]
fn log_probabilities_are_those_of_the_logits() {
    let server = Server::start(&[]);
    let more = json!({"logprobs": true, "top_logprobs": 20, "max_tokens": 3});
    let whole = server.complete(&question("hi", more.clone()));
    let choice = &whole.json()["choices"][0];
    let tokens = choice["logprobs"]["content"].as_array().expect("tokens");
    assert_eq!(tokens.len(), 3);
    let mut text = Vec::new();
    for token in tokens {
        let likeliest = token["top_logprobs"].as_array().expect("tokens");
        assert_eq!(likeliest.len(), 20);
        // Greedy.
        assert_eq!(likeliest[0]["logprob"], token["logprob"]);
        let of = |it: &Value| it["logprob"].as_f64().expect("a number");
        assert!(likeliest.is_sorted_by(|a, b| of(a) >= of(b)), "{token}");
        let sum: f64 = likeliest.iter().map(|it| of(it).exp()).sum();
        assert!(sum < 1.0 + 1e-6, "{sum}");
        let bytes = token["bytes"].as_array().expect("bytes");
        text.extend(bytes.iter().map(|it| it.as_u64().expect("a byte") as u8));
    }
    let text = String::from_utf8_lossy(&text);
    assert_eq!(text.trim_start(), whole.text());

    // The first are those of the logits that `generate` writes, in f32.
    let args = [
        "generate",
        "-m",
        "run",
        "--device",
        "cpu",
        "-p",
        "hi",
        "--dump-logits",
        "l",
    ];
    server.place.aki(&args).good();
    let file = std::fs::read(server.place.path("l")).expect("logits");
    let tensors = safetensors::SafeTensors::deserialize(&file).expect("tensors");
    let view = tensors.tensor("logits").expect("logits");
    let width = view.shape()[1];
    let floats = view.data().as_chunks::<4>().0.iter();
    let logits: Vec<f32> = floats.map(|bytes| f32::from_le_bytes(*bytes)).collect();
    let last = &logits[logits.len() - width..];
    let largest = last.iter().copied().fold(f32::MIN, f32::max);
    let sum: f32 = last.iter().map(|logit| (logit - largest).exp()).sum();
    let expected = -f64::from(sum.ln());
    let found = tokens[0]["logprob"].as_f64().expect("a number");
    assert!((found - expected).abs() < 1e-5, "{found} {expected}");

    // A temperature changes draws, and not these.
    let mut drawn = more;
    drawn["temperature"] = json!(2.0);
    drawn["stream"] = true.into();
    let events = server.complete(&question("hi", drawn)).events();
    let streamed = events
        .iter()
        .filter_map(|it| it["choices"][0]["logprobs"]["content"].as_array());
    let streamed: Vec<&Value> = streamed.flatten().collect();
    assert_eq!(streamed.len(), 3);
    assert_eq!(streamed[0]["top_logprobs"], tokens[0]["top_logprobs"]);
    server.stop();
}

#[test]
fn a_conversation_of_several_pictures_and_turns() {
    let server = Server::start(&[]);
    let picture = server.picture();
    let image = json!({"type": "image_url", "image_url": {"url": picture}});
    let text = |text: &str| json!({"type": "text", "text": text});
    let messages = |system: Option<&str>, parts: Value| {
        let mut list: Vec<Value> = Vec::new();
        list.extend(system.map(|it| json!({"role": "system", "content": it})));
        list.push(json!({"role": "user", "content": parts}));
        list.push(json!({"role": "assistant", "content": "blue"}));
        list.push(json!({"role": "user", "content": [image, text("and that?")]}));
        json!({ "messages": list })
    };
    let parts = json!([image, image, text("what is"), text("it?")]);
    let first = server.complete(&question("", messages(None, parts)));
    // Pictures stand before their message's text, and texts are lines.
    let other = json!([text("what is\nit?"), image, image]);
    let second = server.complete(&question("", messages(None, other)));
    assert_eq!(first.text(), second.text());
    assert_eq!(first.json()["usage"], second.json()["usage"]);
    // The model's own system line, and another one.
    let line = "Answer the question about the picture.";
    let parts = || json!([image, text("what is it?")]);
    let own = server
        .complete(&question("", messages(None, parts())))
        .json();
    let same = server
        .complete(&question("", messages(Some(line), parts())))
        .json();
    let other = server
        .complete(&question("", messages(Some("hi"), parts())))
        .json();
    assert_eq!(own["usage"], same["usage"]);
    assert_ne!(own["usage"], other["usage"]);
    server.stop();
}

#[test]
fn models_health_and_counts_are_told() {
    let server = Server::start(&["--name", "run"]);
    let list = server.get("/v1/models").json();
    assert_eq!(list["data"][0]["id"], "run");
    let one = server.get("/v1/models/run").json();
    assert_eq!(one, list["data"][0]);
    assert_eq!(
        server.get("/v1/models/gpt-4o").error(),
        (404, "model".to_owned(), "model_not_found".to_owned())
    );
    assert_eq!(server.get("/health").json(), json!({"status": "ok"}));
    server.complete(&question("hi", json!({}))).text();
    server
        .complete(&question("hi", json!({"stream": true})))
        .events();
    server.complete(&json!({})).error();
    let counted = |name: &str| server.metric(name);
    let path = "/v1/chat/completions";
    let of = |status: u16| format!("aki_requests_total{{path=\"{path}\",status=\"{status}\"}}");
    assert_eq!([counted(&of(200)), counted(&of(400))], [2, 1]);
    assert_eq!(counted("aki_answer_tokens_total"), 16);
    assert_eq!(counted("aki_time_to_first_token_seconds_count"), 2);
    assert_eq!(counted("aki_time_per_token_seconds_count"), 14);
    let idle = [
        "aki_refused_total",
        "aki_cancelled_total",
        "aki_queue_length",
    ];
    assert_eq!(idle.map(counted), [0; 3]);
    server.stop();
}
