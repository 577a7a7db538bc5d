//! Language models that are known by their names on the Hugging Face hub.

use super::{LanguageConfig, LanguageType};
use crate::attention::RopeScaling;

/// Phi-3.5-mini's factors, one a pair of channels, as its `config.json` gives them: f32 values in
/// two decimals.
const PHI_SHORT: [f32; 48] = [
    1.0, 1.02, 1.03, 1.03, 1.05, 1.05, 1.05, 1.05, 1.05, 1.07, 1.1, 1.11, 1.16, 1.16, 1.17, 1.29,
    1.34, 1.68, 1.79, 1.82, 1.85, 1.88, 1.91, 1.94, 1.99, 2.02, 2.02, 2.02, 2.02, 2.02, 2.02, 2.03,
    2.03, 2.03, 2.03, 2.03, 2.03, 2.03, 2.03, 2.03, 2.08, 2.09, 2.19, 2.22, 2.59, 2.73, 2.75, 2.84,
];
/// See [`PHI_SHORT`].
const PHI_LONG: [f32; 48] = [
    1.08, 1.11, 1.14, 1.34, 1.59, 1.6, 1.62, 2.62, 3.23, 3.23, 4.79, 7.4, 7.7, 9.09, 12.2, 17.67,
    24.46, 28.57, 30.42, 30.84, 32.59, 32.93, 42.32, 44.96, 50.34, 50.45, 57.55, 57.93, 58.21,
    60.14, 62.61, 62.62, 62.71, 63.14, 63.14, 63.77, 63.93, 63.96, 63.97, 64.03, 64.07, 64.08,
    64.12, 64.41, 64.48, 64.51, 64.53, 64.84,
];

/// Names on the hub that [`LanguageConfig::known`] knows, one for each shape.
const KNOWN: [&str; 4] = [
    "microsoft/Phi-3.5-mini-instruct",
    "microsoft/Phi-3-mini-4k-instruct",
    "meta-llama/Llama-2-7b-hf",
    "mistralai/Mistral-7B-v0.3",
];

impl LanguageConfig {
    /// The model's name on the Hugging Face hub, if it is one of those known here. Tokens added to it do
    /// not count.
    pub fn hub_name(&self) -> Option<&'static str> {
        let plain = Self {
            added_tokens: 0,
            ..self.clone()
        };
        KNOWN
            .into_iter()
            .find(|name| Self::known(name).as_ref() == Some(&plain))
    }

    /// The model that a name on the Hugging Face hub stands for, if it is one of those known here.
    /// Others are read from their `config.json`.
    pub fn known(name: &str) -> Option<Self> {
        let plain = |model_type, sizes: [usize; 6]| {
            let [
                vocab_size,
                hidden_size,
                intermediate_size,
                layers,
                heads,
                kv_heads,
            ] = sizes;
            Self {
                model_type,
                vocab_size,
                added_tokens: 0,
                hidden_size,
                intermediate_size,
                num_hidden_layers: layers,
                num_attention_heads: heads,
                num_key_value_heads: kv_heads,
                head_dim: None,
                rms_norm_eps: 1e-5,
                rope_theta: 10_000.0,
                rope_scaling: None,
                max_position_embeddings: Some(4096),
                tie_word_embeddings: false,
            }
        };
        let phi = plain(LanguageType::Phi3, [32064, 3072, 8192, 32, 32, 32]);
        Some(match name {
            "microsoft/Phi-3.5-mini-instruct" => Self {
                max_position_embeddings: Some(131_072),
                rope_scaling: Some(RopeScaling::LongRope {
                    short_factor: PHI_SHORT.map(f64::from).to_vec(),
                    long_factor: PHI_LONG.map(f64::from).to_vec(),
                    original_max_position_embeddings: 4096,
                    attention_factor: RopeScaling::attention_factor(131_072.0, 4096.0),
                }),
                ..phi
            },
            // Its window of 2,047 tokens is the longest text.
            "microsoft/Phi-3-mini-4k-instruct" => Self {
                max_position_embeddings: Some(2047),
                ..phi
            },
            "meta-llama/Llama-2-7b-hf" | "meta-llama/Llama-2-7b-chat-hf" => {
                plain(LanguageType::Llama, [32000, 4096, 11008, 32, 32, 32])
            }
            "mistralai/Mistral-7B-v0.3" | "mistralai/Mistral-7B-Instruct-v0.3" => Self {
                rope_theta: 1_000_000.0,
                max_position_embeddings: Some(32_768),
                ..plain(LanguageType::Mistral, [32768, 4096, 14336, 32, 32, 8])
            },
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phis_factors_are_the_files() {
        // The file's own digits for three of the 96 values.
        for (ours, file) in [
            (PHI_SHORT[1], "1.0199999809265137"),
            (PHI_LONG[0], "1.0800000429153442"),
            (PHI_LONG[47], "64.83999633789062"),
        ] {
            assert_eq!(Ok(f64::from(ours)), file.parse());
        }
        assert!(LanguageConfig::known("microsoft/Phi-3.5-mini-instruct").is_some());
        assert!(LanguageConfig::known("gpt2").is_none());
    }
}
