//! Pictures at addresses, from a host that was allowed.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::server::{Server, question, shown, uri};
use crate::support::Workplace;

/// A host of pictures, which keeps the paths that it is asked for.
fn host(picture: Vec<u8>) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let host = listener.local_addr().expect("an address").to_string();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let kept = asked.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).ok();
            let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
            kept.lock().expect("no panic").push(path.clone());
            let (status, body) = match path.as_str() {
                "/a.png" => ("200 OK", picture.clone()),
                "/moved" => ("302 Found\r\nLocation: /a.png", Vec::new()),
                "/text" => ("200 OK", b"no picture".to_vec()),
                "/large" => ("200 OK", vec![0; 2 << 20]),
                _ => ("404 Not Found", Vec::new()),
            };
            let length = body.len();
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
            );
            (&stream).write_all(&[head.as_bytes(), &body].concat()).ok();
        }
    });
    (host, asked)
}

#[test]
fn pictures_come_from_hosts_that_are_allowed_and_from_no_others() {
    let place = Workplace::new();
    place.train(&[]).good();
    let picture = std::fs::read(place.path("run/examples/1.png")).expect("a picture");
    let (host, asked) = host(picture.clone());
    let allowed = ["--images-from", &host, "--max-body", "1"];
    let server = Server::of(place, &allowed, &[]);
    let ask = |url: &str| {
        let messages = shown(url, "what color is the shape?");
        server.complete(&question("", json!({"messages": messages})))
    };
    let fetched = ask(&format!("http://{host}/a.png")).text();
    assert_eq!(fetched, ask(&uri(&picture)).text());
    assert_eq!(*asked.lock().expect("no panic"), ["/a.png"]);

    let param = "messages[0].content[0].image_url.url";
    for (url, code) in [
        (format!("http://{host}/moved"), "image_not_fetched"),
        (format!("http://{host}/none"), "image_not_fetched"),
        (format!("http://{host}/large"), "image_not_fetched"),
        (format!("http://{host}/text"), "invalid_image"),
        ("http://127.0.0.1/a.png".to_owned(), "invalid_image_url"),
        (format!("http://{host}@localhost/"), "invalid_image_url"),
        ("file:///etc/passwd".to_owned(), "invalid_image_url"),
    ] {
        let error = ask(&url).error();
        assert_eq!(error, (400, param.to_owned(), code.to_owned()), "{url}");
    }
    // A redirection is not followed.
    let count = |path: &str| {
        let asked = asked.lock().expect("no panic");
        asked.iter().filter(|it| *it == path).count()
    };
    assert_eq!((count("/moved"), count("/a.png")), (1, 1));
    server.stop();
}

#[test]
fn what_is_no_host_is_told_before_a_model_is_read() {
    let serve = ["serve", "-m", "nowhere", "--addr", "127.0.0.1:0"];
    let wrong = [&serve[..], &["--images-from", "http://example.org/a"]].concat();
    let message = Workplace::new().aki(&wrong).refused();
    assert!(message.contains("--images-from"), "{message}");
    assert!(message.contains("no host"), "{message}");
}
