//! Where a judge is, and the key that it is sent.

use std::ffi::OsString;

use anyhow::{Context, Result, bail};
use reqwest::Url;
use reqwest::header::HeaderValue;

/// Variables that a key is read from, the first that is set.
pub const KEYS: [&str; 2] = ["AKI_JUDGE_KEY", "OPENAI_API_KEY"];

/// The only host that is sent `OPENAI_API_KEY`.
const OPENAI: &str = "api.openai.com";

/// The address that was typed, with `/chat/completions`.
pub fn address(typed: &str) -> Result<Url> {
    let why = match Url::parse(typed) {
        Err(error) => error.to_string(),
        Ok(url) if !["http", "https"].contains(&url.scheme()) => {
            "it begins with neither http:// nor https://".to_owned()
        }
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            "it must have no user and no password; a key is read from AKI_JUDGE_KEY".to_owned()
        }
        Ok(url) if url.query().is_some() || url.fragment().is_some() => {
            "it must have no ? and no #".to_owned()
        }
        Ok(mut url) => {
            let path = url.path().trim_end_matches('/');
            url.set_path(&format!("{path}/chat/completions"));
            return Ok(url);
        }
    };
    // What was typed is not told: it may have a password.
    bail!("--judge must be an address as http://localhost:8000/v1: {why}")
}

/// The key for an address, of the values of [`KEYS`]. It is never shown.
pub fn key(url: &Url, values: [Option<OsString>; 2]) -> Result<Option<String>> {
    let host = url.host_str().unwrap_or_default();
    let is_openai = url.scheme() == "https" && host == OPENAI;
    let (name, key) = match values.map(|key| key.filter(|key| !key.is_empty())) {
        [Some(own), _] => (KEYS[0], own),
        [None, Some(openai)] if is_openai => (KEYS[1], openai),
        [None, openai] => {
            if openai.is_some() {
                say!(
                    "OPENAI_API_KEY is sent to https://{OPENAI} alone; for {host} set AKI_JUDGE_KEY, if it wants a key"
                );
            }
            return Ok(None);
        }
    };
    let can_be_sent = |key: &String| key.is_ascii() && HeaderValue::from_str(key).is_ok();
    let key = key.into_string().ok().filter(can_be_sent);
    let key = key.with_context(|| {
        format!("the key in {name} cannot be sent: it has a line break or a character beyond ASCII")
    });
    key.map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_address_is_told_and_not_repeated() {
        for (typed, why) in [
            ("localhost", "relative URL without a base"),
            ("localhost:8000/v1", "neither http:// nor https://"),
            ("ftp://localhost/v1", "neither http:// nor https://"),
            ("http://", "empty host"),
            ("http://127.0.0.1:99999/v1", "invalid port number"),
            ("https://me:secret@localhost/v1", "no user and no password"),
            ("https://secret@localhost/v1", "no user and no password"),
            ("https://localhost/v1?key=secret", "no ? and no #"),
            ("https://localhost/v1#secret", "no ? and no #"),
        ] {
            let told = address(typed).expect_err(typed).to_string();
            assert!(told.contains(why), "{typed}: {told}");
            assert!(!told.contains("secret"), "{told}");
        }
        for (typed, whole) in [
            ("http://[::1]:1", "http://[::1]:1/chat/completions"),
            (
                "HTTP://LocalHost:8000/v1/",
                "http://localhost:8000/v1/chat/completions",
            ),
        ] {
            assert_eq!(address(typed).expect(typed).as_str(), whole);
        }
    }

    #[test]
    fn openais_key_is_sent_to_openai_alone() {
        let key = |url: &str, own: &str, openai: &str| {
            let values = [own, openai].map(|key| Some(key.into()));
            key(&address(url).expect(url), values)
        };
        let [openai, other] = ["https://api.openai.com/v1", "http://localhost:8000/v1"];
        for (url, own, sent) in [
            (openai, "own", Some("own")),
            (openai, "", Some("openai")),
            (other, "own", Some("own")),
            (other, "", None),
            ("http://api.openai.com/v1", "", None),
            ("https://api.openai.com.localhost/v1", "", None),
        ] {
            let key = key(url, own, "openai").expect("a key that can be sent");
            assert_eq!(key.as_deref(), sent, "{url}");
        }
        let told = key(other, "sec\nret", "").expect_err("a line break");
        assert_eq!(
            told.to_string(),
            "the key in AKI_JUDGE_KEY cannot be sent: it has a line break or a character beyond ASCII"
        );
        assert!(key(openai, "", "\u{e9}").is_err());
    }
}
