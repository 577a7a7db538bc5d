//! OCR-VQA: an object with a book cover a key, several questions each.

use std::path::Path;

use serde::Deserialize;

use super::dataset::{Builder, Dataset};
use super::draft::{Content, Draft};
use super::json::map;
use super::skipped::SkipReason;
use crate::DataError;

/// Split 1 of the three is for training.
const TRAIN: u8 = 1;

#[derive(Deserialize)]
struct Cover {
    #[serde(rename = "imageURL")]
    image_url: Option<String>,
    questions: Option<Vec<String>>,
    answers: Option<Vec<String>>,
    split: Option<u8>,
}

impl Dataset {
    /// Reads OCR-VQA's `dataset.json`. The image folder is the downloader's, with a file
    /// `{key}.jpg`, or whatever the address ends with, a cover. Each question is a record, with the
    /// key `{key}/{number}`.
    ///
    /// # Errors
    /// [`DataError::Io`] and [`DataError::Annotations`].
    pub fn ocrvqa(file: &Path) -> Result<Self, DataError> {
        let mut builder = Builder::default();
        map(file, |key, cover: Result<Cover, _>| match cover {
            Ok(cover) => add(&mut builder, &key, cover),
            Err(reason) => builder.push(key, Err(reason)),
        })?;
        Ok(builder.finish())
    }
}

fn add(builder: &mut Builder, key: &str, cover: Cover) {
    let (Some(url), Some(split), Some(questions), Some(answers)) =
        (cover.image_url, cover.split, cover.questions, cover.answers)
    else {
        return builder.push(key, Err(SkipReason::MissingField));
    };
    if split != TRAIN {
        return builder.push(key, Err(SkipReason::OtherSplit));
    }
    let mut questions = questions.into_iter();
    let mut answers = answers.into_iter();
    let image = format!("{key}{}", extension(&url));
    for number in 0.. {
        let content = match (questions.next(), answers.next()) {
            (None, None) => break,
            (Some(question), Some(answer)) => Ok(Content::Short { question, answer }),
            _ => Err(SkipReason::Unmatched),
        };
        let images = vec![image.clone()];
        let draft = content.map(|content| Draft { images, content });
        builder.push(format_args!("{key}/{number}"), draft);
    }
}

/// With its dot; nothing where the file's name has none but at its beginning.
fn extension(url: &str) -> &str {
    let name = url.rsplit('/').next().unwrap_or(url);
    match name.rfind('.') {
        Some(dot) if !name[..dot].trim_start_matches('.').is_empty() => &name[dot..],
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extension_is_the_file_names() {
        for (url, expected) in [
            ("http://a.b/c/41d.jpg", ".jpg"),
            ("http://a.b/c/41d.x.gif", ".gif"),
            ("http://a.b/c", ""),
            ("http://a.b/.jpg", ""),
            ("", ""),
        ] {
            assert_eq!(extension(url), expected, "{url}");
        }
    }
}
