//! What training would see of some samples: ids, labels, losses and gradients, for people who debug a
//! fine-tune.

use std::io::BufRead;
use std::path::{Path, PathBuf};

use aki_data::{Batch, Document, Picture, Sequence};
use aki_model::Aki;
use aki_model::weights::gradient_norms;
use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::TrainError;
use crate::data::PolicyBatch;
use crate::folder::ModelFolder;
use crate::score::try_score;

/// A line of a samples file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    /// A picture file, relative to the samples file or to the working folder.
    #[serde(default)]
    image: Option<PathBuf>,
    text: Option<String>,
    prompt: Option<String>,
    answer: Option<String>,
    caption: Option<String>,
}

/// A sample as training takes it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Probed {
    /// Token ids, `<image>` once for each of the picture's tokens.
    pub input_ids: Vec<u32>,
    /// The token to predict at each place, or -100.
    pub labels: Vec<i64>,
    /// Mean cross entropy of its labels, the first token's left out; none without labels.
    pub loss: Option<f64>,
}

/// What a batch of samples gives.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Probe {
    /// Each sample.
    pub samples: Vec<Probed>,
    /// Mean cross entropy of all labels of the batch.
    pub loss: f64,
    /// The L2 norm of that loss's gradient for each parameter, under its checkpoint name; null for a
    /// parameter that is not trained. Only if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grad_norms: Option<serde_json::Map<String, serde_json::Value>>,
}

/// A sample file's lines, with their pictures.
#[derive(Debug)]
pub struct Samples {
    sequences: Vec<Sequence>,
    pictures: Vec<Option<Picture>>,
}

impl Samples {
    /// Reads a file of JSON lines: `{"image": path or null, "text": full training text}`, `{"image":..,
    /// "prompt":.., "answer":..}` or `{"image":.., "caption":..}`.
    ///
    /// # Errors
    ///
    /// [`TrainError::Model`] with the line at fault, or [`TrainError::Data`] for a picture.
    pub fn read(path: &Path, model: &ModelFolder) -> Result<Self, TrainError> {
        let file = std::fs::File::open(path).map_err(TrainError::io("read", path))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let (mut sequences, mut pictures) = (Vec::new(), Vec::new());
        for (number, line) in (1..).zip(std::io::BufReader::new(file).lines()) {
            let line = line.map_err(TrainError::io("read", path))?;
            if line.trim().is_empty() {
                continue;
            }
            let fault = |reason: String| TrainError::Model {
                path: path.to_owned(),
                reason: format!("line {number}: {reason}"),
            };
            let line: Line =
                serde_json::from_str(&line).map_err(|error| fault(error.to_string()))?;
            let sequence = sequence(&line, model, fault)?;
            let picture = line.image.as_deref().map(|image| {
                // Beside the samples file, as data sets have it; else from the working folder.
                let beside = folder.join(image);
                model.open_picture(if beside.is_file() { &beside } else { image })
            });
            let picture = picture.transpose()?;
            if sequence.media.len() != usize::from(picture.is_some()) {
                return Err(fault(format!(
                    "the text has {} <image> and {} picture is named",
                    sequence.media.len(),
                    if picture.is_some() { "one" } else { "no" }
                )));
            }
            model.check_length(&format!("line {number}"), sequence.input_ids.len())?;
            sequences.push(sequence);
            pictures.push(picture);
        }
        if sequences.is_empty() {
            return Err(TrainError::Model {
                path: path.to_owned(),
                reason: "there are no samples in this file".to_owned(),
            });
        }
        Ok(Self {
            sequences,
            pictures,
        })
    }
}

fn sequence(
    line: &Line,
    model: &ModelFolder,
    fault: impl Fn(String) -> TrainError,
) -> Result<Sequence, TrainError> {
    let (tokenizer, media_len) = (&model.tokenizer, model.config.model.media_len());
    let template = model.template();
    Ok(
        match (&line.text, &line.prompt, &line.answer, &line.caption) {
            (Some(text), None, None, None) => {
                Sequence::from_training_text(tokenizer, text, media_len)?
            }
            (None, Some(prompt), Some(answer), None) => {
                let media_len = line.image.is_some().then_some(media_len);
                template.training(tokenizer, prompt, answer, media_len)?
            }
            (None, None, None, Some(caption)) => template.caption(tokenizer, caption, media_len)?,
            _ => {
                return Err(fault(
                    "a sample has either text, or prompt and answer, or caption".to_owned(),
                ));
            }
        },
    )
}

/// Sends all samples through the network as one batch, padded on the right.
///
/// With `gradients`, the network must be on a device with autodiff; its vision tower is frozen, as in
/// training from a published checkpoint.
///
/// # Errors
///
/// [`TrainError::Request`] if the samples have no labels at all.
pub fn probe(model: ModelFolder, samples: &Samples, gradients: bool) -> Result<Probe, TrainError> {
    let mut shown = Vec::new();
    let sequences = samples.sequences.iter().zip(&samples.pictures);
    let documents = sequences.enumerate().map(|(row, (sequence, picture))| {
        let document = Document::of(sequence, row, 0, shown.len());
        shown.extend(picture);
        document
    });
    let input = PolicyBatch {
        batch: Batch::new(
            documents.collect(),
            &samples.sequences,
            0,
            model.pixel_values(&shown),
            model.config.model.vision.image_size,
            model.tokenizer.special().pad,
        ),
        policy: model.config.attention,
        behind: None,
        loss_scale: 1.0,
        labels_of_all: None,
    };
    if input.labels() == 0 {
        return Err(TrainError::Request(
            "no token of these samples has a label".to_owned(),
        ));
    }
    let aki = if gradients {
        model.aki.train().freeze_vision()
    } else {
        model.aki
    };
    let scores = try_score(&aki, &input, 1.0);
    let scores = scores.map_err(|error| TrainError::Request(error.to_string()))?;

    let losses: Vec<f64> = scores.tokens.losses.into_data().iter::<f64>().collect();
    let mut left = losses.as_slice();
    let probed = samples.sequences.iter().zip(scores.document_labels);
    let probed = probed.map(|(sequence, count)| {
        let (own, rest) = left.split_at(count);
        left = rest;
        Probed {
            input_ids: sequence.input_ids.clone(),
            labels: sequence.labels.clone(),
            loss: (count > 0).then(|| own.iter().sum::<f64>() / count as f64),
        }
    });
    let samples = probed.collect();
    let count = losses.len() as f64;
    Ok(Probe {
        samples,
        loss: losses.iter().sum::<f64>() / count,
        grad_norms: gradients.then(|| norms(&aki, scores.tokens.total.div_scalar(count))),
    })
}

fn norms(aki: &Aki, loss: Tensor<1>) -> serde_json::Map<String, serde_json::Value> {
    let gradients = loss.backward();
    let norms = gradient_norms(aki, &aki.projections(), "", &gradients);
    norms
        .into_iter()
        .map(|(name, norm)| (name, norm.into()))
        .collect()
}
