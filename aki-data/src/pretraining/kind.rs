//! The kinds of pre-training data, and how each becomes a text.

use serde::{Deserialize, Serialize};

use super::mmc4::Mmc4;
use super::sample::PretrainingSample;
use super::{grounding, ocr, plain};
use crate::shards::{Limits, RawSample, SkipReason, Skipped};
use crate::text::Part;

/// Where the caption of a picture stands in its `txt` member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CaptionKind {
    /// The member is the caption.
    Txt,
    /// BLIP3-Kale: as `txt`.
    Blip3Kale,
    /// BLIP3-OCR-200M: the text of granularity 1 in its JSON.
    Blip3Ocr,
    /// BLIP3-Grounding-50M: item `[0][0]` of its Python list.
    Blip3Grounding,
    /// Conceptual Captions 3M: as `txt`.
    Cc3m,
    /// Conceptual 12M: as `txt`.
    Cc12m,
}

impl CaptionKind {
    /// Its name in a run file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Txt => "txt",
            Self::Blip3Kale => "blip3-kale",
            Self::Blip3Ocr => "blip3-ocr",
            Self::Blip3Grounding => "blip3-grounding",
            Self::Cc3m => "cc3m",
            Self::Cc12m => "cc12m",
        }
    }

    /// The caption in a `txt` member.
    ///
    /// # Errors
    /// Why there is none.
    pub fn caption(self, text: &str) -> Result<String, String> {
        match self {
            Self::Txt | Self::Blip3Kale | Self::Cc3m | Self::Cc12m => plain::caption(text),
            Self::Blip3Ocr => ocr::caption(text),
            Self::Blip3Grounding => grounding::caption(text),
        }
    }
}

/// What the samples of some shards are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PretrainingKind {
    /// A picture and its caption.
    Caption(CaptionKind),
    /// A web page with pictures.
    Mmc4(Mmc4),
}

impl PretrainingKind {
    /// Makes a sample of its members. Pictures are not decoded, but their headers must
    /// be sound and within `limits`.
    ///
    /// # Errors
    /// Why it is none.
    pub fn read(&self, raw: RawSample, limits: &Limits) -> Result<PretrainingSample, Skipped> {
        let (shard, key) = (raw.shard.clone(), raw.key.clone());
        let read = match self {
            Self::Caption(kind) => captioned(*kind, raw, limits),
            Self::Mmc4(mmc4) => mmc4.read(raw, limits),
        };
        read.map_err(|reason| Skipped {
            shard: shard.to_path_buf(),
            key,
            reason,
        })
    }
}

fn captioned(
    kind: CaptionKind,
    mut raw: RawSample,
    limits: &Limits,
) -> Result<PretrainingSample, SkipReason> {
    let picture = raw.take_picture()?;
    let text = raw.text.ok_or(SkipReason::Missing { extension: "txt" })?;
    let text = String::from_utf8(text).map_err(|_| SkipReason::Caption)?;
    let caption = kind.caption(&text);
    let caption = caption.map_err(|reason| SkipReason::Text { reason })?;
    limits.check_picture(&picture, &raw.key)?;
    Ok(PretrainingSample {
        shard: raw.shard,
        key: raw.key,
        pictures: vec![picture],
        parts: vec![Part::Picture, Part::Text(caption), Part::EndOfChunk],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shards::tests::tiny_png;

    #[test]
    fn what_is_missing_or_too_large_is_told_with_its_key() {
        let whole = RawSample {
            shard: std::path::Path::new("s.tar").into(),
            key: "k".to_owned(),
            pictures: vec![tiny_png()],
            text: Some(b"an <image> in text".to_vec()),
            json: None,
        };
        let kind = PretrainingKind::Caption(CaptionKind::Cc12m);
        let read = |change: &dyn Fn(&mut RawSample, &mut Limits)| {
            let (mut raw, mut limits) = (whole.clone(), Limits::default());
            change(&mut raw, &mut limits);
            kind.read(raw, &limits).map_err(|skipped| {
                assert_eq!(skipped.key, "k");
                skipped.reason.kind()
            })
        };
        let sample = read(&|_, _| ()).expect("a whole sample");
        assert_eq!(sample.parts[1], Part::Text("an <image> in text".to_owned()));
        assert_eq!(read(&|raw, _| raw.pictures.clear()), Err("no picture"));
        assert_eq!(
            read(&|raw, _| raw.pictures.push(tiny_png())),
            Err("member twice")
        );
        assert_eq!(read(&|raw, _| raw.text = None), Err("missing member"));
        assert_eq!(
            read(&|raw, _| raw.text = Some(vec![0xff])),
            Err("text not UTF-8")
        );
        assert_eq!(
            read(&|raw, _| raw.text = Some(vec![])),
            Err("unusable text")
        );
        assert_eq!(
            read(&|raw, _| raw.pictures = vec![b"GIF".to_vec()]),
            Err("broken picture")
        );
        assert_eq!(
            read(&|_, limits| limits.picture_pixels = 0),
            Err("too large")
        );
    }

    #[test]
    fn kinds_have_the_names_of_the_run_file() {
        for kind in [
            CaptionKind::Txt,
            CaptionKind::Blip3Kale,
            CaptionKind::Blip3Ocr,
            CaptionKind::Blip3Grounding,
            CaptionKind::Cc3m,
            CaptionKind::Cc12m,
        ] {
            let json = serde_json::to_string(&kind).expect("json");
            assert_eq!(json, format!("{:?}", kind.name()));
        }
    }
}
