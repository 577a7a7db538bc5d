//! Judges: a small server that speaks as OpenAI's.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::{arguments, data, json as read, rows, trained};
use crate::support::{Ended, Workplace, command, finish};

/// A request: its head and its body.
type Request = (String, Value);

/// A server whose requests are kept, and whose answers are `reply(how many came before, request)`.
pub struct Stub {
    pub url: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Stub {
    pub fn start(reply: impl Fn(usize, &Value) -> (u16, String) + Send + 'static) -> Self {
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
pub fn says(text: impl Into<Value>) -> (u16, String) {
    let text: Value = text.into();
    let body = json!({
        "choices": [{"message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10},
    });
    (200, body.to_string())
}

/// A refusal.
fn refuses(status: u16, message: &str) -> (u16, String) {
    (status, json!({"error": {"message": message}}).to_string())
}

/// The answer to judge, with its question.
fn case(request: &Value) -> &str {
    request["messages"][1]["content"].as_str().expect("a case")
}

/// What a judge would say: points for two answers, or a grade.
fn judges(request: &Value) -> (u16, String) {
    let task = request["messages"][0]["content"].as_str().expect("a task");
    match task.contains("points") {
        true => says("8 4\nThe first is better."),
        false => says("0.5"),
    }
}

/// What is typed to have answers judged.
fn judging(place: &Workplace, data: &str, names: &[&str], url: &str) -> Command {
    let more = ["--out", "out", "--judge", url, "--judge-model", "wise"];
    let price = ["--judge-price", "2,10"];
    let mut command = command(&place.path("."));
    command
        .args(arguments(names, data, &[&more[..], &price].concat()))
        .env("AKI_JUDGE_KEY", "secret-key")
        .env("NO_PROXY", "127.0.0.1");
    command
}

pub fn judged(place: &Workplace, names: &[&str], url: &str) -> Ended {
    finish(judging(place, &data(), names, url), "")
}

#[test]
fn answers_are_judged_once_and_the_key_is_nowhere() {
    let place = trained();
    let stub = Stub::start(|before, request| match before {
        0 => refuses(429, "slow down"),
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
    let stub = Stub::start(|_, _| refuses(401, "wrong key secret-key"));
    let ended = judged(&place, &["mm-vet"], &stub.url);
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    let told = "/v1/chat/completions cannot be asked: 401 Unauthorized: wrong key [key]";
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

#[test]
fn what_a_judge_will_not_mark_holds_nothing_up() {
    let place = trained();
    let stub = Stub::start(|_, request| match case(request) {
        it if it.contains("(conv)") => refuses(400, "filtered"),
        it if it.contains("(detail)") => says(Value::Null),
        _ => judges(request),
    });
    for (asked, kept, requests) in [(4, 0, 5), (3, 1, 9)] {
        let ended = judged(&place, &["llava-w"], &stub.url).good();
        let told = format!(
            "wise was asked {asked} times, {kept} replies were there already; {} tokens to it",
            100 * asked
        );
        for told in [
            &told[..],
            "1 replies of the judge could not be read",
            "the judge refused to mark 1 answers",
            "the first was refused with 400 Bad Request: filtered",
        ] {
            assert!(ended.stderr.contains(told), "{told}: {}", ended.stderr);
        }
        assert_eq!(stub.requests().len(), requests);
        let rows = rows(&place.path("out"), "llava-w");
        let judgements = rows.iter().filter(|row| row["judgement"].is_object());
        assert_eq!(judgements.count(), 1);
    }
}

#[test]
fn a_judge_that_refuses_all_is_asked_wrongly() {
    let place = trained();
    let stub = Stub::start(|_, _| refuses(400, "no such field"));
    let ended = judged(&place, &["llava-w"], &stub.url);
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    let told = "refuses all that it is asked: 400 Bad Request: no such field";
    assert!(ended.stderr.contains(told), "{}", ended.stderr);

    // One that has replied before refuses these by themselves.
    let tsv = std::fs::read_to_string(format!("{}/MMVet.tsv", data())).expect("a file");
    let lines: Vec<&str> = tsv.lines().collect();
    let row = |at: usize| {
        let row = lines[1].replacen("0\t", &format!("{at}\t"), 1);
        row.replace("(0)", &format!("({at})")) + "\n"
    };
    let folder = place.path("data");
    std::fs::create_dir(&folder).expect("a folder");
    let rows: String = (0..5).map(row).collect();
    std::fs::write(folder.join("MMVet.tsv"), format!("{}\n{rows}", lines[0])).expect("a file");
    let stub = Stub::start(|_, request| match case(request).contains("(0)") {
        true => says("1"),
        false => refuses(400, "filtered"),
    });
    let judging = || judging(&place, "data", &["mm-vet"], &stub.url);
    let mut first = judging();
    first.args(["--limit", "1"]);
    finish(first, "").good();
    let ended = finish(judging(), "").good();
    let told = "the judge refused to mark 4 answers";
    assert!(ended.stderr.contains(told), "{}", ended.stderr);
}

#[test]
fn a_judge_that_takes_no_temperature_is_asked_without() {
    let place = trained();
    let stub = Stub::start(|_, request| match request["temperature"].is_null() {
        true => judges(request),
        false => refuses(400, "'temperature' is not supported"),
    });
    let ended = judged(&place, &["llava-w", "mm-vet"], &stub.url).good();
    let told = "wise takes no temperature and is asked without";
    assert!(ended.stderr.contains(told), "{}", ended.stderr);
    assert!(!ended.stderr.contains("refused"), "{}", ended.stderr);
    let requests = stub.requests();
    let without = requests.iter().filter(|it| it.1["temperature"].is_null());
    assert_eq!(without.count(), 5);
    // MM-Vet's two come last.
    let last = requests.iter().rev().take(2);
    assert!(last.into_iter().all(|it| it.1["temperature"].is_null()));
}

#[test]
fn two_judges_of_one_name_are_not_mixed() {
    let place = trained();
    for (reply, score) in [("1", 100.0), ("0", 0.0)] {
        let stub = Stub::start(move |_, _| says(reply));
        judged(&place, &["mm-vet"], &stub.url).good();
        assert_eq!(stub.requests().len(), 2);
        let scores = read(&place.path("out/scores.json"));
        assert_eq!(scores["mm-vet"]["columns"], json!([["MM-Vet", score]]));
        for row in rows(&place.path("out"), "mm-vet") {
            let url = format!("{}chat/completions", stub.url);
            assert_eq!(row["judgement"]["url"], url);
        }
    }
}

#[test]
fn openais_key_is_not_sent_to_others() {
    let place = trained();
    let stub = Stub::start(|_, request| judges(request));
    let mut command = judging(&place, &data(), &["mm-vet"], &stub.url);
    command
        .env_remove("AKI_JUDGE_KEY")
        .env("OPENAI_API_KEY", "secret-key");
    let ended = finish(command, "").good();
    let told =
        "OPENAI_API_KEY is sent to https://api.openai.com alone; for 127.0.0.1 set AKI_JUDGE_KEY";
    assert!(ended.stderr.contains(told), "{}", ended.stderr);
    assert!(!ended.stderr.contains("secret-key"), "{}", ended.stderr);
    for (head, _) in stub.requests() {
        let head = head.to_ascii_lowercase();
        assert!(!head.contains("authorization"), "{head}");
    }
}
