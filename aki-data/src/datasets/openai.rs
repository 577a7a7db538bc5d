//! Messages in OpenAI's form: text, or parts that are text and pictures.

use serde::Deserialize;

use super::skipped::SkipReason;
use crate::text::{Message, Role};

/// A message of a file.
#[derive(Deserialize)]
pub(super) struct OpenAiMessage {
    role: Option<String>,
    content: Option<Content>,
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "`content` should be a text or a list of parts with a `type`"
)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
struct Part {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
    image_url: Option<ImageUrl>,
    image: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "`image_url` should be a path or hold a `url`")]
enum ImageUrl {
    Plain(String),
    Object { url: String },
}

/// The messages, with the pictures that their parts show; paths of these are added to `images`.
/// Texts of one message are joined as they are.
pub(super) fn read_messages(
    messages: Vec<OpenAiMessage>,
    images: &mut Vec<String>,
) -> Result<Vec<Message>, SkipReason> {
    messages
        .into_iter()
        .map(|message| read_message(message, images))
        .collect()
}

fn read_message(message: OpenAiMessage, images: &mut Vec<String>) -> Result<Message, SkipReason> {
    let role = match message.role.as_deref() {
        Some("system") => Role::System,
        Some("user") => Role::User,
        Some("assistant") => Role::Assistant,
        _ => return Err(SkipReason::Turns),
    };
    let (mut text, mut pictures) = (String::new(), 0);
    match message.content.ok_or(SkipReason::MissingField)? {
        Content::Text(all) => text = all,
        Content::Parts(parts) => {
            for part in parts {
                match part.kind.as_str() {
                    "text" => text += &part.text.ok_or(SkipReason::MissingField)?,
                    "image" | "image_url" => {
                        pictures += 1;
                        images.extend(part.path());
                    }
                    _ => return Err(SkipReason::Part),
                }
            }
        }
    }
    if pictures > 0 && role != Role::User {
        return Err(SkipReason::Marks);
    }
    Ok(Message {
        role,
        text,
        pictures,
    })
}

impl Part {
    /// Of the picture; a part without one stands for the next of the record's `images`.
    fn path(self) -> Option<String> {
        let url = self.image_url.map(|url| match url {
            ImageUrl::Plain(url) | ImageUrl::Object { url } => url,
        });
        url.or(self.image)
    }
}
