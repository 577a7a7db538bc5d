//! A model folder: `config.json`, `model.safetensors` and `tokenizer.json`, all that is needed to
//! ask it something.

use std::path::Path;
use std::sync::Arc;

use aki_data::{Picture, Template, Tokenizer};
use aki_model::attention::{AttentionLayout, Document, Policy};
use aki_model::generate::Prompt;
use aki_model::{Aki, AkiConfig, MediaSpan, weights};
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::TrainError;
use crate::checkpoint;
use crate::config::RunConfig;
use crate::files::write_whole;

const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";
const TOKENIZER: &str = "tokenizer.json";

/// What `config.json` says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FolderConfig {
    /// The network's shape.
    pub model: AkiConfig,
    /// The system line of prompts.
    pub system: String,
    /// Who may look at whom in a prompt.
    pub attention: Policy,
    /// Taken from each pixel value, which lies in 0 to 1.
    pub norm_mean: f32,
    /// Then divided by.
    pub norm_std: f32,
}

/// A model that can be asked.
#[derive(Debug)]
pub struct ModelFolder {
    /// What `config.json` says.
    pub config: FolderConfig,
    /// The network.
    pub aki: Aki,
    /// The tokenizer.
    pub tokenizer: Arc<Tokenizer>,
}

impl ModelFolder {
    /// Reads a model folder, or the model of a run folder: the finished one, else the newest
    /// checkpoint's.
    ///
    /// # Errors
    ///
    /// [`TrainError`] if a file is absent or does not fit the others.
    pub fn load(path: &Path, device: &Device) -> Result<Self, TrainError> {
        let fault = |reason: String| TrainError::Model {
            path: path.to_owned(),
            reason,
        };
        let folder = if path.join(CONFIG).is_file() {
            path.to_owned()
        } else {
            path.join("model")
        };
        let file = folder.join(CONFIG);
        if !file.is_file() {
            return Err(fault(format!(
                "no model is here: neither {CONFIG} nor model/{CONFIG}"
            )));
        }
        let text = std::fs::read_to_string(&file).map_err(TrainError::io("read", &file))?;
        let config: FolderConfig =
            serde_json::from_str(&text).map_err(|error| TrainError::Model {
                path: file,
                reason: error.to_string(),
            })?;
        let tokenizer = Tokenizer::from_file(&folder.join(TOKENIZER))?;
        config
            .model
            .validate(tokenizer.base_vocab(), tokenizer.vocab())
            .map_err(fault)?;
        let mut aki = config.model.init(tokenizer.base_vocab(), device);
        let weights_file = folder.join(WEIGHTS);
        if weights_file.exists() {
            weights::load(&mut aki, &weights_file)?;
        } else {
            // A run that has not ended: its folder has no weights yet.
            let run = std::fs::read_to_string(path.join("config.toml")).unwrap_or_default();
            let Ok(run) = toml::from_str::<RunConfig>(&run) else {
                return Err(fault(format!("{WEIGHTS} is missing")));
            };
            let Some((_, newest)) = checkpoint::newest(path, &run.stage)? else {
                return Err(fault(
                    "this run has not come to its first checkpoint yet".to_owned(),
                ));
            };
            aki = newest.load_model(aki)?;
        }
        Ok(Self {
            config,
            aki,
            tokenizer: Arc::new(tokenizer),
        })
    }

    /// Writes `config.json` and `tokenizer.json`, so that a run's checkpoints can be used while it
    /// goes on.
    ///
    /// # Errors
    ///
    /// [`TrainError::Io`] if a file cannot be written.
    pub fn begin(folder: &Path, config: &FolderConfig, tokenizer: &Path) -> Result<(), TrainError> {
        std::fs::create_dir_all(folder).map_err(TrainError::io("create", folder))?;
        let bytes = std::fs::read(tokenizer).map_err(TrainError::io("read", tokenizer))?;
        write_file(&folder.join(TOKENIZER), &bytes)?;
        let text = serde_json::to_string_pretty(config).unwrap_or_default();
        write_file(&folder.join(CONFIG), text.as_bytes())
    }

    /// Writes the weights, which completes the folder.
    ///
    /// # Errors
    ///
    /// [`TrainError::Weights`] if they cannot be written.
    pub fn finish(folder: &Path, aki: &Aki) -> Result<(), TrainError> {
        Ok(weights::save(aki, &folder.join(WEIGHTS))?)
    }

    /// A question about a picture, or without one, ready for [`aki_model::generate::generate`].
    ///
    /// # Errors
    ///
    /// [`TrainError::Data`] if the text cannot be encoded.
    pub fn prompt(&self, question: &str, picture: Option<&Picture>) -> Result<Prompt, TrainError> {
        let FolderConfig {
            model,
            system,
            attention,
            norm_mean,
            norm_std,
        } = &self.config;
        let media_len = picture.is_some().then_some(model.resampler.num_latents);
        let template = Template {
            system: system.clone(),
        };
        let sequence = template.prompt(&self.tokenizer, question, media_len)?;
        let device = burn::module::Module::devices(&self.aki).swap_remove(0);
        let pixels = picture.map(|picture| {
            let side = model.vision.image_size;
            let values = picture
                .resize(side as u32, side as u32)
                .normalised_chw(*norm_mean, *norm_std);
            Tensor::from_data(TensorData::new(values, [1, 3, side, side]), &device)
        });
        let document = Document {
            tokens: 0..sequence.input_ids.len(),
            media: sequence.media.clone(),
            question_end: sequence.question_end,
        };
        let layout =
            AttentionLayout::from_spans(*attention, sequence.input_ids.len(), &[vec![document]])
                .map_err(|error| TrainError::Learner(error.to_string()))?;
        let spans = sequence
            .media
            .into_iter()
            .map(|tokens| MediaSpan {
                row: 0,
                tokens,
                picture: 0,
            })
            .collect();
        Ok(Prompt {
            input_ids: sequence.input_ids,
            pixels,
            spans,
            layout,
        })
    }
}

/// Writes a whole file, naming it if that fails.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), TrainError> {
    write_whole(path, bytes).map_err(TrainError::io("write", path))
}
