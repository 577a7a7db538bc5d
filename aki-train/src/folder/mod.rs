//! A model folder: `config.json`, weights and tokenizer, all that is needed to ask it something.

mod config;
mod prompt;
mod view;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aki_data::{Batcher, ChatTemplate, DataError, Picture, Sample, Target, Template, Tokenizer};
use aki_model::weights::Checkpoint as Weights;
use aki_model::{Aki, weights};
use burn::tensor::{DType, Device};
use serde::Serialize;

pub use config::FolderConfig;
pub(crate) use config::{LANGUAGE, VISION};
pub use view::{Part, View, Word};

use crate::TrainError;
use crate::checkpoint::{self, Checkpoint};
use crate::config::RunConfig;
use crate::data::{Loader, Samples};
use crate::files::{sync_folder_of, write_whole};

const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";

/// A model that can be asked.
#[derive(Debug)]
pub struct ModelFolder {
    /// What `config.json` says.
    pub config: FolderConfig,
    /// The network.
    pub aki: Aki,
    /// The tokenizer.
    pub tokenizer: Arc<Tokenizer>,
    /// The template that conversations are written by; none is AKI's own texts.
    pub chat_template: Option<ChatTemplate>,
}

impl ModelFolder {
    /// Reads a model folder, the model of a run folder (the finished one, else the newest
    /// checkpoint's), or that of a checkpoint. The numbers get `dtype`, or keep that of the file where the device computes in it.
    ///
    /// Conversations are written by AKI's own texts, or, where the tokenizer has not their tags, by the
    /// folder's chat template.
    ///
    /// # Errors
    ///
    /// [`TrainError`] if a file is absent or does not fit the others, or the device does not compute in
    /// `dtype`.
    pub fn load(path: &Path, dtype: Option<DType>, device: &Device) -> Result<Self, TrainError> {
        let fault = |reason: String| TrainError::Model {
            path: path.to_owned(),
            reason,
        };
        let folder = find(path)?;
        let config = FolderConfig::read(&folder)?;
        let tokenizer = Tokenizer::open(&folder)?;
        if tokenizer.base_vocab() != config.base_vocab {
            return Err(fault(format!(
                "initial_tokenizer_len is {} in {CONFIG}, and the tokenizer's <image> has the id {}",
                config.base_vocab,
                tokenizer.base_vocab()
            )));
        }
        config
            .model
            .validate(tokenizer.base_vocab(), tokenizer.vocab())
            .map_err(fault)?;
        let mut aki = config.undrawn(device);
        match Stored::find(path)? {
            Stored::Folder(folder) => {
                let weights = config.open_weights(&folder)?;
                let dtype = numbers(&weights, dtype, device)?;
                aki = weights::load(aki, &weights, dtype)?;
            }
            Stored::Checkpoint(checkpoint) => aki = checkpoint.load_model(aki)?,
        }
        let chat_template = match tokenizer.special().roles {
            Some(_) => None,
            None => ChatTemplate::of(&tokenizer)?,
        };
        Ok(Self {
            config,
            aki,
            tokenizer: Arc::new(tokenizer),
            chat_template,
        })
    }

    /// Has conversations written by the folder's own chat template.
    ///
    /// # Errors
    ///
    /// [`TrainError`] if it has none, or a wrong one.
    pub fn use_chat_template(&mut self) -> Result<(), TrainError> {
        let template = ChatTemplate::of(&self.tokenizer)?;
        let missing = || TrainError::Request("the model folder has no chat template".to_owned());
        self.chat_template = Some(template.ok_or_else(missing)?);
        Ok(())
    }

    /// Writes the configuration and the tokenizer, so that a run's checkpoints can be used while it
    /// goes on.
    ///
    /// # Errors
    ///
    /// [`TrainError::Io`] if a file cannot be written.
    pub fn begin(
        folder: &Path,
        config: &FolderConfig,
        tokenizer: &Tokenizer,
    ) -> Result<(), TrainError> {
        std::fs::create_dir_all(folder).map_err(TrainError::io("create", folder))?;
        tokenizer.save(folder)?;
        config.write(folder)
    }

    /// Writes the weights, which completes the folder.
    ///
    /// # Errors
    ///
    /// [`TrainError`] if they cannot be written.
    pub fn finish(folder: &Path, aki: &Aki) -> Result<(), TrainError> {
        let path = folder.join(WEIGHTS);
        weights::save(aki, &path)?;
        // Before a report says that the run is complete.
        sync_folder_of(&path).map_err(TrainError::io("write", &path))
    }

    /// All questions about these samples' pictures, `batch` pictures at a time, for
    /// [`evaluate`](crate::evaluation::evaluate).
    pub fn questions(&self, samples: Vec<Sample>, batch: usize) -> Loader<Samples> {
        let batcher = Batcher {
            tokenizer: self.tokenizer.clone(),
            template: self.template(),
            image_size: self.config.model.vision.image_size,
            exif_orientation: self.config.exif_orientation,
            mean: self.config.norm_mean,
            std: self.config.norm_std,
            media_len: self.config.model.media_len(),
            target: Target::Questions { per_picture: None },
            augmentation: None,
            seed: 0,
        };
        let count = samples.len();
        let policy = self.config.attention;
        Loader::new(Samples::new(samples, None, batcher, policy, batch), count)
    }

    /// A picture, turned as those were that the model learned from; `name` is for messages.
    ///
    /// # Errors
    ///
    /// [`DataError`] if it is none.
    pub fn decode(&self, bytes: &[u8], name: &str) -> Result<Picture, DataError> {
        match self.config.exif_orientation {
            true => Picture::decode_upright(bytes, name),
            false => Picture::decode(bytes, name),
        }
    }

    /// As [`ModelFolder::decode`], of a file.
    ///
    /// # Errors
    ///
    /// [`DataError`] if it cannot be read, or is no picture.
    pub fn open_picture(&self, path: &Path) -> Result<Picture, DataError> {
        match self.config.exif_orientation {
            true => Picture::open_upright(path),
            false => Picture::open(path),
        }
    }

    /// AKI's texts with this model's system line and order.
    pub fn template(&self) -> Template {
        let published = Template::default();
        Template {
            system: self.config.system.clone().unwrap_or(published.system),
            order: self.config.order,
        }
    }
}

/// Where a model's weights are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// In a model folder.
    Folder(PathBuf),
    /// In a checkpoint of a run.
    Checkpoint(Checkpoint),
}

impl Stored {
    /// The model folder, or the checkpoint's.
    pub fn path(self) -> PathBuf {
        match self {
            Self::Folder(folder) => folder,
            Self::Checkpoint(checkpoint) => checkpoint.path,
        }
    }

    /// The weights meant by a path: those of a model folder, of a checkpoint, or of a run folder, where
    /// they are the finished model's, else the newest checkpoint's.
    ///
    /// # Errors
    ///
    /// [`TrainError`] if there are none.
    pub fn find(path: &Path) -> Result<Self, TrainError> {
        if Checkpoint::is_at(path) {
            return Ok(Self::Checkpoint(Checkpoint::open(path)?));
        }
        let folder = find(path)?;
        if folder == path || folder.join(WEIGHTS).exists() {
            return Ok(Self::Folder(folder));
        }
        let run = std::fs::read_to_string(path.join("config.toml")).unwrap_or_default();
        let Ok(run) = toml::from_str::<RunConfig>(&run) else {
            return Ok(Self::Folder(folder));
        };
        match checkpoint::newest(path, &run.stage)? {
            Some((_, newest)) => Ok(Self::Checkpoint(newest)),
            None => Err(TrainError::Model {
                path: path.to_owned(),
                reason: "this run has not come to its first checkpoint yet".to_owned(),
            }),
        }
    }
}

/// The model folder meant by a path: the folder itself, `model` in a run's, or that of a checkpoint's run.
/// While a run goes on it has no weights.
///
/// # Errors
///
/// [`TrainError::Model`] if there is none.
pub fn find(path: &Path) -> Result<PathBuf, TrainError> {
    let mut folders = vec![path.to_owned(), path.join("model")];
    if Checkpoint::is_at(path) {
        folders = vec![Checkpoint::open(path)?.run_dir()?.join("model")];
    }
    folders
        .into_iter()
        .find(|folder| folder.join(CONFIG).is_file())
        .ok_or_else(|| TrainError::Model {
            path: path.to_owned(),
            reason: format!("no model is here: neither {CONFIG} nor model/{CONFIG}"),
        })
}

/// What a checkpoint's numbers become: `None` keeps them.
fn numbers(
    weights: &Weights,
    asked: Option<DType>,
    device: &Device,
) -> Result<Option<DType>, TrainError> {
    let computes = |dtype: DType| dtype != DType::F64 && device.supports_dtype(dtype);
    if let Some(asked) = asked {
        return match computes(asked) {
            true => Ok(Some(asked)),
            false => Err(TrainError::Request(format!(
                "this device does not compute in {}; ask for f32",
                asked.name()
            ))),
        };
    }
    let floats = || {
        let dtypes = weights.tensors().values().filter_map(|tensor| tensor.dtype);
        dtypes.filter(DType::is_float)
    };
    let first = floats().next();
    let stored: BTreeSet<&str> = floats().map(|dtype| dtype.name()).collect();
    if stored.len() < 2 && first.is_none_or(computes) {
        return Ok(None);
    }
    // f16 is as wide as bf16, has more digits, and ends at 65504: loading refuses weights beyond.
    let stored: Vec<&str> = stored.into_iter().collect();
    let dtype = match stored[..] {
        ["bf16"] if computes(DType::F16) => DType::F16,
        _ => DType::F32,
    };
    tracing::warn!(
        "{}: {} becomes {} on this device",
        weights.path().display(),
        stored.join(" and "),
        dtype.name()
    );
    Ok(Some(dtype))
}

/// Writes a whole file, naming it if that fails.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), TrainError> {
    write_whole(path, bytes).map_err(TrainError::io("write", path))
}

/// As [`write_file`], of what has a form in JSON.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), TrainError> {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    write_file(path, text.as_bytes())
}
