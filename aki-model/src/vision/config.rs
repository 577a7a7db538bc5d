//! The shape of a vision tower.

use serde::{Deserialize, Serialize};

use crate::sizes::{at_least_one, layers, positive};

/// Shape of a [`super::VisionTower`]; the names are those of a Hugging Face `config.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VisionConfig {
    /// Which family of towers; SigLIP if left out.
    #[serde(default)]
    pub model_type: VisionType,
    /// Side of the square picture, pixels.
    pub image_size: usize,
    /// Side of the square patch, pixels.
    pub patch_size: usize,
    /// Width of the tokens.
    pub hidden_size: usize,
    /// Width inside the feed-forward layers.
    pub intermediate_size: usize,
    /// Encoder layers.
    pub num_hidden_layers: usize,
    /// Attention heads.
    pub num_attention_heads: usize,
    /// Added to the variance in the layer norms; 1e-6 in SigLIP, 1e-5 in CLIP.
    pub layer_norm_eps: f64,
    /// The function between the feed-forward layers; the family's own if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hidden_act: Option<VisionActivation>,
    /// Whether SigLIP's pooling head is among the weights. AKI carries it and does not use it.
    #[serde(default)]
    pub vision_use_head: bool,
}

/// Families of vision towers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum VisionType {
    /// SigLIP: no class token, patches with a bias, a norm at the end.
    #[default]
    #[serde(rename = "siglip_vision_model")]
    Siglip,
    /// CLIP's ViT: a class token in front, a norm before the first layer, none on the last hidden
    /// state.
    #[serde(rename = "clip_vision_model")]
    Clip,
}

/// Functions between the feed-forward layers, named as in `config.json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VisionActivation {
    /// The exact GELU.
    Gelu,
    /// GELU's approximation by tanh, which SigLIP was trained with.
    GeluPytorchTanh,
    /// `x sigmoid(1.702 x)`, which OpenAI's CLIP was trained with.
    QuickGelu,
}

impl VisionConfig {
    /// Patches of a picture.
    pub fn num_patches(&self) -> usize {
        (self.image_size / self.patch_size).pow(2)
    }

    /// Tokens of a picture: its patches, and CLIP's class token.
    pub fn num_tokens(&self) -> usize {
        self.num_patches() + usize::from(self.model_type == VisionType::Clip)
    }

    /// The function between the feed-forward layers.
    pub fn activation(&self) -> VisionActivation {
        self.hidden_act.unwrap_or(match self.model_type {
            VisionType::Siglip => VisionActivation::GeluPytorchTanh,
            VisionType::Clip => VisionActivation::QuickGelu,
        })
    }

    /// What is wrong with the numbers, if anything.
    ///
    /// # Errors
    ///
    /// A sentence that names the keys at fault.
    pub fn validate(&self) -> Result<(), String> {
        at_least_one(&[
            ("image_size", self.image_size),
            ("patch_size", self.patch_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_attention_heads", self.num_attention_heads),
        ])?;
        layers("num_hidden_layers", self.num_hidden_layers)?;
        positive("layer_norm_eps", self.layer_norm_eps)?;
        if self.image_size < self.patch_size {
            return Err(format!(
                "patch_size {} must be at most image_size {}",
                self.patch_size, self.image_size
            ));
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return Err(format!(
                "num_attention_heads {} must divide hidden_size {}",
                self.num_attention_heads, self.hidden_size
            ));
        }
        if self.vision_use_head && self.model_type == VisionType::Clip {
            return Err("vision_use_head is for SigLIP; CLIP has no pooling head".to_owned());
        }
        Ok(())
    }
}
