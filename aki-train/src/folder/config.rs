//! A model folder's `config.json`, in the published layout.

use std::path::Path;

use aki_data::PictureOrder;
use aki_model::AkiConfig;
use aki_model::attention::Policy;
use aki_model::language::LanguageConfig;
use aki_model::projector::ProjectorConfig;
use aki_model::resampler::ResamplerConfig;
use aki_model::vision::VisionConfig;
use aki_model::weights::{Checkpoint as Weights, Quantization};
use aki_model::{Aki, weights};
use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{CONFIG, write_json};
use crate::TrainError;
use crate::data::Norm;

/// The folders that hold the `config.json` of a part that has no name on the hub.
pub(crate) const VISION: &str = "vision_encoder";
pub(crate) const LANGUAGE: &str = "lang_model";

/// What a model folder says about its model.
#[derive(Clone, Debug, PartialEq)]
pub struct FolderConfig {
    /// The network's shape.
    pub model: AkiConfig,
    /// The tokenizer's vocabulary without the added tokens.
    pub base_vocab: usize,
    /// The token that fills batches up.
    pub pad: u32,
    /// The system line of prompts; none is the published one.
    pub system: Option<String>,
    /// Who may look at whom in a prompt.
    pub attention: Policy,
    /// Whether pictures come before their texts or after them.
    pub order: PictureOrder,
    /// Taken from each pixel value, which lies in 0 to 1; one a channel.
    pub norm_mean: [f32; 3],
    /// Then divided by.
    pub norm_std: [f32; 3],
    /// Whether pictures are turned as their EXIF data say, as they were in training.
    pub exif_orientation: bool,
    /// Which matrices lie packed; none do without.
    pub quantization: Option<Quantization>,
}

/// The keys of the published file, and behind them those that say what it cannot.
#[derive(Serialize, Deserialize)]
struct File {
    #[serde(default)]
    base_img_size: Option<usize>,
    #[serde(default = "decoder_layers")]
    decoder_layers_attr_name: String,
    #[serde(default)]
    gradient_checkpointing: bool,
    initial_tokenizer_len: usize,
    lang_model_path: String,
    #[serde(default = "latents")]
    num_vision_tokens: usize,
    #[serde(default)]
    pad_token_id: u32,
    #[serde(default)]
    tokenizer: Value,
    vision_encoder_path: String,
    n_px: usize,
    #[serde(default = "half")]
    norm_mean: Channels,
    #[serde(default = "half")]
    norm_std: Channels,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    exif_orientation: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    resampler: Option<Resampler>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    projector: Option<ProjectorConfig>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    system: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    attention: Option<Policy>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    order: Option<PictureOrder>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quantization_config: Option<Quantization>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

/// A resampler of another shape than the published one.
#[derive(Serialize, Deserialize)]
struct Resampler {
    depth: usize,
    heads: usize,
    head_dim: usize,
}

fn decoder_layers() -> String {
    "model.layers".to_owned()
}

fn latents() -> usize {
    ResamplerConfig::default().num_latents
}

fn half() -> Channels {
    Channels::All(0.5)
}

/// A number for all channels, as in the published file, or one for each.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(untagged)]
enum Channels {
    All(f32),
    Each([f32; 3]),
}

impl Channels {
    fn new(each: [f32; 3]) -> Self {
        match each.iter().all(|it| it.to_bits() == each[0].to_bits()) {
            true => Self::All(each[0]),
            false => Self::Each(each),
        }
    }

    fn each(self) -> [f32; 3] {
        match self {
            Self::All(all) => [all; 3],
            Self::Each(each) => each,
        }
    }
}

/// Reads a JSON file.
fn json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, TrainError> {
    let bytes = std::fs::read(path).map_err(TrainError::io("read", path))?;
    serde_json::from_slice(&bytes).map_err(|error| fault(path, error.to_string()))
}

fn fault(path: &Path, reason: impl Into<String>) -> TrainError {
    TrainError::Model {
        path: path.to_owned(),
        reason: reason.into(),
    }
}

/// A part's shape: its folder's `config.json`, else what its name on the hub stands for.
fn part<T>(
    folder: &Path,
    name: &str,
    read: impl FnOnce(&Value) -> Result<T, String>,
    known: impl FnOnce(&str) -> Option<T>,
    validate: impl FnOnce(&T) -> Result<(), String>,
) -> Result<T, TrainError> {
    let file = folder.join(name).join(CONFIG);
    if file.is_file() {
        let part = read(&json(&file)?).map_err(|reason| fault(&file, reason))?;
        validate(&part).map_err(|reason| fault(&file, reason))?;
        return Ok(part);
    }
    known(name).ok_or_else(|| {
        let reason = format!(
            "\"{name}\" is neither a folder here with a {CONFIG} nor a model known by its name; put the \
             model's {CONFIG} into a folder beside this file and name that"
        );
        fault(&folder.join(CONFIG), reason)
    })
}

fn check_norm(Norm { mean, std }: &Norm) -> Result<(), String> {
    let finite = mean.iter().chain(std).all(|it| it.is_finite());
    match finite && std.iter().all(|&it| it > 0.0) {
        true => Ok(()),
        false => Err("norm_mean must be numbers, and norm_std more than 0".to_owned()),
    }
}

impl FolderConfig {
    /// Reads a model folder's `config.json`, and those of its parts.
    ///
    /// # Errors
    ///
    /// [`TrainError`] if a file is absent or says what cannot be.
    pub fn read(folder: &Path) -> Result<Self, TrainError> {
        let path = folder.join(CONFIG);
        let file: File = json(&path)?;
        if !file.others.is_empty() {
            let keys: Vec<_> = file.others.keys().map(String::as_str).collect();
            tracing::warn!("{}: ignored: {}", path.display(), keys.join(", "));
        }
        if file.initial_tokenizer_len == 0 || file.initial_tokenizer_len > 1 << 20 {
            let len = file.initial_tokenizer_len;
            return Err(fault(&path, format!("initial_tokenizer_len is {len}")));
        }
        let vision = part(
            folder,
            &file.vision_encoder_path,
            VisionConfig::from_hugging_face,
            VisionConfig::known,
            VisionConfig::validate,
        )?;
        if vision.image_size != file.n_px {
            let (side, n_px) = (vision.image_size, file.n_px);
            return Err(fault(
                &path,
                format!(
                    "n_px is {n_px}, and the vision tower's pictures have {side} pixels a side"
                ),
            ));
        }
        let mut language = part(
            folder,
            &file.lang_model_path,
            LanguageConfig::from_hugging_face,
            LanguageConfig::known,
            LanguageConfig::validate,
        )?;
        language.added_tokens = 2;
        // A tokenizer larger than the pretrained table has had the table resized to it.
        language.vocab_size = language.vocab_size.max(file.initial_tokenizer_len);
        let usual = ResamplerConfig::default();
        let shape = file.resampler.unwrap_or(Resampler {
            depth: usual.depth,
            heads: usual.heads,
            head_dim: usual.head_dim,
        });
        let resampler = file.projector.is_none().then_some(ResamplerConfig {
            depth: shape.depth,
            heads: shape.heads,
            head_dim: shape.head_dim,
            num_latents: file.num_vision_tokens,
        });
        let config = Self {
            model: AkiConfig {
                vision,
                resampler,
                projector: file.projector,
                language,
            },
            base_vocab: file.initial_tokenizer_len,
            pad: file.pad_token_id,
            system: file.system,
            attention: file.attention.unwrap_or(Policy::Mma),
            order: file.order.unwrap_or_default(),
            norm_mean: file.norm_mean.each(),
            norm_std: file.norm_std.each(),
            exif_orientation: file.exif_orientation,
            quantization: file.quantization_config,
        };
        config.check().map_err(|reason| fault(&path, reason))?;
        Ok(config)
    }

    /// Reads what the tower is given of a pixel, whatever else the file says.
    ///
    /// # Errors
    ///
    /// As [`FolderConfig::read`].
    pub(crate) fn read_norm(folder: &Path) -> Result<Norm, TrainError> {
        let path = folder.join(CONFIG);
        let file: File = json(&path)?;
        let norm = Norm {
            mean: file.norm_mean.each(),
            std: file.norm_std.each(),
        };
        check_norm(&norm).map_err(|reason| fault(&path, reason))?;
        Ok(norm)
    }

    /// Opens weights, of a folder or in a file, and holds against them what this says of packed matrices.
    ///
    /// # Errors
    ///
    /// [`TrainError`] if they cannot be opened, or the two differ.
    pub fn open_weights(&self, path: &Path) -> Result<Weights, TrainError> {
        let weights = Weights::open(path)?;
        let reason = match (self.quantization.is_some(), weights.is_packed()) {
            (true, false) => "no matrix is packed, and config.json has a quantization_config",
            (false, true) => {
                "the matrices are packed, and config.json has no quantization_config that says how"
            }
            _ => return Ok(weights),
        };
        let reason = format!("{reason}; take the {CONFIG} that was written with them");
        Err(fault(weights.path(), reason))
    }

    /// The parameters that the folder's weights hold, packed or not.
    pub fn parameters(&self) -> Vec<weights::Parameter> {
        match &self.quantization {
            Some(how) => self.model.packed_parameters(how),
            None => self.model.parameters(),
        }
    }

    /// The network that the folder's weights are read into.
    pub fn undrawn(&self, device: &Device) -> Aki {
        let aki = self.model.undrawn(self.base_vocab, device);
        match &self.quantization {
            Some(how) => aki.packed(how),
            None => aki,
        }
    }

    fn check(&self) -> Result<(), String> {
        self.model.validate_shape()?;
        if self.attention == Policy::Cca && self.model.resampler.is_none() {
            return Err("attention is cca, which needs a resampler".to_owned());
        }
        check_norm(&Norm {
            mean: self.norm_mean,
            std: self.norm_std,
        })
    }

    /// Writes `config.json`, and a folder with a `config.json` for each part that has no name on the
    /// hub.
    ///
    /// # Errors
    ///
    /// [`TrainError::Io`] if a file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), TrainError> {
        let AkiConfig {
            vision,
            resampler,
            projector,
            language,
        } = &self.model;
        let part =
            |hub_name: Option<&str>, own: &str, config: Value| -> Result<String, TrainError> {
                if let Some(name) = hub_name {
                    return Ok(name.to_owned());
                }
                let place = folder.join(own);
                std::fs::create_dir_all(&place).map_err(TrainError::io("create", &place))?;
                write_json(&place.join(CONFIG), &config)?;
                Ok(own.to_owned())
            };
        let usual = ResamplerConfig::default();
        let shape = resampler.as_ref().filter(|resampler| {
            ResamplerConfig {
                num_latents: usual.num_latents,
                ..(*resampler).clone()
            } != usual
        });
        let file = File {
            base_img_size: None,
            decoder_layers_attr_name: decoder_layers(),
            gradient_checkpointing: false,
            initial_tokenizer_len: self.base_vocab,
            lang_model_path: part(language.hub_name(), LANGUAGE, language.to_hugging_face())?,
            num_vision_tokens: self.model.media_len(),
            pad_token_id: self.pad,
            tokenizer: Value::Null,
            vision_encoder_path: part(vision.hub_name(), VISION, vision.to_hugging_face())?,
            n_px: vision.image_size,
            norm_mean: Channels::new(self.norm_mean),
            norm_std: Channels::new(self.norm_std),
            exif_orientation: self.exif_orientation,
            resampler: shape.map(|shape| Resampler {
                depth: shape.depth,
                heads: shape.heads,
                head_dim: shape.head_dim,
            }),
            projector: projector.clone(),
            system: self.system.clone(),
            attention: (self.attention != Policy::Mma).then_some(self.attention),
            order: (self.order != PictureOrder::default()).then_some(self.order),
            quantization_config: self.quantization,
            others: Map::new(),
        };
        write_json(&folder.join(CONFIG), &file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/aki-tiny")
    }

    #[test]
    fn the_published_file_has_these_keys_and_no_others() {
        let preset = AkiConfig::preset("aki-4b").unwrap();
        let config = FolderConfig {
            model: preset,
            base_vocab: 32012,
            pad: 32011,
            system: None,
            attention: Policy::Mma,
            order: PictureOrder::ImageText,
            norm_mean: [0.5; 3],
            norm_std: [0.5; 3],
            exif_orientation: false,
            quantization: None,
        };
        let folder = tempfile::tempdir().unwrap();
        config.write(folder.path()).unwrap();
        let written: Value = json(&folder.path().join(CONFIG)).unwrap();
        let expected = serde_json::json!({
            "base_img_size": null,
            "decoder_layers_attr_name": "model.layers",
            "gradient_checkpointing": false,
            "initial_tokenizer_len": 32012,
            "lang_model_path": "microsoft/Phi-3.5-mini-instruct",
            "num_vision_tokens": 144,
            "pad_token_id": 32011,
            "tokenizer": null,
            "vision_encoder_path": "google/siglip-so400m-patch14-384",
            "n_px": 384,
            "norm_mean": 0.5,
            "norm_std": 0.5,
        });
        assert_eq!(written, expected);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(FolderConfig::read(folder.path()).unwrap(), config);
    }

    #[test]
    fn parts_without_a_name_have_folders() {
        let config = FolderConfig::read(&fixture()).unwrap();
        assert_eq!(config.model.media_len(), 10);
        assert_eq!(config.model.language.vocab_size, 400);
        let folder = tempfile::tempdir().unwrap();
        let changed = FolderConfig {
            system: Some("Be brief.".to_owned()),
            attention: Policy::Causal,
            order: PictureOrder::TextImage,
            ..config
        };
        changed.write(folder.path()).unwrap();
        let read = FolderConfig::read(folder.path()).unwrap();
        // The file spells the activation out.
        let act = read.model.vision.hidden_act;
        let mut expected = changed;
        expected.model.vision.hidden_act = act;
        assert_eq!(read, expected);
    }

    #[test]
    fn what_cannot_be_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let fixture: Value = json(&fixture().join(CONFIG)).unwrap();
        for (key, value, expected) in [
            (
                "lang_model_path",
                "nobody/none".into(),
                "\"nobody/none\" is neither",
            ),
            ("n_px", 56.into(), "n_px is 56"),
            ("num_vision_tokens", "many".into(), "invalid type"),
        ] {
            let mut file = fixture.clone();
            file["vision_encoder_path"] = "google/siglip-base-patch16-224".into();
            file["lang_model_path"] = "microsoft/Phi-3.5-mini-instruct".into();
            file["n_px"] = 224.into();
            file[key] = value;
            write_json(&folder.path().join(CONFIG), &file).unwrap();
            let error = FolderConfig::read(folder.path()).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
