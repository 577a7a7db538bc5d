//! The decoder's shape.

use serde::{Deserialize, Serialize};

use crate::attention::RopeScaling;
use crate::sizes::{at_least_one, layers, positive};

/// Shape of a [`super::LanguageModel`]; the names are those of a Hugging Face `config.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LanguageConfig {
    /// Which family of models; Phi-3 if left out.
    #[serde(default)]
    pub model_type: LanguageType,
    /// Rows of the pretrained embedding table and head.
    pub vocab_size: usize,
    /// Tokens added behind the tokenizer's base vocabulary (`<image>`, `<|endofchunk|>`), which live
    /// in small tables of their own. 0 makes a plain language model, whose head has no biases.
    pub added_tokens: usize,
    /// Width of the tokens.
    pub hidden_size: usize,
    /// Width inside the feed-forward layers.
    pub intermediate_size: usize,
    /// Decoder blocks.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads.
    pub num_key_value_heads: usize,
    /// Channels of a head; `hidden_size / num_attention_heads` if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_dim: Option<usize>,
    /// Added to the mean square in the RMS norms; 1e-5 in Phi-3.
    pub rms_norm_eps: f64,
    /// Base of the rotary wavelengths; 10,000 in Phi-3.
    pub rope_theta: f64,
    /// How the wavelengths are stretched for long texts; not at all if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rope_scaling: Option<RopeScaling>,
    /// Tokens of the longest text the model is meant for; no limit if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_position_embeddings: Option<usize>,
    /// Whether the head is the embedding table once more.
    #[serde(default)]
    pub tie_word_embeddings: bool,
}

/// Families of language models. All are one decoder here; they differ in how checkpoints cut the
/// weights up, and Qwen2 in biases on queries, keys and values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LanguageType {
    /// Phi-3 and Phi-3.5: projections of queries, keys and values in one matrix, gate and up too.
    #[default]
    Phi3,
    /// Llama 2 and 3.
    Llama,
    /// Mistral.
    Mistral,
    /// Qwen2 and Qwen2.5.
    Qwen2,
}

impl LanguageConfig {
    /// Channels of a head.
    pub fn head_dim(&self) -> usize {
        self.head_dim
            .unwrap_or(self.hidden_size / self.num_attention_heads)
    }

    /// Whether checkpoints hold queries, keys and values, and gate and up, in one matrix each.
    pub fn fused_projections(&self) -> bool {
        self.model_type == LanguageType::Phi3
    }

    /// What is wrong with the numbers, if anything.
    ///
    /// # Errors
    ///
    /// A sentence that names the keys at fault.
    pub fn validate(&self) -> Result<(), String> {
        at_least_one(&[
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", self.num_key_value_heads),
        ])?;
        layers("num_hidden_layers", self.num_hidden_layers)?;
        positive("rms_norm_eps", self.rms_norm_eps)?;
        positive("rope_theta", self.rope_theta)?;
        let heads = self.num_attention_heads;
        match self.head_dim {
            None if !self.hidden_size.is_multiple_of(2 * heads) => {
                return Err(format!(
                    "hidden_size {} must be an even multiple of num_attention_heads {heads}",
                    self.hidden_size
                ));
            }
            Some(head_dim) if head_dim == 0 || head_dim % 2 == 1 || head_dim > 1 << 16 => {
                return Err(format!("head_dim {head_dim} must be even, from 2 to 65536"));
            }
            _ => {}
        }
        let groups = self.num_key_value_heads;
        if !heads.is_multiple_of(groups) {
            return Err(format!(
                "num_key_value_heads {groups} must divide num_attention_heads {heads}"
            ));
        }
        if let Some(longest) = self.max_position_embeddings
            && (longest == 0 || longest > 1 << 30)
        {
            return Err(format!(
                "max_position_embeddings {longest} must be from 1 to 2^30"
            ));
        }
        match &self.rope_scaling {
            Some(scaling) => scaling.validate(self.head_dim()),
            None => Ok(()),
        }
    }
}
