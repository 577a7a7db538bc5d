//! Messages, as OpenAI's clients write them, to turns and pictures.

use aki_data::{Message, Role};
use serde_json::Value;

use crate::serve::fields::Fields;
use crate::serve::picture::Encoded;
use crate::serve::{ApiError, Limits};

/// Bytes of all texts together: more than the longest context of 128k tokens is made of. It bounds the time
/// that a tokenizer takes.
const MAX_TEXT: usize = 1 << 20;
const MAX_MESSAGES: usize = 1024;

/// The turns of a conversation and their pictures, in order.
///
/// A system message stands first or nowhere, since AKI's texts have one system line. Pictures stand in users'
/// messages. Wherever among its parts, they come before the message's text, as in training; several texts
/// are joined by newlines.
///
/// # Errors
///
/// 400 if a message is not so.
pub fn read(
    fields: &mut Fields,
    limits: &Limits,
) -> Result<(Vec<Message>, Vec<Encoded>), ApiError> {
    let list = fields.list("messages")?.unwrap_or_default();
    if list.is_empty() || list.len() > MAX_MESSAGES {
        let why = format!("must be a list of 1 to {MAX_MESSAGES} messages");
        return Err(fields.fault("messages", &why));
    }
    let (mut messages, mut pictures) = (Vec::new(), Vec::new());
    for (at, value) in list.into_iter().enumerate() {
        let before = pictures.len();
        let mut message = Fields::new(value, &format!("messages[{at}]"))?;
        let role = role(&mut message, at)?;
        let text = content(&mut message, role, limits, &mut pictures)?;
        if message.text("refusal")?.is_some() {
            return Err(message.fault("refusal", "is not supported"));
        }
        // Who speaks is no part of the model's texts.
        message.text("name")?;
        message.end()?;
        messages.push(Message {
            role,
            text,
            pictures: pictures.len() - before,
        });
    }
    if messages
        .iter()
        .map(|message| message.text.len())
        .sum::<usize>()
        > MAX_TEXT
    {
        let why = format!("have more than the {MAX_TEXT} bytes of text allowed");
        return Err(fields
            .fault("messages", &why)
            .code("context_length_exceeded"));
    }
    Ok((messages, pictures))
}

/// Whether an answer can follow.
///
/// # Errors
///
/// 400 if the last turn is not the user's.
pub fn check_end(fields: &Fields, messages: &[Message]) -> Result<(), ApiError> {
    match messages.last().is_some_and(|last| last.role == Role::User) {
        true => Ok(()),
        false => Err(fields.fault("messages", "must end with the user's")),
    }
}

fn role(message: &mut Fields, at: usize) -> Result<Role, ApiError> {
    match message.text("role")?.as_deref() {
        Some("system" | "developer") if at == 0 => Ok(Role::System),
        Some("system" | "developer") => {
            let why = "must not be system here: the model's texts have one system line, at their beginning";
            Err(message.fault("role", why))
        }
        Some("user") => Ok(Role::User),
        Some("assistant") => Ok(Role::Assistant),
        Some("tool" | "function") => Err(message.fault(
            "role",
            "must be system, user or assistant: tools are not supported",
        )),
        _ => Err(message.fault("role", "must be system, user or assistant")),
    }
}

/// The text of a message; its pictures are added to the others.
fn content(
    message: &mut Fields,
    role: Role,
    limits: &Limits,
    pictures: &mut Vec<Encoded>,
) -> Result<String, ApiError> {
    let parts = match message.take("content") {
        Some(Value::String(text)) => return Ok(text),
        Some(Value::Array(parts)) if !parts.is_empty() => parts,
        _ => return Err(message.fault("content", "must be a string or a list of parts")),
    };
    let path = message.path("content");
    let mut texts: Vec<String> = Vec::new();
    for (at, part) in parts.into_iter().enumerate() {
        let mut part = Fields::new(part, &format!("{path}[{at}]"))?;
        match part.text("type")?.as_deref() {
            Some("text") => {
                let text = part.text("text")?;
                texts.push(text.ok_or_else(|| part.fault("text", "is missing"))?);
            }
            Some("image_url") if role != Role::User => {
                return Err(part.fault("type", "must be text: only users show pictures"));
            }
            Some("image_url") => {
                if pictures.len() == limits.max_pictures {
                    let why = format!(
                        "is one picture too many: {} are allowed; see --max-pictures",
                        limits.max_pictures
                    );
                    return Err(part.fault("image_url", &why).code("too_many_images"));
                }
                pictures.push(picture(&mut part, limits)?);
                Encoded::check_all(pictures)?;
            }
            _ => return Err(part.fault("type", "must be text or image_url")),
        }
        part.end()?;
    }
    Ok(texts.join("\n"))
}

fn picture(part: &mut Fields, limits: &Limits) -> Result<Encoded, ApiError> {
    let missing = part.fault("image_url", "is missing");
    let mut image = part.object("image_url")?.ok_or(missing)?;
    // The model sees every picture at one size.
    let detail = image.text("detail")?;
    if !matches!(detail.as_deref(), None | Some("auto" | "low" | "high")) {
        return Err(image.fault("detail", "must be auto, low or high"));
    }
    let url = image.text("url")?;
    let url = url.ok_or_else(|| image.fault("url", "is missing"))?;
    let (path, upright) = (image.path("url"), limits.upright);
    let is_address = ["http://", "https://"].iter().any(|it| url.starts_with(it));
    let picture = match limits.fetcher.filter(|_| is_address) {
        Some(fetcher) => {
            let url = fetcher.allowed(&url);
            let url = url.map_err(|why| image.fault("url", &why).code("invalid_image_url"))?;
            Encoded::at(url, &path, upright)
        }
        None => Encoded::from_uri(&url, &path, upright)?,
    };
    image.end()?;
    Ok(picture)
}
