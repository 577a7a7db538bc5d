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
struct Line {
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
    /// line's number.
    ///
    /// # Errors
    /// [`DataError::Io`] and [`DataError::Annotations`].
    pub fn jsonl(file: &Path) -> Result<Self, DataError> {
        let mut builder = Builder::default();
        let mut add = |number: usize, mut line: Line| {
            let id = line.id.take();
            let key = id.map_or_else(|| number.to_string(), |id| id.to_string());
            builder.push(key, draft(line));
        };
        if is_list(file)? {
            let mut numbers = 1..;
            list(file, |line| add(numbers.next().unwrap_or(0), line))?;
        } else {
            lines(file, add)?;
        }
        Ok(builder.finish())
    }
}

fn draft(line: Line) -> Result<Draft, SkipReason> {
    let mut images = match line.image {
        None => Vec::new(),
        Some(OneOrMany::One(image)) => vec![image],
        Some(OneOrMany::Many(images)) => images,
    };
    // Files with and without pictures often say "" for none.
    images.retain(|image| !image.is_empty());
    let mut messages = match (line.conversations, line.messages) {
        (Some(conversation), None) => read_conversation(conversation)?,
        (None, Some(messages)) => read_messages(messages, &mut images)?,
        _ => return Err(SkipReason::MissingField),
    };
    place_pictures(&mut messages, images.len())?;
    Ok(Draft {
        images,
        content: Content::Conversation(messages),
    })
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
fn place_pictures(messages: &mut [Message], images: usize) -> Result<(), SkipReason> {
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
