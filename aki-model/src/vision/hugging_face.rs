//! A vision tower's `config.json`, as Hugging Face writes it.

use serde_json::{Map, Value, json};

use super::{VisionActivation, VisionConfig, VisionType};
use crate::hub;

const BASE: [usize; 4] = [768, 3072, 12, 12];
const LARGE: [usize; 4] = [1024, 4096, 24, 16];
const SO400M: [usize; 4] = [1152, 4304, 27, 16];

/// Towers by their names on the hub: side of the picture, side of a patch; width, width inside the
/// feed-forward layers, layers, heads.
const KNOWN: [(&str, usize, usize, [usize; 4]); 12] = [
    ("google/siglip-base-patch16-224", 224, 16, BASE),
    ("google/siglip-base-patch16-256", 256, 16, BASE),
    ("google/siglip-base-patch16-384", 384, 16, BASE),
    ("google/siglip-base-patch16-512", 512, 16, BASE),
    ("google/siglip-large-patch16-256", 256, 16, LARGE),
    ("google/siglip-large-patch16-384", 384, 16, LARGE),
    ("google/siglip-so400m-patch14-224", 224, 14, SO400M),
    ("google/siglip-so400m-patch14-384", 384, 14, SO400M),
    ("openai/clip-vit-base-patch32", 224, 32, BASE),
    ("openai/clip-vit-base-patch16", 224, 16, BASE),
    ("openai/clip-vit-large-patch14", 224, 14, LARGE),
    ("openai/clip-vit-large-patch14-336", 336, 14, LARGE),
];

impl VisionConfig {
    /// Reads the `config.json` of a SigLIP or CLIP model: the tower's own, or that of a whole model
    /// with the tower under `vision_config`. What the file leaves out has `transformers`' default.
    ///
    /// # Errors
    ///
    /// A sentence that says what is not supported, or which value is not what it must be.
    pub fn from_hugging_face(config: &Value) -> Result<Self, String> {
        let whole = config.get("model_type").and_then(Value::as_str);
        let (model_type, tower) = match (whole, config.get("vision_config")) {
            (Some("siglip"), Some(tower)) => (VisionType::Siglip, tower),
            (Some("clip"), Some(tower)) => (VisionType::Clip, tower),
            (Some("siglip_vision_model"), _) => (VisionType::Siglip, config),
            (Some("clip_vision_model"), _) => (VisionType::Clip, config),
            _ => {
                return Err(format!(
                    "model_type is {}; siglip, siglip_vision_model, clip and clip_vision_model are supported",
                    whole.unwrap_or("missing")
                ));
            }
        };
        let siglip = model_type == VisionType::Siglip;
        let size = |key, default| hub::size(tower, key, Some(default));
        if size("num_channels", 3)? != 3 {
            return Err("num_channels must be 3".to_owned());
        }
        let hidden_act = match tower.get("hidden_act").filter(|it| !it.is_null()) {
            None => None,
            Some(name) => Some(
                serde_json::from_value::<VisionActivation>(name.clone()).map_err(|_| {
                    format!(
                        "hidden_act {name}: gelu, gelu_pytorch_tanh and quick_gelu are supported"
                    )
                })?,
            ),
        };
        Ok(Self {
            model_type,
            image_size: size("image_size", 224)?,
            patch_size: size("patch_size", if siglip { 16 } else { 32 })?,
            hidden_size: size("hidden_size", 768)?,
            intermediate_size: size("intermediate_size", 3072)?,
            num_hidden_layers: size("num_hidden_layers", 12)?,
            num_attention_heads: size("num_attention_heads", 12)?,
            layer_norm_eps: hub::number(
                tower,
                "layer_norm_eps",
                Some(if siglip { 1e-6 } else { 1e-5 }),
            )?,
            hidden_act,
            vision_use_head: siglip && hub::flag(tower, "vision_use_head", true)?,
        })
    }

    /// The tower's own `config.json`, every key spelled out.
    ///
    /// # Panics
    ///
    /// Never: a configuration is plain values.
    pub fn to_hugging_face(&self) -> Value {
        let architecture = match self.model_type {
            VisionType::Siglip => "SiglipVisionModel",
            VisionType::Clip => "CLIPVisionModel",
        };
        let mut all = Map::new();
        all.insert("architectures".to_owned(), json!([architecture]));
        let own = serde_json::to_value(self).expect("a configuration is plain values");
        all.extend(
            own.as_object()
                .into_iter()
                .flatten()
                .map(|(key, value)| (key.clone(), value.clone())),
        );
        all.insert("hidden_act".to_owned(), json!(self.activation()));
        all.insert("num_channels".to_owned(), json!(3));
        if self.model_type == VisionType::Clip {
            all.shift_remove("vision_use_head");
        }
        Value::Object(all)
    }

    /// The tower's name on the Hugging Face hub, if it is one of those known here.
    pub fn hub_name(&self) -> Option<&'static str> {
        let mut names = KNOWN.into_iter().map(|(name, ..)| name);
        names.find(|name| Self::known(name).as_ref() == Some(self))
    }

    /// The tower that a name on the Hugging Face hub stands for, if it is one of those known here.
    pub fn known(name: &str) -> Option<Self> {
        let (_, image_size, patch_size, sizes) =
            *KNOWN.iter().find(|(known, ..)| *known == name)?;
        let [
            hidden_size,
            intermediate_size,
            num_hidden_layers,
            num_attention_heads,
        ] = sizes;
        let siglip = name.starts_with("google/");
        Some(Self {
            model_type: if siglip {
                VisionType::Siglip
            } else {
                VisionType::Clip
            },
            image_size,
            patch_size,
            hidden_size,
            intermediate_size,
            num_hidden_layers,
            num_attention_heads,
            layer_norm_eps: if siglip { 1e-6 } else { 1e-5 },
            hidden_act: None,
            vision_use_head: siglip,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_towers_are_told_by_their_names() {
        for (name, ..) in KNOWN {
            let tower = VisionConfig::known(name).unwrap();
            tower.validate().unwrap();
            assert_eq!(tower.hub_name(), Some(name));
            let read = VisionConfig::from_hugging_face(&tower.to_hugging_face()).unwrap();
            assert_eq!(read.activation(), tower.activation());
            assert_eq!(
                VisionConfig {
                    hidden_act: None,
                    ..read
                },
                tower
            );
        }
        let aki = VisionConfig::known("google/siglip-so400m-patch14-384").unwrap();
        assert_eq!(
            (aki.num_tokens(), aki.hidden_size / aki.num_attention_heads),
            (729, 72)
        );
        let clip = VisionConfig::known("openai/clip-vit-large-patch14-336").unwrap();
        assert_eq!((clip.num_tokens(), clip.image_size), (577, 336));
        assert!(VisionConfig::known("google/vit-base").is_none());
    }

    #[test]
    fn what_is_not_supported_is_named() {
        for (config, expected) in [
            (json!({"model_type": "vit"}), "model_type is vit"),
            (
                json!({"model_type": "siglip_vision_model", "hidden_act": "relu"}),
                "relu",
            ),
            (
                json!({"model_type": "clip", "vision_config": {"patch_size": -1}}),
                "patch_size is -1",
            ),
        ] {
            let fault = VisionConfig::from_hugging_face(&config).unwrap_err();
            assert!(fault.contains(expected), "{fault}");
        }
    }
}
