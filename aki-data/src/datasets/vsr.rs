//! VSR: captions that are true or false of a picture, a line each.

use std::path::Path;

use serde::Deserialize;

use super::dataset::{Builder, Dataset};
use super::draft::{Content, Draft};
use super::json::lines;
use super::skipped::SkipReason;
use crate::DataError;

#[derive(Deserialize)]
struct Line {
    image: Option<String>,
    image_link: Option<String>,
    caption: Option<String>,
    label: Option<u8>,
}

impl Dataset {
    /// Reads VSR's random split for training, `train-random.jsonl`. The image folder is COCO's, with `train2017`
    /// and `val2017` in it; which of them, the link says. A key is the line's number.
    ///
    /// # Errors
    /// [`DataError::Io`] and [`DataError::Annotations`].
    pub fn vsr(captions: &Path) -> Result<Self, DataError> {
        let mut builder = Builder::default();
        lines(captions, |number, line: Result<Line, _>| {
            builder.push(number, line.and_then(draft));
        })?;
        Ok(builder.finish())
    }
}

fn draft(line: Line) -> Result<Draft, SkipReason> {
    let image = line.image.ok_or(SkipReason::MissingField)?;
    let link = line.image_link.ok_or(SkipReason::MissingField)?;
    let folder = ["train2017", "val2017"]
        .into_iter()
        .find(|folder| link.contains(folder))
        .ok_or(SkipReason::ImagePath)?;
    let caption = line.caption.ok_or(SkipReason::MissingField)?;
    let question = question(&caption).ok_or(SkipReason::Caption)?;
    let answer = match line.label.ok_or(SkipReason::MissingField)? {
        0 => "no",
        1 => "yes",
        _ => return Err(SkipReason::Unmatched),
    };
    Ok(Draft {
        images: vec![format!("{folder}/{image}")],
        content: Content::Short {
            question: format!("{question} Please answer yes or no."),
            answer: answer.to_owned(),
        },
    })
}

/// "The cat is on the mat." as "Is the cat on the mat?". The word "is" is meant, since "the dish"
/// holds no verb.
fn question(caption: &str) -> Option<String> {
    let (subject, rest) = caption.split_once(" is ")?;
    let [subject, rest] = [subject, rest].map(|part| part.trim().to_lowercase());
    Some(format!("Is {subject} {}", rest.replace('.', "?")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caption_becomes_a_question() {
        for (caption, expected) in [
            ("The cat is on the TV.", Some("Is the cat on the tv?")),
            ("The dish is in this box.", Some("Is the dish in this box?")),
            ("The cake contains the cat.", None),
        ] {
            assert_eq!(question(caption).as_deref(), expected);
        }
    }
}
