//! The sources of these tests.

use std::path::Path;
use std::sync::Arc;

use aki_data::mixture::{
    BatchConfig, BatchState, BatchStream, Made, Mixture, MixtureConfig, Preparer,
};
use aki_data::pretraining::CaptionKind;
use aki_data::shards::RemoteConfig;
use aki_data::sources::{Source, SourceConfig, SourceKind};
use aki_data::{DataError, Template, Tokenizer};

pub const SIDE: usize = 4;
pub const MEDIA: usize = 3;
const CHOICES: usize = 6;

/// Two record sources of 7 and 5 questions, one of [`CHOICES`] with options, and 3 shards of 6
/// captions; `broken` pictures of the first are missing.
pub struct Files {
    pub folder: tempfile::TempDir,
}

impl Files {
    pub fn new(broken: usize) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let path = |name: &str| folder.path().join(name);
        for (name, questions) in [("seven", 7), ("five", 5)] {
            let lines: Vec<_> = (0..questions).map(|n| line(name, n)).collect();
            std::fs::write(path(&format!("{name}.jsonl")), lines.join("\n")).expect("writing");
            for n in 0..questions {
                if name == "five" || n >= broken {
                    std::fs::write(path(&format!("{name}{n}.png")), png()).expect("writing");
                }
            }
        }
        for shard in 0..3 {
            let file = std::fs::File::create(path(&format!("{shard}.tar"))).expect("shard");
            let mut tar = tar::Builder::new(file);
            for n in 0..6 {
                let key = shard * 6 + n;
                append(&mut tar, &format!("{key}.png"), &png());
                let caption = "a blue circle ".repeat(1 + n);
                append(&mut tar, &format!("{key}.txt"), caption.as_bytes());
            }
            tar.finish().expect("shard");
        }
        let choices: Vec<_> = (0..CHOICES).map(choice).collect();
        let choices = format!("[{}]", choices.join(","));
        std::fs::write(path("choices.json"), choices).expect("writing");
        for n in 0..CHOICES {
            std::fs::write(path(&format!("{n:012}.jpg")), png()).expect("writing");
        }
        Self { folder }
    }

    pub fn config(&self, name: &str) -> SourceConfig {
        let path = |name: &str| self.folder.path().join(name);
        let mut config = match name {
            "shards" => SourceConfig {
                shards: vec![path("{0..2}.tar").display().to_string()],
                caption: Some(CaptionKind::Txt),
                buffer: Some(4),
                ..SourceConfig::new(SourceKind::WebDataset)
            },
            "choices" => SourceConfig {
                annotations: Some(path("choices.json")),
                images: Some(path("")),
                ..SourceConfig::new(SourceKind::AokVqa)
            },
            _ => SourceConfig {
                annotations: Some(path(&format!("{name}.jsonl"))),
                images: Some(path("")),
                ..SourceConfig::new(SourceKind::Jsonl)
            },
        };
        config.name = Some(name.to_owned());
        config
    }

    pub fn sources(&self, weights: &[(&str, f64)]) -> Arc<[Source]> {
        let open = |(name, weight): &(&str, f64)| {
            let mut config = self.config(name);
            config.weight = Some(*weight);
            config.open(&RemoteConfig::default()).expect("source")
        };
        weights.iter().map(open).collect()
    }

    pub fn all(&self) -> Arc<[Source]> {
        self.sources(&[("seven", 0.5), ("five", 0.25), ("shards", 0.25)])
    }
}

pub fn line(name: &str, n: usize) -> String {
    let question = "is there a circle ".repeat(1 + n % 4);
    format!(
        r#"{{"id": "{name}{n}", "image": "{name}{n}.png", "conversations": [{{"from": "human", "value": "{question}?"}}, {{"from": "gpt", "value": "no"}}]}}"#
    )
}

/// A question of A-OKVQA with four options.
fn choice(n: usize) -> String {
    format!(
        r#"{{"question_id": "c{n}", "image_id": {n}, "question": "which shape is it?",
            "choices": ["circle", "rectangle", "triangle", "no"], "correct_choice_idx": {}}}"#,
        n % 4
    )
}

/// A picture that is another one when it is flipped or cropped.
pub fn png() -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let colour = |x: u32, y: u32| image::Rgb([40 * x as u8, 40 * y as u8, 200]);
    let picture = image::RgbImage::from_fn(6, 6, colour);
    picture
        .write_to(&mut bytes, image::ImageFormat::Png)
        .expect("png");
    bytes.into_inner()
}

pub fn append<W: std::io::Write>(tar: &mut tar::Builder<W>, name: &str, bytes: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    tar.append_data(&mut header, name, bytes).expect("member");
}

pub fn tokenizer() -> Arc<Tokenizer> {
    let file = Path::new("../assets/easy-vqa/tokenizer.json");
    Arc::new(Tokenizer::from_file(file).expect("tokenizer"))
}

pub fn preparer(max_text_len: Option<usize>) -> Preparer {
    Preparer {
        tokenizer: tokenizer(),
        template: Template {
            system: "Answer the question about the picture.".to_owned(),
            ..Template::default()
        },
        media_len: MEDIA,
        max_text_len,
        packing: None,
        image_size: SIDE,
        exif_orientation: false,
        mean: [0.5; 3],
        std: [0.5; 3],
        augmentation: None,
        seed: 3,
        timings: Arc::default(),
    }
}

pub fn batching(batch: usize, packing: Option<usize>, workers: usize) -> BatchConfig {
    BatchConfig {
        batch,
        packing,
        workers,
        max_bad_share: 0.5,
    }
}

pub fn stream(
    sources: &Arc<[Source]>,
    config: BatchConfig,
    state: Option<&BatchState>,
) -> BatchStream {
    let order = MixtureConfig::new(3);
    stream_of(sources, order, preparer(None), config, state).expect("stream")
}

pub fn stream_of(
    sources: &Arc<[Source]>,
    order: MixtureConfig,
    preparer: Preparer,
    config: BatchConfig,
    state: Option<&BatchState>,
) -> Result<BatchStream, DataError> {
    let mixture = Mixture::new(sources.clone(), order, state.map(|state| &state.mixture))?;
    BatchStream::new(mixture, state, preparer, config, |_, _| ())
}

pub fn made(stream: BatchStream, batches: usize) -> Vec<Made> {
    stream
        .take(batches)
        .map(|made| made.expect("batch"))
        .collect()
}

pub fn keys(made: &[Made]) -> Vec<String> {
    let documents = made.iter().flat_map(|made| &made.batch.documents);
    documents
        .map(|document| format!("{}/{}", document.kind, document.key))
        .collect()
}
