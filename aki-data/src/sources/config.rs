//! A source as it stands in a run file.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize};

use crate::pretraining::CaptionKind;

/// One `[[data.source]]` of a run file. Which keys it must and may have depends on its kind:
///
/// | kind | keys |
/// |---|---|
/// | `webdataset` | `shards`; `caption`, or without it conversations in `json` members |
/// | `mmc4` | `shards`, `max_pictures`, `min_similarity` |
/// | `vqa` | `questions`, `annotations`, `images` |
/// | `vg` | `annotations`, `image_data`, `images` |
/// | `gqa` `vsr` `ocrvqa` `aokvqa` `scienceqa` `refcoco` `llava` `jsonl` | `annotations`, `images` |
///
/// and any of them `name`, `weight` and `valid`; those with shards `resample`, `buffer` too. With
/// `valid = true` nothing is drawn, so `weight`, `resample` and `buffer` are refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
    /// What the source is called; without one, as its `caption` or else its `kind`.
    pub name: Option<String>,
    /// What it is made of.
    pub kind: SourceKind,
    /// Tar files: names, globs, braces, addresses, `-`.
    #[serde(
        default,
        deserialize_with = "one_or_many",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub shards: Vec<String>,
    /// Where the caption stands in the shards' `txt` members.
    pub caption: Option<CaptionKind>,
    /// Pictures of a web page at most.
    pub max_pictures: Option<usize>,
    /// The least similarity of a picture and its sentence.
    pub min_similarity: Option<f64>,
    /// Whether shards are drawn with replacement. Without it each comes once in a pass.
    pub resample: Option<bool>,
    /// Samples that a sample is drawn from: 5,000 if left out, and 1,000 of `mmc4`, of which 5,000
    /// pages of some 0.7 MB would be 3.5 GB of memory. It is filled to a fifth first.
    pub buffer: Option<usize>,
    /// The questions, where they have a file of their own.
    pub questions: Option<PathBuf>,
    /// The annotations.
    pub annotations: Option<PathBuf>,
    /// Sizes of the pictures.
    pub image_data: Option<PathBuf>,
    /// The folder of the pictures.
    pub images: Option<PathBuf>,
    /// How often it is drawn, in proportion to the others' weights: 1 if left out.
    pub weight: Option<f64>,
    /// Whether it is only measured on, and never trained on.
    pub valid: Option<bool>,
}

/// The kinds of sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceKind {
    /// Tar shards with pictures, and captions or conversations.
    WebDataset,
    /// Tar shards with web pages.
    Mmc4,
    /// `VQAv2`.
    Vqa,
    /// GQA.
    Gqa,
    /// Visual Spatial Reasoning.
    Vsr,
    /// OCR-VQA.
    OcrVqa,
    /// A-OKVQA.
    AokVqa,
    /// `ScienceQA`.
    ScienceQa,
    /// `RefCOCO`, `RefCOCO+` or `RefCOCOg`, as MDETR has them.
    RefCoco,
    /// Visual Genome's regions.
    Vg,
    /// `LLaVA`'s 150k conversations, each pair a text of its own.
    Llava,
    /// Conversations of one's own.
    Jsonl,
}

impl SourceConfig {
    /// A source of a kind, without anything else.
    pub fn new(kind: SourceKind) -> Self {
        Self {
            name: None,
            kind,
            shards: Vec::new(),
            caption: None,
            max_pictures: None,
            min_similarity: None,
            resample: None,
            buffer: None,
            questions: None,
            annotations: None,
            image_data: None,
            images: None,
            weight: None,
            valid: None,
        }
    }

    /// What it is called.
    pub fn name(&self) -> String {
        let by_kind = || match self.caption {
            Some(caption) => caption.name(),
            None => self.kind.name(),
        };
        self.name.clone().unwrap_or_else(|| by_kind().to_owned())
    }

    /// How often it is drawn.
    pub fn weight(&self) -> f64 {
        self.weight.unwrap_or(1.0)
    }

    /// Samples that a sample is drawn from.
    pub fn buffer(&self) -> usize {
        self.buffer.unwrap_or(match self.kind {
            SourceKind::Mmc4 => 1_000,
            _ => 5_000,
        })
    }

    /// Writes out what it is if it is left out, so that a run file that is kept says all, whatever
    /// the defaults of a later version are.
    pub fn complete(&mut self) {
        if self.is_valid() {
            return;
        }
        self.weight = Some(self.weight());
        if SourceKind::OF_SHARDS.contains(&self.kind) {
            self.resample.get_or_insert(false);
            self.buffer = Some(self.buffer());
        }
    }

    /// Whether it is measured on only.
    pub fn is_valid(&self) -> bool {
        self.valid.unwrap_or(false)
    }

    /// Whether it is for pre-training: captions and web pages, and no questions.
    pub fn is_pretraining(&self) -> bool {
        self.kind == SourceKind::Mmc4 || self.caption.is_some()
    }

    /// Whether its pictures are there to be read (`ScienceQA`'s maps and diagrams too), so that
    /// none may be mirrored or cut.
    pub fn is_ocr(&self) -> bool {
        matches!(self.kind, SourceKind::OcrVqa | SourceKind::ScienceQa)
            || self.caption == Some(CaptionKind::Blip3Ocr)
    }

    /// The files and folders it names; of shards those that are no addresses.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        let local = |shards: &&String| !shards.contains("://");
        let shards = self.shards.iter().filter(local).map(Path::new);
        let files = [
            &self.questions,
            &self.annotations,
            &self.image_data,
            &self.images,
        ];
        shards.chain(files.into_iter().flatten().map(PathBuf::as_path))
    }

    /// Makes relative paths relative to `folder`; addresses and `-` stay.
    pub fn resolve(&mut self, folder: impl Fn(&Path) -> PathBuf) {
        for shards in &mut self.shards {
            if shards != "-" && !shards.contains("://") {
                *shards = folder(Path::new(&shards)).display().to_string();
            }
        }
        let files = [
            &mut self.questions,
            &mut self.annotations,
            &mut self.image_data,
            &mut self.images,
        ];
        for file in files.into_iter().flatten() {
            *file = folder(file);
        }
    }
}

impl SourceKind {
    /// Those of tar shards.
    pub(super) const OF_SHARDS: [Self; 2] = [Self::WebDataset, Self::Mmc4];

    /// Those of annotation files and picture folders.
    pub(super) const OF_FILES: [Self; 10] = [
        Self::Vqa,
        Self::Gqa,
        Self::Vsr,
        Self::OcrVqa,
        Self::AokVqa,
        Self::ScienceQa,
        Self::RefCoco,
        Self::Vg,
        Self::Llava,
        Self::Jsonl,
    ];

    /// Its name in a run file.
    pub fn name(self) -> &'static str {
        match self {
            Self::WebDataset => "webdataset",
            Self::Mmc4 => "mmc4",
            Self::Vqa => "vqa",
            Self::Gqa => "gqa",
            Self::Vsr => "vsr",
            Self::OcrVqa => "ocrvqa",
            Self::AokVqa => "aokvqa",
            Self::ScienceQa => "scienceqa",
            Self::RefCoco => "refcoco",
            Self::Vg => "vg",
            Self::Llava => "llava",
            Self::Jsonl => "jsonl",
        }
    }
}

/// `shards = "a.tar"` or `shards = ["a.tar", "b.tar"]`.
fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a name or a list of names")]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(name) => vec![name],
        OneOrMany::Many(names) => names,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_the_names_of_the_run_file() {
        for kind in SourceKind::OF_FILES
            .into_iter()
            .chain(SourceKind::OF_SHARDS)
        {
            let json = serde_json::to_string(&kind).expect("json");
            assert_eq!(json, format!("{:?}", kind.name()));
        }
    }

    #[test]
    fn a_complete_source_says_what_it_would_be_anyway() {
        let of = |kind, valid| {
            let mut source = SourceConfig {
                valid,
                ..SourceConfig::new(kind)
            };
            source.complete();
            let once = source.clone();
            source.complete();
            assert_eq!(source, once);
            assert_eq!(source.valid, valid);
            (source.weight, source.resample, source.buffer)
        };
        let shards = |buffer| (Some(1.0), Some(false), Some(buffer));
        assert_eq!(of(SourceKind::WebDataset, None), shards(5_000));
        assert_eq!(of(SourceKind::Mmc4, Some(false)), shards(1_000));
        assert_eq!(of(SourceKind::Vqa, None), (Some(1.0), None, None));
        assert_eq!(of(SourceKind::Mmc4, Some(true)), (None, None, None));
        let mut source = SourceConfig {
            weight: Some(0.5),
            resample: Some(true),
            buffer: Some(7),
            ..SourceConfig::new(SourceKind::WebDataset)
        };
        let whole = source.clone();
        source.complete();
        assert_eq!(source, whole);
    }

    #[test]
    fn addresses_stay_and_paths_are_resolved() {
        let mut source = SourceConfig {
            shards: ["a.tar", "s3://bucket/{0..9}.tar", "-"]
                .map(str::to_owned)
                .to_vec(),
            ..SourceConfig::new(SourceKind::WebDataset)
        };
        source.resolve(|path| Path::new("/data").join(path));
        assert_eq!(
            source.shards,
            ["/data/a.tar", "s3://bucket/{0..9}.tar", "-"]
        );
    }
}
