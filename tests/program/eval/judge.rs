//! Judges: a small server that speaks as OpenAI's.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::{arguments, data, json as read, rows, trained};
use crate::support::{Ended, Workplace, command, finish};

/// A request: its head and its body.
type Request = (String, Value);

/// A server whose requests are kept, and whose answers are `reply(how many came before, request)`.
struct Stub {
    url: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Stub {
    fn start(reply: impl Fn(usize, &Value) -> (u16, String) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("a port").port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let kept = requests.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let request = receive(&stream);
                let mut kept = kept.lock().expect("no panic");
                let (status, body) = reply(kept.len(), &request.1);
                kept.push(request);
                drop(kept);
                let head = format!(
                    "HTTP/1.1 {status} X\r\nRetry-After: 0\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                (&stream).write_all((head + &body).as_bytes()).ok();
            }
        });
        Self {
            url: format!("http://127.0.0.1:{port}/v1/"),
            requests,
        }
    }

    fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("no panic").clone()
    }
}

fn receive(stream: &TcpStream) -> Request {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).expect("a head") > 0, "{head}");
    }
    let length = head.to_ascii_lowercase();
    let length = length.split("content-length: ").nth(1).expect("a length");
    let length = length.split("\r\n").next().and_then(|it| it.parse().ok());
    let mut body = vec![0; length.expect("a number")];
    reader.read_exact(&mut body).expect("a body");
    (head, serde_json::from_slice(&body).expect("JSON"))
}

/// A chat completion.
fn says(text: &str) -> (u16, String) {
    let body = json!({
        "choices": [{"message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10},
    });
    (200, body.to_string())
}

/// What a judge would say: points for two answers, or a grade.
fn judges(request: &Value) -> (u16, String) {
    let task = request["messages"][0]["content"].as_str().expect("a task");
    match task.contains("points") {
        true => says("8 4\nThe first is better."),
        false => says("0.5"),
    }
}

fn judged(place: &Workplace, names: &[&str], url: &str) -> Ended {
    let data = data();
    let more = ["--out", "out", "--judge", url, "--judge-model", "wise"];
    let price = ["--judge-price", "2,10"];
    let mut command = command(&place.path("."));
    command
        .args(arguments(names, &data, &[&more[..], &price].concat()))
        .env("AKI_JUDGE_KEY", "secret-key")
        .env("NO_PROXY", "127.0.0.1");
    finish(command, "")
}

#[test]
fn answers_are_judged_once_and_the_key_is_nowhere() {
    let place = trained();
    let stub = Stub::start(|before, request| match before {
        0 => (429, json!({"error": {"message": "slow down"}}).to_string()),
        1 => (503, "busy".to_owned()),
        _ => judges(request),
    });
    let ended = judged(&place, &["mm-vet", "llava-w"], &stub.url).good();
    let scores = read(&place.path("out/scores.json"));
    assert_eq!(scores["mm-vet"]["columns"], json!([["MM-Vet", 50.0]]));
    assert_eq!(scores["llava-w"]["columns"], json!([["LLaVA-W", 50.0]]));
    assert_eq!(scores["mm-vet"]["judges"], json!(["wise"]));
    let asked =
        rows(&place.path("out"), "mm-vet").len() + rows(&place.path("out"), "llava-w").len();
    let requests = stub.requests();
    assert_eq!(requests.len(), asked + 2);
    for (head, body) in &requests {
        assert!(head.starts_with("POST /v1/chat/completions "), "{head}");
        let head = head.to_ascii_lowercase();
        assert!(
            head.contains("authorization: bearer secret-key\r\n"),
            "{head}"
        );
        assert_eq!(
            (&body["model"], &body["temperature"]),
            (&json!("wise"), &json!(0.0))
        );
    }
    let graded = rows(&place.path("out"), "mm-vet").len();
    let cost = (200 * graded + 100 * graded) as f64 / 1e6;
    let told = format!(
        "mm-vet: wise was asked {graded} times, 0 replies were there already; {} tokens to it, {} of it, {cost:.4} at the price given",
        100 * graded,
        10 * graded
    );
    assert!(
        ended.stderr.contains(&told),
        "{told} not in {}",
        ended.stderr
    );

    // A second run asks neither the model nor the judge.
    let again = judged(&place, &["mm-vet", "llava-w"], &stub.url).good();
    assert_eq!(again.stdout, ended.stdout);
    assert!(again.stderr.contains("asked 0 times"), "{}", again.stderr);
    assert_eq!(stub.requests().len(), requests.len());
    for (name, bytes) in crate::support::contents(&place.path("out")) {
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains("secret-key"), "{name:?}");
    }
    for ended in [&ended, &again] {
        assert!(!ended.stderr.contains("secret-key") && !ended.stdout.contains("secret-key"));
    }
}

#[test]
fn a_judge_that_fails_leaves_what_is_there() {
    let place = trained();
    let stub = Stub::start(|_, _| {
        let message = "wrong key secret-key";
        (401, json!({"error": {"message": message}}).to_string())
    });
    let ended = judged(&place, &["mm-vet"], &stub.url);
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    let told = "/v1/chat/completions refuses: 401 Unauthorized: wrong key [key]";
    assert!(ended.stderr.contains(told), "{}", ended.stderr);
    let answered = rows(&place.path("out"), "mm-vet");
    assert!(answered.iter().all(|row| row["answer"].is_string()));
    // It never comes back, and that is no mistake of the user's.
    let stub = Stub::start(|_, _| (500, String::new()));
    let ended = judged(&place, &["mm-vet"], &stub.url);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("gave no reply in 6 tries"),
        "{}",
        ended.stderr
    );

    let stub = Stub::start(|before, _| match before {
        0 => says("I would say: good."),
        _ => says("1"),
    });
    judged(&place, &["mm-vet"], &stub.url).good();
    assert_eq!(stub.requests().len(), answered.len() + 1);
    let mut again = stub
        .requests()
        .into_iter()
        .map(|it| it.1["temperature"].clone());
    assert!(
        again.any(|it| it == 0.5),
        "what cannot be read is asked for again"
    );
}

#[test]
fn what_cannot_be_read_has_no_score() {
    let place = trained();
    let stub = Stub::start(|_, _| says("good"));
    let ended = judged(&place, &["mm-vet"], &stub.url).good();
    assert!(ended.stdout.contains("needs a judge"), "{}", ended.stdout);
    assert!(
        ended
            .stderr
            .contains("replies of the judge could not be read"),
        "{}",
        ended.stderr
    );
    let scores = read(&place.path("out/scores.json"));
    assert!(scores["mm-vet"]["columns"][0][1].is_null());
}
