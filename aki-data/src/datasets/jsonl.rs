//! Data of one's own: conversations in LLaVA's or OpenAI's form.

use std::path::Path;

use serde::Deserialize;

use super::dataset::{Builder, Dataset};
use super::draft::{Content, Draft};
use super::json::{Id, is_list, lines, list};
use super::llava150k::Utterance;
use super::marks::without_marks;
use super::openai::{OpenAiMessage, read_messages};
use super::skipped::SkipReason;
use crate::DataError;
use crate::text::{Message, Role};

#[derive(Deserialize)]
pub(super) struct Line {
    id: Option<Id>,
    #[serde(alias = "images")]
    image: Option<OneOrMany>,
    conversations: Option<Vec<Utterance>>,
    messages: Option<Vec<OpenAiMessage>>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "`image` should be a path or a list of paths")]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// What a line holds: pictures, and a conversation in one form or the other.
type Parts = (
    Vec<String>,
    Option<Vec<Utterance>>,
    Option<Vec<OpenAiMessage>>,
);

impl Line {
    pub(super) fn is_conversation(&self) -> bool {
        self.conversations.is_some() || self.messages.is_some()
    }

    pub(super) fn parts(self) -> Parts {
        let mut images = match self.image {
            None => Vec::new(),
            Some(OneOrMany::One(image)) => vec![image],
            Some(OneOrMany::Many(images)) => images,
        };
        // Files with and without pictures often say "" for none.
        images.retain(|image| !image.is_empty());
        (images, self.conversations, self.messages)
    }
}

impl Dataset {
    /// Reads conversations, a JSON object a line or all in one list:
    ///
    /// ```text
    /// {"image": "a.jpg", "conversations": [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A cat."}]}
    /// {"image": ["a.jpg", "b.jpg"], "conversations": [..]}
    /// {"image": "a.jpg", "messages": [{"role": "user", "content": "What?"}, {"role": "assistant", "content": "A cat."}]}
    /// {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "a.jpg"}}, {"type": "text", "text": "What?"}]}, ..]}
    /// ```
    ///
    /// `images` is as good as `image`, and there may be none. All turns are kept together, and
    /// every answer is learned; a system message may come first. A line `<image>` in a question
    /// marks a picture, which goes before that question; without marks all go before the first.
    /// In a conversation without pictures `<image>` is text. The key is the `id`, or else the
    /// line's number. A line that is no JSON or no such record is left out and counted, under its
    /// number.
    ///
    /// # Errors
    /// [`DataError::Io`]; [`DataError::Annotations`] if a list is damaged, or no line or entry at
    /// all can be read.
    pub fn jsonl(file: &Path) -> Result<Self, DataError> {
        let mut builder = Builder::default();
        let add = |number: usize, line: Result<Line, _>| match line {
            Ok(mut line) => {
                let id = line.id.take();
                let key = id.map_or_else(|| number.to_string(), |id| id.to_string());
                builder.push(key, draft(line));
            }
            Err(reason) => builder.push(number, Err(reason)),
        };
        if is_list(file)? {
            list(file, add)?;
        } else {
            lines(file, add)?;
        }
        Ok(builder.finish())
    }
}

pub(super) fn draft(line: Line) -> Result<Draft, SkipReason> {
    let (images, mut messages) = read(line)?;
    place_pictures(&mut messages, images.len())?;
    Ok(Draft {
        images,
        content: Content::Conversation(messages),
    })
}

/// The pictures that a line names, and its messages, with marks still in their texts.
pub(super) fn read(line: Line) -> Result<(Vec<String>, Vec<Message>), SkipReason> {
    let (mut images, conversations, messages) = line.parts();
    let messages = match (conversations, messages) {
        (Some(conversation), None) => read_conversation(conversation)?,
        (None, Some(messages)) => read_messages(messages, &mut images)?,
        _ => return Err(SkipReason::MissingField),
    };
    Ok((images, messages))
}

fn read_conversation(conversation: Vec<Utterance>) -> Result<Vec<Message>, SkipReason> {
    let message = |utterance: Utterance| {
        Ok(Message {
            role: match utterance.from.as_deref() {
                Some("system") => Role::System,
                Some("human" | "user") => Role::User,
                Some("gpt" | "assistant") => Role::Assistant,
                _ => return Err(SkipReason::Turns),
            },
            text: utterance.value.ok_or(SkipReason::MissingField)?,
            pictures: 0,
        })
    };
    conversation.into_iter().map(message).collect()
}

/// Puts the pictures where marks say, or all before the first question.
pub(super) fn place_pictures(messages: &mut [Message], images: usize) -> Result<(), SkipReason> {
    if images == 0 {
        let placed = messages.iter().any(|message| message.pictures > 0);
        return if placed {
            Err(SkipReason::Marks)
        } else {
            Ok(())
        };
    }
    let mut placed: usize = messages.iter().map(|message| message.pictures).sum();
    let asked = |message: &&mut Message| message.role == Role::User;
    if placed == 0 {
        for message in messages.iter_mut().filter(asked) {
            (message.text, message.pictures) = without_marks(&message.text);
            placed += message.pictures;
        }
    }
    if placed == 0 {
        let first = messages.iter_mut().find(asked).ok_or(SkipReason::Turns)?;
        first.pictures = images;
    } else if placed != images {
        return Err(SkipReason::Marks);
    }
    Ok(())
}
