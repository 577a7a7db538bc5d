//! `ScienceQA`: an object with a problem a key, with or without a picture.

use std::path::Path;

use serde::Deserialize;

use super::dataset::{Builder, Dataset};
use super::draft::{Content, Draft};
use super::json::map;
use super::skipped::SkipReason;
use crate::DataError;

#[derive(Deserialize)]
struct Problem {
    question: Option<String>,
    choices: Option<Vec<String>>,
    answer: Option<usize>,
    hint: Option<String>,
    image: Option<String>,
    split: Option<String>,
}

impl Dataset {
    /// Reads `ScienceQA`'s `problems.json`, the training split. The image folder is its `train`.
    ///
    /// # Errors
    /// [`DataError::Io`] and [`DataError::Annotations`].
    pub fn scienceqa(problems: &Path) -> Result<Self, DataError> {
        let mut builder = Builder::default();
        map(problems, |key, problem: Result<Problem, _>| {
            let draft = problem.and_then(|problem| draft(&key, problem));
            builder.push(key, draft);
        })?;
        Ok(builder.finish())
    }
}

fn draft(key: &str, problem: Problem) -> Result<Draft, SkipReason> {
    if problem.split.ok_or(SkipReason::MissingField)? != "train" {
        return Err(SkipReason::OtherSplit);
    }
    let hint = problem.hint.filter(|hint| !hint.is_empty());
    let image = problem.image.filter(|name| !name.is_empty());
    Ok(Draft {
        images: image
            .map(|name| format!("{key}/{name}"))
            .into_iter()
            .collect(),
        content: Content::Choice {
            question: problem.question.ok_or(SkipReason::MissingField)?,
            context: Some(hint.unwrap_or_else(|| "N/A".to_owned())),
            options: problem.choices.ok_or(SkipReason::MissingField)?,
            right: problem.answer.ok_or(SkipReason::MissingField)?,
        },
    })
}
