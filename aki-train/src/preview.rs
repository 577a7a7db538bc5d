//! Samples as training takes them, to be looked at.

use std::ops::Range;
use std::sync::Arc;

use aki_data::mixture::{Examined, Preparer};
use aki_data::shards::Skipped;
use aki_data::sources::{Encoded, Example};
use aki_data::{DataError, IGNORE, Picture, Sequence, Tokenizer};
use serde::{Serialize, Serializer};

use crate::TrainError;
use crate::config::{RunConfig, StageConfig};
use crate::data::Norm;

/// A sample to look at. As JSON it has the keys `source`, `key`, `image`, `text`, `input_ids` and
/// `labels`.
#[derive(Clone, Debug, Serialize)]
pub struct Shown {
    /// Its source.
    pub source: String,
    /// Its key there.
    pub key: String,
    /// Where its pictures are: files, or `SHARD/KEY`. As JSON null, one, or a list.
    #[serde(rename = "image", serialize_with = "none_one_or_many")]
    pub images: Vec<String>,
    /// The whole text, special tokens spelled out, a picture's as one `<image>`.
    pub text: String,
    /// Token ids, `<image>` once for each of a picture's places.
    pub input_ids: Vec<u32>,
    /// The token to predict at each place, or -100.
    pub labels: Vec<i64>,
    /// The text in parts.
    #[serde(skip)]
    pub spans: Vec<Span>,
    /// The pictures, of their own size.
    #[serde(skip)]
    pub pictures: Vec<Picture>,
    /// Tokens that were cut off.
    #[serde(skip)]
    pub cut: usize,
}

/// A part of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Span {
    /// The place of a picture.
    Picture,
    /// Text that is given.
    Given(String),
    /// Text that is learned.
    Learned(String),
}

impl RunConfig {
    /// What [`show`] needs for a stage. It shows no pixel's value, so the tower's norm is no matter.
    ///
    /// # Errors
    ///
    /// As [`TextConfig::open_tokenizer`](crate::config::TextConfig::open_tokenizer).
    pub fn looking(&self, stage: &StageConfig) -> Result<Preparer, TrainError> {
        Ok(self.preparer(
            stage,
            Arc::new(self.text.open_tokenizer()?),
            Norm::default(),
        ))
    }
}

/// What a stage sees of an example, without augmentation.
///
/// # Errors
///
/// Why the sample cannot be used, in the inner result; [`DataError`] if the tokenizer cannot be used.
pub fn show(
    preparer: &Preparer,
    source: &str,
    example: &Example,
) -> Result<Result<Shown, Skipped>, DataError> {
    let examined = preparer.examine(example, |bytes, key| preparer.decode(bytes, key))?;
    let Examined {
        sequence,
        cut,
        pictures,
    } = match examined {
        Ok(examined) => examined,
        Err(skipped) => return Ok(Err(skipped)),
    };
    let image = |picture: &Encoded| match picture {
        Encoded::File(path) => path.display().to_string(),
        Encoded::Bytes(_) => format!("{}/{}", example.origin.display(), example.key),
    };
    let images = example.pictures.iter().take(pictures.len()).map(image);
    Ok(Ok(Shown {
        source: source.to_owned(),
        key: example.key.clone(),
        images: images.collect(),
        text: preparer.tokenizer.decode_marked(&text_ids(&sequence))?,
        spans: spans(&preparer.tokenizer, &sequence)?,
        input_ids: sequence.input_ids,
        labels: sequence.labels,
        pictures,
        cut,
    }))
}

/// The ids with one `<image>` a picture.
fn text_ids(sequence: &Sequence) -> Vec<u32> {
    let shown = |&(place, _): &(usize, &u32)| {
        let in_picture = |range: &Range<usize>| place > range.start && place < range.end;
        !sequence.media.iter().any(in_picture)
    };
    let ids = sequence.input_ids.iter().enumerate().filter(shown);
    ids.map(|(_, &id)| id).collect()
}

/// Cuts a text where pictures stand, and where learning begins and ends.
///
/// Each part is what its ids add to the text before: by itself, a tokenizer may leave out its blank.
fn spans(tokenizer: &Tokenizer, sequence: &Sequence) -> Result<Vec<Span>, DataError> {
    let (mut spans, mut ids, mut before) = (Vec::new(), Vec::new(), String::new());
    // Nothing comes before the first token that it could be predicted from.
    let learns = |at: usize| at > 0 && sequence.labels[at] != IGNORE;
    let (mut place, mut media) = (0, sequence.media.iter().peekable());
    while place < sequence.labels.len() {
        if let Some(range) = media.next_if(|range| range.start == place) {
            ids.push(sequence.input_ids[place]);
            before = tokenizer.decode_marked(&ids)?;
            spans.push(Span::Picture);
            place = range.end.max(place + 1);
            continue;
        }
        let learned = learns(place);
        let next = media
            .peek()
            .map_or(sequence.labels.len(), |range| range.start);
        let same = (place..next).take_while(|&at| learns(at) == learned);
        let end = place + same.count();
        ids.extend(&sequence.input_ids[place..end]);
        let text = tokenizer.decode_marked(&ids)?;
        let added = text.strip_prefix(&before).unwrap_or_default().to_owned();
        spans.push(match learned {
            true => Span::Learned(added),
            false => Span::Given(added),
        });
        (before, place) = (text, end);
    }
    Ok(spans)
}

fn none_one_or_many<S: Serializer>(images: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    match images {
        [] => serializer.serialize_none(),
        [image] => serializer.serialize_str(image),
        several => serializer.collect_seq(several),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use aki_data::sources::Text;
    use aki_data::text::Part;

    use super::*;

    #[test]
    fn a_page_is_cut_at_its_pictures() {
        let text = include_str!("../../assets/configs/easy-vqa.toml");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("run.toml");
        let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/easy-vqa");
        let text = text.replace("../easy-vqa", assets.to_str().unwrap());
        std::fs::write(&file, text).unwrap();
        let config = RunConfig::load(&file, &[]).unwrap();
        let preparer = config.looking(&config.stage[0]).unwrap();
        let picture = || Encoded::Bytes(TINY_PNG.to_vec());
        let example = Example {
            origin: Path::new("a.tar").into(),
            key: "k".to_owned(),
            pictures: vec![picture(), picture()],
            text: Text::Parts(vec![
                Part::Text("a blue".to_owned()),
                Part::Picture,
                Part::Text("circle".to_owned()),
                Part::EndOfChunk,
                Part::Picture,
            ]),
        };
        let shown = show(&preparer, "pages", &example).unwrap().unwrap();
        assert_eq!(shown.images, ["a.tar/k", "a.tar/k"]);
        let learned = |text: &str| Span::Learned(text.to_owned());
        let spans = [
            Span::Given("<s>".to_owned()),
            learned(" a blue"),
            Span::Picture,
            learned(" circle<|endofchunk|>"),
            Span::Picture,
            learned("<|endoftext|>"),
        ];
        assert_eq!(shown.spans, spans);
        let text = "<s> a blue<image> circle<|endofchunk|><image><|endoftext|>";
        assert_eq!(shown.text, text);
        let json = serde_json::to_value(&shown).unwrap();
        let keys: Vec<_> = json.as_object().unwrap().keys().cloned().collect();
        let expected = ["source", "key", "image", "text", "input_ids", "labels"];
        assert_eq!(keys, expected);
        assert_eq!(json["image"][1], "a.tar/k");
    }

    /// A PNG of one pixel.
    const TINY_PNG: &[u8] =
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x02\0\0\0\x90wS\xde\
        \0\0\0\x0cIDATx\x9cc`db\x06\0\0\x0e\0\x07\xd7o\xe4x\0\0\0\0IEND\xaeB`\x82";
}
