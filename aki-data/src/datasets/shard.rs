//! Conversations in shards: pictures, and a `json` member that holds what a line of JSONL holds.

use super::draft::{Content, Draft};
use super::jsonl::{Line, place_pictures, read};
use super::record::Record;
use crate::shards::{self, Limits, RawSample, Skipped};

/// The pictures of a sample and the conversation about them, which is read from its `json` as
/// [`Dataset::jsonl`](super::Dataset::jsonl) reads a line: all turns are kept together, and every
/// answer is learned.
///
/// The pictures are those of the sample. If the record names some too, their names do not matter,
/// but they must be as many. [`Record::images`] has the pictures' numbers; its key is the sample's.
/// Pictures are not decoded, but their headers must be sound and within `limits`.
///
/// # Errors
/// Why the sample is no such conversation.
pub fn read_conversation(
    raw: RawSample,
    limits: &Limits,
) -> Result<(Vec<Vec<u8>>, Record), Skipped> {
    let checked = check(&raw, limits);
    match checked {
        Ok(draft) => Ok((raw.pictures, draft.into_record(raw.key))),
        Err(reason) => Err(Skipped {
            shard: raw.shard.to_path_buf(),
            key: raw.key,
            reason,
        }),
    }
}

fn check(raw: &RawSample, limits: &Limits) -> Result<Draft, shards::SkipReason> {
    let missing = shards::SkipReason::Missing { extension: "json" };
    let json = raw.json.as_ref().ok_or(missing)?;
    for (number, picture) in raw.pictures.iter().enumerate() {
        limits.check_picture(picture, &format!("{}, number {number}", raw.key))?;
    }
    let line: Line = serde_json::from_slice(json).map_err(|error| shards::SkipReason::Json {
        reason: error.to_string(),
    })?;
    let draft = draft(line, raw.pictures.len());
    draft.map_err(shards::SkipReason::Record)
}

fn draft(line: Line, pictures: usize) -> Result<Draft, super::SkipReason> {
    let (named, mut messages) = read(line)?;
    if !named.is_empty() && named.len() != pictures {
        return Err(super::SkipReason::Pictures);
    }
    place_pictures(&mut messages, pictures)?;
    let draft = Draft {
        images: (0..pictures).map(|number| number.to_string()).collect(),
        content: Content::Conversation(messages),
    };
    draft.check()?;
    Ok(draft)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::shards::tests::tiny_png;
    use crate::text::{Message, Role};

    fn read(pictures: usize, json: &[u8]) -> Result<(Vec<Vec<u8>>, Record), &'static str> {
        let raw = RawSample {
            shard: std::path::Path::new("s.tar").into(),
            key: "k".to_owned(),
            pictures: vec![tiny_png(); pictures],
            text: None,
            json: Some(json.to_vec()),
        };
        read_conversation(raw, &Limits::default()).map_err(|skipped| {
            assert_eq!(skipped.key, "k");
            skipped.reason.kind()
        })
    }

    const ASK: &str =
        r#"{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A cat."}"#;

    #[test]
    fn turns_stay_together_and_pictures_go_where_their_marks_are() {
        // A path that a folder of pictures could not have: here it is a name.
        let json = format!(
            r#"{{"id": 7, "image": ["/data/a.jpg", "b.jpg"], "conversations": [{ASK}, {ASK}]}}"#
        );
        let (pictures, record) = read(2, json.as_bytes()).expect("a conversation");
        assert_eq!(pictures, [tiny_png(), tiny_png()]);
        let message = |role, text: &str, pictures| Message {
            role,
            text: text.to_owned(),
            pictures,
        };
        let turn = [
            message(Role::User, "What?", 1),
            message(Role::Assistant, "A cat.", 0),
        ];
        assert_eq!(record.messages, [turn.clone(), turn.clone()].concat());
        assert_eq!((record.key.as_str(), record.images.len()), ("k", 2));

        let openai = r#"{"messages": [
            {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What?"}]},
            {"role": "assistant", "content": "A cat."}]}"#;
        let (_, record) = read(1, openai.as_bytes()).expect("a conversation");
        assert_eq!(record.messages, turn);
    }

    #[test]
    fn a_sample_without_pictures_is_text() {
        let json = format!(r#"{{"conversations": [{ASK}]}}"#);
        let (pictures, record) = read(0, json.as_bytes()).expect("a conversation");
        assert!(pictures.is_empty());
        assert_eq!(record.messages[0].text, "<image>\nWhat?");
    }

    #[test]
    fn what_does_not_fit_is_told() {
        let with = |more: &str| format!(r#"{{{more}"conversations": [{ASK}]}}"#);
        for (pictures, json, kind) in [
            (0, with(r#""image": "a.jpg", "#), "wrong number of pictures"),
            (2, with(r#""image": "a.jpg", "#), "wrong number of pictures"),
            (2, with(""), "wrong marks"),
            (1, r#"{"conversations": []}"#.to_owned(), "not by turns"),
            (1, r#"{"text": "a"}"#.to_owned(), "missing field"),
            (1, "{".to_owned(), "unusable json"),
        ] {
            let error = read(pictures, json.as_bytes()).expect_err(kind);
            assert_eq!(error, kind, "{json}");
        }
        let raw = RawSample {
            shard: std::path::Path::new("s.tar").into(),
            key: "k".to_owned(),
            pictures: vec![b"no picture".to_vec()],
            text: None,
            json: Some(with("").into_bytes()),
        };
        let mut without = raw.clone();
        without.json = None;
        for (raw, kind) in [(raw, "broken picture"), (without, "missing member")] {
            let error = read_conversation(raw, &Limits::default()).expect_err(kind);
            assert_eq!(error.reason.kind(), kind);
        }
    }

    proptest! {
        #[test]
        fn random_members_never_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..100),
            text in r#"\{("image": ?(\["a"(, "b")?\]|"a"),)?"conversations": ?\[(\{"from": ?"(human|gpt)", ?"value": ?("<image>"|"a"|1)\},?){0,4}\]\}"#,
            pictures in 0_usize..3,
        ) {
            for json in [&bytes[..], text.as_bytes()] {
                if let Ok((held, record)) = read(pictures, json) {
                    let shown: usize = record.messages.iter().map(|it| it.pictures).sum();
                    prop_assert_eq!(held.len(), shown);
                    prop_assert_eq!(record.images.len(), shown);
                }
            }
        }
    }
}
