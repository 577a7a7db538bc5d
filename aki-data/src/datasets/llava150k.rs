//! `LLaVA-Instruct-150K`: conversations of which each question is a record.

use std::path::Path;

use serde::Deserialize;

use super::dataset::{Builder, Dataset};
use super::draft::{Content, Draft, exchange};
use super::json::{Id, list};
use super::marks::without_marks;
use super::skipped::SkipReason;
use crate::DataError;

#[derive(Deserialize)]
struct Entry {
    id: Option<Id>,
    image: Option<String>,
    conversations: Option<Vec<Utterance>>,
}

/// One side of a LLaVA conversation.
#[derive(Deserialize)]
pub(super) struct Utterance {
    pub(super) from: Option<String>,
    pub(super) value: Option<String>,
}

impl Dataset {
    /// Reads `llava_instruct_150k.json`. The image folder is COCO's `train2017`. Each question with
    /// its answer is a record of its own, without what was said before, under the key
    /// `{id}/{number}`, and with the picture in front wherever its mark stood.
    /// [`Self::jsonl`] reads the same file as whole conversations.
    ///
    /// # Errors
    /// [`DataError::Io`] and [`DataError::Annotations`].
    pub fn llava150k(file: &Path) -> Result<Self, DataError> {
        let mut builder = Builder::default();
        list(file, |number, entry: Result<Entry, _>| {
            let entry = match entry {
                Ok(entry) => entry,
                Err(reason) => return builder.push(number, Err(reason)),
            };
            let id = entry.id.map_or_else(String::new, |id| id.to_string());
            let (Some(image), Some(conversation)) = (entry.image, entry.conversations) else {
                return builder.push(id, Err(SkipReason::MissingField));
            };
            for (number, pair) in conversation.chunks(2).enumerate() {
                builder.push(format_args!("{id}/{number}"), draft(&image, pair));
            }
        })?;
        Ok(builder.finish())
    }
}

fn draft(image: &str, pair: &[Utterance]) -> Result<Draft, SkipReason> {
    let [human, gpt] = pair else {
        return Err(SkipReason::Turns);
    };
    if human.from.as_deref() != Some("human") || gpt.from.as_deref() != Some("gpt") {
        return Err(SkipReason::Turns);
    }
    let question = human.value.as_ref().ok_or(SkipReason::MissingField)?;
    let answer = gpt.value.clone().ok_or(SkipReason::MissingField)?;
    let (question, _) = without_marks(question);
    Ok(Draft {
        images: vec![image.to_owned()],
        content: Content::Conversation(exchange(question, answer, 1)),
    })
}
