//! LLaVA-style conversations about one picture.

use serde::Deserialize;

use crate::datasets::without_marks;

/// One question about a picture and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// What the user asks.
    pub question: String,
    /// What the assistant should answer.
    pub answer: String,
    /// Kind of the question, for scores by kind; may be empty.
    pub kind: String,
}

/// The `json` member of a sample. Other fields (`id`, `image`, what a downloader
/// noted) are of no use here.
#[derive(Deserialize)]
struct Record {
    #[serde(default)]
    conversations: Vec<Utterance>,
}

#[derive(Deserialize)]
struct Utterance {
    from: String,
    value: String,
    #[serde(default)]
    kind: String,
}

/// Reads the turns of a record. A record without `conversations`, such as the
/// downloader's notes beside a caption, has none. Marks `<image>` go, since the template
/// says where every question's picture stands.
///
/// # Errors
/// Why this is no record, or its conversation no pairs of human and gpt.
pub(super) fn read_turns(json: &[u8]) -> Result<Vec<Turn>, String> {
    let record: Record = serde_json::from_slice(json).map_err(|e| e.to_string())?;
    record
        .conversations
        .chunks(2)
        .enumerate()
        .map(|(pair, utterances)| match utterances {
            [human, gpt] if human.from == "human" && gpt.from == "gpt" => Ok(Turn {
                question: without_marks(&human.value).0,
                answer: gpt.value.clone(),
                kind: gpt.kind.clone(),
            }),
            _ => {
                let from: Vec<_> = utterances.iter().map(|u| u.from.as_str()).collect();
                Err(format!(
                    "utterances {} and {} of the conversation should be from human and gpt, \
                     but are from {from:?}",
                    2 * pair,
                    2 * pair + 1
                ))
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_pair_is_a_turn_without_marks() {
        let json = br#"{"id": 7, "conversations": [
            {"from": "human", "value": "<image>\nwhat color is the shape?"},
            {"from": "gpt", "value": "blue", "kind": "color"},
            {"from": "human", "value": "is there a circle?\n<image>"},
            {"from": "gpt", "value": "yes"},
            {"from": "human", "value": "<image> Is <image> a word?"},
            {"from": "gpt", "value": "no"}
        ]}"#;
        let turn = |question: &str, answer: &str, kind: &str| Turn {
            question: question.to_owned(),
            answer: answer.to_owned(),
            kind: kind.to_owned(),
        };
        let expected = [
            turn("what color is the shape?", "blue", "color"),
            turn("is there a circle?", "yes", ""),
            turn("Is <image> a word?", "no", ""),
        ];
        assert_eq!(read_turns(json).expect("turns"), expected);
    }

    #[test]
    fn a_record_without_a_conversation_has_no_turns() {
        assert_eq!(read_turns(br#"{"url": "x"}"#), Ok(Vec::new()));
    }

    #[test]
    fn odd_conversations_say_where_they_are_odd() {
        let human = r#"{"from": "human", "value": "a"}"#;
        let gpt = r#"{"from": "gpt", "value": "b"}"#;
        for odd in [
            human.to_owned(),
            format!("{gpt}, {human}"),
            format!("{human}, {gpt}, {human}"),
            format!("{human}, {human}"),
        ] {
            let json = format!(r#"{{"conversations": [{odd}]}}"#);
            let reason = read_turns(json.as_bytes()).expect_err("odd");
            assert!(reason.contains("human and gpt"), "{reason}");
        }
    }

    proptest! {
        #[test]
        fn random_members_never_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            text in r#"\{"conversations": ?\[(\{"from": ?"(human|gpt)", ?"value": ?("a"|1|null)\},?){0,4}\]?\}?"#,
        ) {
            let _ = read_turns(&bytes);
            let _ = read_turns(text.as_bytes());
        }
    }
}
