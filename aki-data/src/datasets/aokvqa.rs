//! A-OKVQA: a list of questions with options.

use std::path::Path;

use serde::Deserialize;

use super::dataset::{Builder, Dataset};
use super::draft::{Content, Draft};
use super::json::list;
use super::skipped::SkipReason;
use crate::DataError;

#[derive(Deserialize)]
struct Entry {
    question_id: Option<String>,
    image_id: Option<u64>,
    question: Option<String>,
    choices: Option<Vec<String>>,
    correct_choice_idx: Option<usize>,
}

impl Dataset {
    /// Reads A-OKVQA's `aokvqa_v1p0_train.json`. The image folder is COCO's `train2017`.
    ///
    /// # Errors
    /// [`DataError::Io`] and [`DataError::Annotations`].
    pub fn aokvqa(questions: &Path) -> Result<Self, DataError> {
        let mut builder = Builder::default();
        list(questions, |number, entry: Result<Entry, _>| match entry {
            Ok(mut entry) => {
                let id = entry.question_id.take();
                builder.push(id.unwrap_or_default(), draft(entry));
            }
            Err(reason) => builder.push(number, Err(reason)),
        })?;
        Ok(builder.finish())
    }
}

fn draft(entry: Entry) -> Result<Draft, SkipReason> {
    let image = entry.image_id.ok_or(SkipReason::MissingField)?;
    Ok(Draft {
        images: vec![format!("{image:012}.jpg")],
        content: Content::Choice {
            question: entry.question.ok_or(SkipReason::MissingField)?,
            context: None,
            options: entry.choices.ok_or(SkipReason::MissingField)?,
            right: entry.correct_choice_idx.ok_or(SkipReason::MissingField)?,
        },
    })
}
