//! BLIP3-OCR-200M: the text of granularity 1 in a JSON record.
//!
//! The set publishes its texts as a list of `{"text", "granularity",
//! "include_datacomp_raw_cap"}`, at six levels of detail. It is read as it stands, and as
//! `{"captions": [..]}`, where the list may itself be JSON in a string. Of several
//! entries of a level the first counts, which is that without the web page's own text.

use serde::Deserialize;

use super::plain;

/// The level of detail that AKI is trained on: texts without boxes.
const GRANULARITY: i64 = 1;

#[derive(Deserialize)]
#[serde(untagged)]
enum Record {
    Entries(Vec<Entry>),
    Row { captions: Captions },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Captions {
    Entries(Vec<Entry>),
    Json(String),
}

#[derive(Deserialize)]
struct Entry {
    granularity: i64,
    text: String,
}

/// The text of granularity 1.
///
/// # Errors
/// If this is no such record, or has no such text.
pub(super) fn caption(text: &str) -> Result<String, String> {
    let shape = |error: serde_json::Error| {
        format!("{error}; expected a list of {{\"text\", \"granularity\"}}, or it as \"captions\"")
    };
    let entries = match serde_json::from_str(text).map_err(shape)? {
        Record::Entries(entries)
        | Record::Row {
            captions: Captions::Entries(entries),
        } => entries,
        Record::Row {
            captions: Captions::Json(text),
        } => serde_json::from_str::<Vec<Entry>>(&text).map_err(shape)?,
    };
    let mut entries = entries.into_iter();
    let found = entries.find(|entry| entry.granularity == GRANULARITY);
    let found = found.ok_or_else(|| format!("it has no text of granularity {GRANULARITY}"))?;
    plain::caption(&found.text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn all_three_wrappings_are_read() {
        let list = r#"[{"text": "a", "granularity": 0, "include_datacomp_raw_cap": false},
            {"text": " says \"b\" ", "granularity": 1}, {"text": "c", "granularity": 1}]"#;
        let escaped = serde_json::to_string(list).expect("a string");
        for text in [
            list.to_owned(),
            format!(r#"{{"uid": "x", "captions": {list}}}"#),
            format!(r#"{{"captions": {escaped}}}"#),
        ] {
            assert_eq!(caption(&text), Ok("says \"b\"".to_owned()), "{text}");
        }
        for text in [
            "[]",
            "{}",
            "3",
            r#"{"captions": "["}"#,
            r#"[{"text": "", "granularity": 1}]"#,
        ] {
            assert!(caption(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn random_texts_never_panic(
            text in r#"[\[{]{0,2}("text"|"granularity"|"captions"|:|,|1|"a"|[\[\]{}"\\]){0,12}"#,
        ) {
            let _ = caption(&text);
        }
    }
}
