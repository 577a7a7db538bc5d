//! The shape of AKI, and shapes by name.

use serde::{Deserialize, Serialize};

use crate::language::LanguageConfig;
use crate::projector::ProjectorConfig;
use crate::resampler::ResamplerConfig;
use crate::vision::VisionConfig;

/// Shape of an [`Aki`](crate::Aki).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AkiConfig {
    /// The vision tower.
    pub vision: VisionConfig,
    /// What makes media tokens of the tower's tokens, if it is a resampler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resampler: Option<ResamplerConfig>,
    /// What makes media tokens of the tower's tokens, if it is a projector. There is one or the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub projector: Option<ProjectorConfig>,
    /// The language model.
    pub language: LanguageConfig,
}

impl AkiConfig {
    /// Names that [`AkiConfig::preset`] knows.
    pub const PRESETS: [&str; 4] = ["aki-4b", "aki-small", "aki-medium", "aki-tiny"];

    /// A shape by name. `aki-4b` is the published model: `SigLIP` so400m/384, a resampler of 6 layers with
    /// 144 latents, and Phi-3.5-mini, 4,330,957,954 parameters. `aki-small` has `SigLIP` base/224 and a
    /// Phi of 12 layers (some 300 million, for a laptop); `aki-medium` has some 100 million, on which
    /// training is timed; `aki-tiny` has some 3 million, for trying out.
    pub fn preset(name: &str) -> Option<Self> {
        let phi = LanguageConfig {
            added_tokens: 2,
            ..LanguageConfig::known("microsoft/Phi-3.5-mini-instruct")?
        };
        let plain = |sizes: [usize; 5]| {
            let [vocab_size, hidden_size, intermediate_size, layers, heads] = sizes;
            LanguageConfig {
                vocab_size,
                hidden_size,
                intermediate_size,
                num_hidden_layers: layers,
                num_attention_heads: heads,
                num_key_value_heads: heads,
                rope_scaling: None,
                max_position_embeddings: Some(4096),
                ..phi.clone()
            }
        };
        let resampler = ResamplerConfig::default();
        let (vision, resampler, language) = match name {
            "aki-4b" => (
                VisionConfig::known("google/siglip-so400m-patch14-384")?,
                resampler,
                phi,
            ),
            "aki-small" => (
                VisionConfig::known("google/siglip-base-patch16-224")?,
                ResamplerConfig {
                    num_latents: 64,
                    ..resampler
                },
                plain([32064, 768, 2048, 12, 12]),
            ),
            "aki-medium" => (
                VisionConfig {
                    hidden_size: 256,
                    intermediate_size: 1024,
                    num_hidden_layers: 4,
                    num_attention_heads: 4,
                    vision_use_head: false,
                    ..VisionConfig::known("google/siglip-base-patch16-224")?
                },
                ResamplerConfig {
                    depth: 2,
                    heads: 4,
                    ..resampler
                },
                plain([32064, 640, 1728, 12, 10]),
            ),
            "aki-tiny" => (
                VisionConfig {
                    image_size: 64,
                    patch_size: 8,
                    hidden_size: 128,
                    intermediate_size: 512,
                    num_hidden_layers: 4,
                    num_attention_heads: 4,
                    vision_use_head: false,
                    ..VisionConfig::known("google/siglip-base-patch16-224")?
                },
                ResamplerConfig {
                    depth: 2,
                    heads: 4,
                    head_dim: 32,
                    num_latents: 16,
                },
                plain([512, 192, 512, 4, 6]),
            ),
            _ => return None,
        };
        Some(Self {
            vision,
            resampler: Some(resampler),
            projector: None,
            language,
        })
    }

    /// Media tokens of a picture.
    pub fn media_len(&self) -> usize {
        match &self.resampler {
            Some(resampler) => resampler.num_latents,
            None => self.vision.num_tokens(),
        }
    }

    /// What is wrong with the numbers by themselves, if anything.
    ///
    /// # Errors
    ///
    /// A sentence that names the keys at fault.
    pub fn validate_shape(&self) -> Result<(), String> {
        self.vision
            .validate()
            .map_err(|fault| format!("model.vision: {fault}"))?;
        self.language
            .validate()
            .map_err(|fault| format!("model.language: {fault}"))?;
        match (&self.resampler, &self.projector) {
            (Some(resampler), None) => resampler
                .validate()
                .map_err(|fault| format!("model.resampler: {fault}"))?,
            (None, Some(projector)) => projector
                .validate()
                .map_err(|fault| format!("model.projector: {fault}"))?,
            _ => return Err("model needs either a resampler or a projector".to_owned()),
        }
        Ok(())
    }

    /// What is wrong with the numbers, if anything. `base_vocab` and `vocab` are the tokenizer's,
    /// without and with the added tokens.
    ///
    /// # Errors
    ///
    /// A sentence that names the keys at fault.
    pub fn validate(&self, base_vocab: usize, vocab: usize) -> Result<(), String> {
        self.validate_shape()?;
        let LanguageConfig {
            vocab_size,
            added_tokens,
            ..
        } = self.language;
        if base_vocab > vocab_size || vocab != base_vocab + added_tokens {
            return Err(format!(
                "model.language: vocab_size {vocab_size} and added_tokens {added_tokens} do not fit \
                 the tokenizer, which has {base_vocab} ids and {} added ones",
                vocab - base_vocab
            ));
        }
        Ok(())
    }
}
