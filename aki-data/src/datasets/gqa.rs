//! GQA: an object with a question a key.

use std::path::Path;

use serde::Deserialize;

use super::dataset::{Builder, Dataset};
use super::draft::{Content, Draft};
use super::json::map;
use super::skipped::SkipReason;
use crate::DataError;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    image_id: Option<String>,
    question: Option<String>,
    answer: Option<String>,
}

impl Dataset {
    /// Reads GQA's `train_balanced_questions.json`. The image folder is GQA's `images`.
    ///
    /// # Errors
    /// [`DataError::Io`] and [`DataError::Annotations`].
    pub fn gqa(questions: &Path) -> Result<Self, DataError> {
        let mut builder = Builder::default();
        map(questions, |id, entry: Result<Entry, _>| {
            builder.push(id, entry.and_then(draft));
        })?;
        Ok(builder.finish())
    }
}

fn draft(entry: Entry) -> Result<Draft, SkipReason> {
    let image = entry.image_id.ok_or(SkipReason::MissingField)?;
    Ok(Draft {
        images: vec![format!("{image}.jpg")],
        content: Content::Short {
            question: entry.question.ok_or(SkipReason::MissingField)?,
            answer: entry.answer.ok_or(SkipReason::MissingField)?,
        },
    })
}
