//! A server that has been started, and requests to it, byte by byte.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Stdio;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::support::{Ended, Running, Workplace, command};

/// No answer takes longer.
const TIMEOUT: Duration = Duration::from_mins(1);

/// `aki serve` with a tiny model, called `run`.
pub struct Server {
    pub place: Workplace,
    pub running: Running,
    pub port: u16,
}

impl Server {
    /// Trains a tiny model and serves it.
    pub fn start(args: &[&str]) -> Self {
        let place = Workplace::new();
        place.train(&[]).good();
        Self::of(place, args, &[])
    }

    /// Serves the model in `run`.
    pub fn of(place: Workplace, args: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = command(&place.path("."));
        command.args(["serve", "-m", "run", "--device", "cpu"]);
        command.args(["--addr", "127.0.0.1:0"]).args(args);
        command.envs(environment.iter().copied());
        let mut running = Running::start(command, Stdio::null());
        let line = running.first_line();
        let port = line.strip_prefix("serving run on http://127.0.0.1:");
        let port = port.and_then(|port| port.parse().ok()).expect("a port");
        Self {
            place,
            running,
            port,
        }
    }

    /// A connection.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("a connection");
        stream.set_read_timeout(Some(TIMEOUT)).expect("a timeout");
        stream
    }

    /// Sends a request with more lines in its head, each ended.
    pub fn send(&self, method: &str, path: &str, lines: &str, body: &[u8]) -> TcpStream {
        let mut stream = self.connect();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\nContent-Length: {}\r\n{lines}\r\n",
            self.port,
            body.len()
        );
        stream.write_all(head.as_bytes()).expect("a request");
        stream.write_all(body).expect("a request");
        stream
    }

    /// What is answered to a request.
    pub fn ask(&self, method: &str, path: &str, lines: &str, body: &[u8]) -> Reply {
        Reply::read(self.send(method, path, lines, body))
    }

    /// What is answered to a GET.
    pub fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, "", b"")
    }

    /// What is answered to a chat completion.
    pub fn complete(&self, request: &Value) -> Reply {
        self.ask(
            "POST",
            "/v1/chat/completions",
            "",
            request.to_string().as_bytes(),
        )
    }

    /// A chat completion whose answer is read later.
    pub fn begin(&self, request: &Value) -> TcpStream {
        self.send(
            "POST",
            "/v1/chat/completions",
            "",
            request.to_string().as_bytes(),
        )
    }

    /// A picture of the run as a data URI.
    pub fn picture(&self) -> String {
        let png = std::fs::read(self.place.path("run/examples/1.png")).expect("a picture");
        uri(&png)
    }

    /// A count of `/metrics`.
    pub fn metric(&self, name: &str) -> u64 {
        let text = self.get("/metrics").body;
        let mut lines = text.lines().filter_map(|line| line.strip_prefix(name));
        lines.next().expect(&text).trim().parse().expect("a number")
    }

    /// Asks it to end, and checks that it does as asked.
    pub fn stop(self) -> Ended {
        self.stop_keeping().1
    }

    /// As [`Self::stop`], and gives the folder.
    pub fn stop_keeping(mut self) -> (Workplace, Ended) {
        self.running.send("TERM");
        let ended = self.running.end(Duration::from_secs(20));
        assert_eq!(ended.code, Some(143), "{}", ended.stderr);
        assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
        (self.place, ended)
    }
}

/// A data URI.
pub fn uri(png: &[u8]) -> String {
    format!("data:image/png;base64,{}", BASE64_STANDARD.encode(png))
}

/// A request with a question, greedy, and with more members.
pub fn question(text: &str, more: Value) -> Value {
    let mut request = json!({
        "model": "run",
        "messages": [{"role": "user", "content": text}],
        "temperature": 0,
        "max_tokens": 8,
    });
    let more = more.as_object().cloned().unwrap_or_default();
    request.as_object_mut().expect("an object").extend(more);
    request
}

/// A message with a picture before its text.
pub fn shown(uri: &str, text: &str) -> Value {
    json!([{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": uri, "detail": "low"}},
        {"type": "text", "text": text},
    ]}])
}

/// An HTTP answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Reply {
    /// Reads an answer to the connection's end.
    pub fn read(mut stream: TcpStream) -> Self {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("an answer");
        let text = String::from_utf8(bytes).expect("UTF-8");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).and_then(|it| it.parse().ok());
        let head = head.to_ascii_lowercase();
        let body = match head.contains("transfer-encoding: chunked") {
            true => unchunked(body),
            false => body.to_owned(),
        };
        Self {
            status: status.expect("a status"),
            head,
            body,
        }
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect(&self.body)
    }

    /// The text of the first choice of a good answer.
    #[track_caller]
    pub fn text(&self) -> String {
        assert_eq!(self.status, 200, "{}", self.body);
        let json = self.json();
        let text = json["choices"][0]["message"]["content"].as_str();
        text.expect("a text").to_owned()
    }

    /// The objects of a stream, which must end with `[DONE]`.
    #[track_caller]
    pub fn events(&self) -> Vec<Value> {
        assert_eq!(self.status, 200, "{}", self.body);
        let data = self.body.split("\n\n").filter(|event| !event.is_empty());
        let mut data: Vec<&str> = data
            .map(|event| event.strip_prefix("data: ").expect(event))
            .collect();
        assert_eq!(data.pop(), Some("[DONE]"), "{}", self.body);
        data.into_iter()
            .map(|data| serde_json::from_str(data).expect(data))
            .collect()
    }

    /// Checks that it is an error in OpenAI's form, and gives its status, parameter and code.
    #[track_caller]
    pub fn error(&self) -> (u16, String, String) {
        let json = self.json();
        let error = &json["error"];
        assert!(error["message"].is_string(), "{json}");
        let kind = match self.status {
            429 => "rate_limit_error",
            500.. => "server_error",
            _ => "invalid_request_error",
        };
        assert_eq!(error["type"], kind, "{json}");
        let word = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
        (self.status, word("param"), word("code"))
    }
}

fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((len, rest)) = body.split_once("\r\n") {
        let len = usize::from_str_radix(len, 16).expect("a length");
        whole.push_str(&rest[..len]);
        body = &rest[len + 2..];
    }
    whole
}

/// Reads an answer that streams until a line has a word.
#[track_caller]
pub fn until_line(stream: &TcpStream, word: &str) {
    let lines = BufReader::new(stream).lines();
    let found = lines.map_while(Result::ok).any(|line| line.contains(word));
    assert!(found, "the answer has no {word}");
}

/// Waits until something is so.
#[track_caller]
pub fn until(so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < TIMEOUT, "it does not get there");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Leaves, as a client does that is closed.
pub fn leave(stream: TcpStream) {
    stream.shutdown(Shutdown::Both).expect("a connection");
}
