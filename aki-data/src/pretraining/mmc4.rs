//! MMC4: web pages with pictures among their sentences.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::assignment::assign;
use super::sample::PretrainingSample;
use crate::shards::{Limits, RawSample, SkipReason};
use crate::text::Part;

/// Smaller pictures are icons and spacers: 3 kB.
const MIN_BYTES: usize = 3_000;

/// Products that the assignment may take, which grow as `n * n * m`: a second.
const MAX_WORK: usize = 1 << 28;

/// How a page becomes a text.
///
/// Pictures under 3 kB are dropped. Each other one is assigned to a sentence, no two to
/// the same, at the largest sum of similarities; pairs less similar than
/// `min_similarity` are dropped, and of the rest the first `max_pictures` in the order of
/// `image_info` are kept. The sentences are joined by blanks, each that has a picture
/// with `<|endofchunk|><image>` before it and no blank around; the first
/// `<|endofchunk|>` goes, and one ends the text:
///
/// ```text
/// {s0} {s1}<image>{s2} {s3}<|endofchunk|><image>{s4}<|endofchunk|>
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mmc4 {
    /// Pictures of a page at most.
    pub max_pictures: usize,
    /// The least similarity of a picture and its sentence, by CLIP: -1 to 1.
    pub min_similarity: f64,
}

/// The `json` member. Other fields are of no use here.
#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    text_list: Vec<Cow<'a, str>>,
    #[serde(borrow)]
    image_info: Vec<ImageInfo<'a>>,
    /// A row a picture, a column a sentence.
    similarity_matrix: Vec<Vec<f64>>,
}

#[derive(Deserialize)]
struct ImageInfo<'a> {
    /// Missing where the picture could not be downloaded.
    #[serde(borrow, default)]
    image_base64: Option<Cow<'a, str>>,
}

impl Mmc4 {
    /// Makes a sample of the `json` member.
    pub(super) fn read(
        &self,
        raw: RawSample,
        limits: &Limits,
    ) -> Result<PretrainingSample, SkipReason> {
        let json = raw.json.ok_or(SkipReason::Missing { extension: "json" })?;
        let fault = |reason: String| SkipReason::Json { reason };
        let page: Page = serde_json::from_slice(&json).map_err(|e| fault(e.to_string()))?;
        page.check().map_err(fault)?;
        let mut pictures = page.pictures().map_err(fault)?;
        let pairs = self.pairs(&page, &pictures).map_err(fault)?;
        let mut of_sentence = Vec::new();
        for (picture, sentence) in pairs {
            let (image, bytes) = &mut pictures[picture];
            limits.check_picture(bytes, &format!("image_info[{image}]"))?;
            of_sentence.push((sentence, std::mem::take(bytes)));
        }
        if of_sentence.is_empty() {
            return Err(SkipReason::NoPictureFits);
        }
        of_sentence.sort_unstable_by_key(|(sentence, _)| *sentence);
        let sentences: Vec<_> = of_sentence.iter().map(|(sentence, _)| *sentence).collect();
        Ok(PretrainingSample {
            shard: raw.shard,
            key: raw.key,
            parts: parts(&page.text_list, &sentences),
            pictures: of_sentence.into_iter().map(|(_, bytes)| bytes).collect(),
        })
    }

    /// The pictures that are kept, each with its sentence.
    fn pairs(
        &self,
        page: &Page,
        pictures: &[(usize, Vec<u8>)],
    ) -> Result<Vec<(usize, usize)>, String> {
        let (rows, columns) = (pictures.len(), page.text_list.len());
        let (few, many) = (rows.min(columns), rows.max(columns));
        if few.saturating_mul(few).saturating_mul(many) > MAX_WORK {
            return Err(format!(
                "{rows} pictures and {columns} sentences are too many to match"
            ));
        }
        let similarity: Vec<_> = pictures
            .iter()
            .map(|(image, _)| page.similarity_matrix[*image].clone())
            .collect();
        let mut pairs = assign(&similarity);
        pairs.retain(|&(picture, sentence)| similarity[picture][sentence] >= self.min_similarity);
        pairs.truncate(self.max_pictures);
        Ok(pairs)
    }
}

impl Page<'_> {
    /// Whether the matrix has a row a picture and a column a sentence.
    fn check(&self) -> Result<(), String> {
        let (images, sentences) = (self.image_info.len(), self.text_list.len());
        if self.similarity_matrix.len() != images {
            return Err(format!(
                "similarity_matrix has {} rows for {images} pictures",
                self.similarity_matrix.len()
            ));
        }
        match self
            .similarity_matrix
            .iter()
            .find(|row| row.len() != sentences)
        {
            Some(row) => Err(format!(
                "similarity_matrix has a row of {} for {sentences} sentences",
                row.len()
            )),
            None => Ok(()),
        }
    }

    /// The pictures that are large enough, each with its place in `image_info`.
    fn pictures(&self) -> Result<Vec<(usize, Vec<u8>)>, String> {
        let mut pictures = Vec::new();
        for (image, info) in self.image_info.iter().enumerate() {
            let Some(text) = info.image_base64.as_deref() else {
                continue;
            };
            let bytes = STANDARD.decode(text);
            let bytes = bytes.map_err(|error| format!("image_info[{image}]: {error}"))?;
            if bytes.len() >= MIN_BYTES {
                pictures.push((image, bytes));
            }
        }
        Ok(pictures)
    }
}

/// The text, a picture before each of the sentences named.
fn parts(text_list: &[Cow<str>], with_picture: &[usize]) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut text = String::new();
    let mut any = false;
    for (index, sentence) in text_list.iter().enumerate() {
        if with_picture.binary_search(&index).is_ok() {
            let before = text.trim_end();
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            text.clear();
            if any {
                parts.push(Part::EndOfChunk);
            }
            parts.push(Part::Picture);
            any = true;
            text.push_str(sentence.trim_start());
        } else {
            if index > 0 {
                text.push(' ');
            }
            text.push_str(sentence);
        }
    }
    if !text.is_empty() {
        parts.push(Part::Text(text));
    }
    parts.push(Part::EndOfChunk);
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MMC4: Mmc4 = Mmc4 {
        max_pictures: 2,
        min_similarity: 0.24,
    };

    fn read(json: &[u8]) -> Result<PretrainingSample, SkipReason> {
        let raw = RawSample {
            shard: std::path::Path::new("s.tar").into(),
            key: "k".to_owned(),
            pictures: Vec::new(),
            text: None,
            json: Some(json.to_vec()),
        };
        MMC4.read(raw, &Limits::default())
    }

    #[test]
    fn odd_pages_say_why() {
        for (json, why) in [
            ("[]", "unusable json"),
            (
                r#"{"text_list": [], "image_info": [], "similarity_matrix": []}"#,
                "no picture fits",
            ),
            (
                r#"{"text_list": ["a"], "image_info": [{}], "similarity_matrix": [[1.0]]}"#,
                "no picture fits",
            ),
            (
                r#"{"text_list": ["a"], "image_info": [{}], "similarity_matrix": []}"#,
                "unusable json",
            ),
            (
                r#"{"text_list": ["a"], "image_info": [{}], "similarity_matrix": [[1, 2]]}"#,
                "unusable json",
            ),
            (
                r#"{"text_list": ["a"], "image_info": [{"image_base64": "?"}], "similarity_matrix": [[1]]}"#,
                "unusable json",
            ),
        ] {
            assert_eq!(
                read(json.as_bytes()).map_err(|reason| reason.kind()),
                Err(why),
                "{json}"
            );
        }
        let zeros = STANDARD.encode([0; MIN_BYTES]);
        let page = format!(
            r#"{{"text_list": ["a"], "image_info": [{{"image_base64": "{zeros}"}}], "similarity_matrix": [[1]]}}"#
        );
        let reason = read(page.as_bytes()).expect_err("no picture");
        assert!(reason.to_string().contains("image_info[0]"), "{reason}");
    }

    #[test]
    fn marks_spelled_out_in_sentences_stay_text() {
        let sentences = ["<image>".into(), "<|endofchunk|>".into()];
        let text = |text: &str| Part::Text(text.to_owned());
        let expected = [
            text("<image>"),
            Part::Picture,
            text("<|endofchunk|>"),
            Part::EndOfChunk,
        ];
        assert_eq!(parts(&sentences, &[1]), expected);
    }

    proptest! {
        #[test]
        fn random_pages_never_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..100),
            texts in prop::collection::vec("[a ]{0,3}", 0..4),
            rows in prop::collection::vec(prop::collection::vec(-1.0..1.0, 0..4), 0..4),
            images in 0_usize..4,
        ) {
            let _ = read(&bytes);
            let info = serde_json::json!({"image_base64": STANDARD.encode([7; MIN_BYTES])});
            let page = serde_json::json!({
                "text_list": texts, "similarity_matrix": rows, "image_info": vec![info; images],
            });
            prop_assert!(read(page.to_string().as_bytes()).is_err());
        }

        #[test]
        fn every_picture_has_its_place(
            texts in prop::collection::vec("[a ]{0,3}", 1..9), with: [bool; 8],
        ) {
            let texts: Vec<Cow<str>> = texts.into_iter().map(Cow::Owned).collect();
            let with: Vec<_> = (0..texts.len().min(8)).filter(|&it| with[it]).collect();
            let parts = parts(&texts, &with);
            let count = |part: &Part| parts.iter().filter(|it| *it == part).count();
            prop_assert_eq!(count(&Part::Picture), with.len());
            prop_assert_eq!(count(&Part::EndOfChunk), with.len().max(1));
        }
    }
}
