//! The decoder's shape.

use serde::{Deserialize, Serialize};

use crate::sizes::{at_least_one, positive};

/// Shape of a [`super::LanguageModel`]; the names are those of a Hugging Face `config.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LanguageConfig {
    /// Rows of the pretrained embedding table and head.
    pub vocab_size: usize,
    /// Tokens added behind the tokenizer's base vocabulary (`<image>`, `<|endofchunk|>`), which
    /// live in small tables of their own.
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
    /// Added to the mean square in the RMS norms; 1e-5 in Phi-3.
    pub rms_norm_eps: f64,
    /// Base of the rotary wavelengths; 10,000 in Phi-3.
    pub rope_theta: f64,
}

impl LanguageConfig {
    /// Channels of a head.
    pub fn head_dim(&self) -> usize {
        self.hidden_size / self.num_attention_heads
    }

    /// What is wrong with the numbers, if anything.
    ///
    /// # Errors
    ///
    /// A sentence that names the keys at fault.
    pub fn validate(&self) -> Result<(), String> {
        at_least_one(&[
            ("vocab_size", self.vocab_size),
            ("added_tokens", self.added_tokens),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", self.num_key_value_heads),
        ])?;
        positive("rms_norm_eps", self.rms_norm_eps)?;
        positive("rope_theta", self.rope_theta)?;
        let heads = self.num_attention_heads;
        if !self.hidden_size.is_multiple_of(2 * heads) {
            return Err(format!(
                "hidden_size {} must be an even multiple of num_attention_heads {heads}",
                self.hidden_size
            ));
        }
        let groups = self.num_key_value_heads;
        if !heads.is_multiple_of(groups) {
            return Err(format!(
                "num_key_value_heads {groups} must divide num_attention_heads {heads}"
            ));
        }
        Ok(())
    }
}
