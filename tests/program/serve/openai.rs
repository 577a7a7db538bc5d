//! OpenAI's own client.

use std::process::Command;

use serde_json::json;

use super::server::{Server, question, until};
use crate::python;
use crate::support::{Workplace, repository};

#[test]
fn the_official_client_is_answered() {
    if python::lacks("openai", "3.57.0") {
        return;
    }
    let place = Workplace::new();
    place.train(&[]).good();
    let args = ["--queue", "0", "--max-tokens", "100000000"];
    let server = Server::of(place, &args, &[("AKI_API_KEY", "secret")]);
    let output = Command::new("python3")
        .arg(repository().join("tests/reference/openai_client.py"))
        .arg(format!("http://127.0.0.1:{}/v1", server.port))
        .args(["secret", "run"])
        .arg(server.place.path("run/examples/1.png"))
        .output()
        .expect("python3");
    let said = String::from_utf8_lossy(&output.stdout);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{told}");
    assert!(said.ends_with("all of it is as it should be\n"), "{said}");
    let key = "Authorization: Bearer secret\r\n";
    let body = question("hi", json!({})).to_string();
    until(|| {
        server
            .ask("POST", "/v1/chat/completions", key, body.as_bytes())
            .status
            == 200
    });
    server.stop();
}
