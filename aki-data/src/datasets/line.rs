//! A line of data of one's own, as far as one must know it to put it into a shard.

use serde::Deserialize;

use super::image_path::is_inside;
use super::json::fault;
use super::jsonl::{Line, draft};
use super::skipped::SkipReason;

/// What a line says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct OwnLine {
    /// Its pictures, which lie within the image folder.
    pub(crate) images: Vec<String>,
    /// The caption of the one picture; none if it is a conversation.
    pub(crate) caption: Option<String>,
}

#[derive(Deserialize)]
struct Caption {
    caption: Option<String>,
}

impl OwnLine {
    /// Reads a conversation as [`Dataset::jsonl`](super::Dataset::jsonl) does, or a picture and
    /// its caption.
    ///
    /// # Errors
    /// Why it is neither.
    pub(crate) fn read(text: &[u8]) -> Result<Self, SkipReason> {
        let line: Line = serde_json::from_slice(text).map_err(|error| fault(&error))?;
        if line.is_conversation() {
            let draft = draft(line)?;
            draft.check()?;
            return Ok(Self {
                images: draft.images,
                caption: None,
            });
        }
        let caption: Caption = serde_json::from_slice(text).map_err(|error| fault(&error))?;
        let caption = caption.caption.ok_or(SkipReason::MissingField)?;
        let (images, ..) = line.parts();
        match &images[..] {
            [] => return Err(SkipReason::MissingField),
            [image] if !is_inside(image) => return Err(SkipReason::ImagePath),
            [_] if caption.trim().is_empty() => return Err(SkipReason::Empty),
            [_] => {}
            _ => return Err(SkipReason::Pictures),
        }
        Ok(Self {
            images,
            caption: Some(caption),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_conversation_or_a_caption() {
        let ask = r#"[{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]"#;
        let line = |images: &[&str], caption: Option<&str>| {
            Ok(OwnLine {
                images: images.iter().map(|&image| image.to_owned()).collect(),
                caption: caption.map(str::to_owned),
            })
        };
        for (text, expected) in [
            (
                format!(r#"{{"image": ["a.jpg", "b.jpg"], "conversations": {ask}}}"#),
                line(&["a.jpg", "b.jpg"], None),
            ),
            (
                // What stands beside a conversation is of no use and may be anything.
                format!(r#"{{"caption": 1, "conversations": {ask}}}"#),
                line(&[], None),
            ),
            (
                r#"{"image": "a.jpg", "caption": " A cat."}"#.to_owned(),
                line(&["a.jpg"], Some(" A cat.")),
            ),
            (
                r#"{"image": "a.jpg", "caption": ""}"#.to_owned(),
                Err(SkipReason::Empty),
            ),
            (
                r#"{"image": "../a", "caption": "b"}"#.to_owned(),
                Err(SkipReason::ImagePath),
            ),
            (
                r#"{"image": ["a", "b"], "caption": "c"}"#.to_owned(),
                Err(SkipReason::Pictures),
            ),
            (
                r#"{"caption": "c"}"#.to_owned(),
                Err(SkipReason::MissingField),
            ),
            (
                r#"{"image": "a"}"#.to_owned(),
                Err(SkipReason::MissingField),
            ),
            (
                r#"{"image": "a", "caption": 1}"#.to_owned(),
                Err(SkipReason::Fields),
            ),
            (
                r#"{"image": "a", "conversations": []}"#.to_owned(),
                Err(SkipReason::Turns),
            ),
            (
                format!(r#"{{"image": "/a", "conversations": {ask}}}"#),
                Err(SkipReason::ImagePath),
            ),
            ("{".to_owned(), Err(SkipReason::Json)),
        ] {
            assert_eq!(OwnLine::read(text.as_bytes()), expected, "{text}");
        }
    }
}
