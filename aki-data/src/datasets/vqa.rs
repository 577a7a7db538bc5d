//! `VQAv2`: questions and answers in two files.

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;

use super::dataset::{Builder, Dataset};
use super::draft::{Content, Draft};
use super::json::list_in;
use super::skipped::SkipReason;
use crate::DataError;

#[derive(Deserialize)]
struct Asked {
    question_id: u64,
    image_id: Option<u64>,
    question: Option<String>,
}

#[derive(Deserialize)]
struct Answered {
    question_id: u64,
    multiple_choice_answer: Option<String>,
}

impl Dataset {
    /// Reads `VQAv2`: `v2_OpenEnded_mscoco_train2014_questions.json` and
    /// `v2_mscoco_train2014_annotations.json`, joined by question. The image folder is COCO's
    /// `train2014`.
    ///
    /// # Errors
    /// [`DataError::Io`] and [`DataError::Annotations`].
    pub fn vqa(questions: &Path, annotations: &Path) -> Result<Self, DataError> {
        let mut builder = Builder::default();
        let mut answers = HashMap::new();
        // An answer that cannot be read leaves its question without one, and is counted there.
        list_in(
            annotations,
            "annotations",
            |_, answer: Result<Answered, _>| {
                if let Ok(answer) = answer
                    && let Some(text) = answer.multiple_choice_answer
                {
                    answers.insert(answer.question_id, text);
                }
            },
        )?;
        list_in(
            questions,
            "questions",
            |number, asked: Result<Asked, _>| match asked {
                Ok(asked) => {
                    let answer = answers.remove(&asked.question_id);
                    builder.push(asked.question_id, draft(asked, answer));
                }
                Err(reason) => builder.push(number, Err(reason)),
            },
        )?;
        let mut left: Vec<_> = answers.into_keys().collect();
        left.sort_unstable();
        for question_id in left {
            builder.push(question_id, Err(SkipReason::Unmatched));
        }
        Ok(builder.finish())
    }
}

fn draft(asked: Asked, answer: Option<String>) -> Result<Draft, SkipReason> {
    let image = asked.image_id.ok_or(SkipReason::MissingField)?;
    Ok(Draft {
        images: vec![format!("COCO_train2014_{image:012}.jpg")],
        content: Content::Short {
            question: asked.question.ok_or(SkipReason::MissingField)?,
            answer: answer.ok_or(SkipReason::Unmatched)?,
        },
    })
}
