//! A language model's `config.json`, as Hugging Face writes it.

use serde_json::{Map, Value, json};

use super::{LanguageConfig, LanguageType};
use crate::attention::RopeScaling;
use crate::hub;

impl LanguageConfig {
    /// Reads the `config.json` of a Phi-3, Llama, Mistral or Qwen2 model. What the file leaves out has
    /// `transformers`' default, but that texts have no limit where none is given; `added_tokens` is 0.
    ///
    /// # Errors
    ///
    /// A sentence that says what is missing or not supported, or which value is not what it must be.
    pub fn from_hugging_face(config: &Value) -> Result<Self, String> {
        let name = config.get("model_type").unwrap_or(&Value::Null);
        let model_type: LanguageType = serde_json::from_value(name.clone()).map_err(|_| {
            format!("model_type is {name}; phi3, llama, mistral and qwen2 are supported")
        })?;
        let size = |key| hub::size(config, key, None);
        let heads = size("num_attention_heads")?;
        for key in ["attention_bias", "mlp_bias"] {
            if hub::flag(config, key, false)? {
                return Err(format!("{key} is true, which is not supported"));
            }
        }
        match config.get("hidden_act").and_then(Value::as_str) {
            None | Some("silu") => {}
            Some(other) => return Err(format!("hidden_act is {other}; silu is supported")),
        }
        let size_or_none = |key| -> Result<Option<usize>, String> {
            let size = hub::size(config, key, Some(usize::MAX))?;
            Ok((size < usize::MAX).then_some(size))
        };
        let trained = size_or_none("max_position_embeddings")?;
        // A window that no text of the model's length fills hides nothing; up to its width a window is
        // no window, and longer texts are refused. Qwen2 says whether it has one.
        let windowed =
            model_type != LanguageType::Qwen2 || hub::flag(config, "use_sliding_window", false)?;
        let window = match config.get("sliding_window") {
            None if model_type == LanguageType::Mistral => Some(4096),
            _ => size_or_none("sliding_window")?,
        };
        let longest = [trained, window.filter(|_| windowed)]
            .into_iter()
            .flatten()
            .min();
        // Version 5 of `transformers` keeps both in one place.
        let rotary = config.get("rope_parameters").filter(|it| !it.is_null());
        for place in [Some(config), rotary].into_iter().flatten() {
            if hub::number(place, "partial_rotary_factor", Some(1.0))? < 1.0 {
                return Err("partial_rotary_factor below 1 is not supported".to_owned());
            }
        }
        let theta = match rotary {
            Some(rotary) => hub::number(rotary, "rope_theta", Some(10_000.0))?,
            None => hub::number(config, "rope_theta", Some(10_000.0))?,
        };
        let scaling = rotary.or_else(|| config.get("rope_scaling").filter(|it| !it.is_null()));
        let kv_heads = match model_type {
            LanguageType::Mistral => 8,
            LanguageType::Qwen2 => 32,
            LanguageType::Phi3 | LanguageType::Llama => heads,
        };
        let rms_norm_eps = if model_type == LanguageType::Phi3 {
            1e-5
        } else {
            1e-6
        };
        Ok(Self {
            model_type,
            vocab_size: size("vocab_size")?,
            added_tokens: 0,
            hidden_size: size("hidden_size")?,
            intermediate_size: size("intermediate_size")?,
            num_hidden_layers: size("num_hidden_layers")?,
            num_attention_heads: heads,
            num_key_value_heads: hub::size(config, "num_key_value_heads", Some(kv_heads))?,
            head_dim: size_or_none("head_dim")?,
            rms_norm_eps: hub::number(config, "rms_norm_eps", Some(rms_norm_eps))?,
            rope_theta: theta,
            rope_scaling: match scaling {
                Some(scaling) => rope_scaling(config, scaling, trained)?,
                None => None,
            },
            max_position_embeddings: longest,
            tie_word_embeddings: hub::flag(config, "tie_word_embeddings", false)?,
        })
    }

    /// The `config.json` that `transformers` reads this model from.
    ///
    /// # Panics
    ///
    /// Never: a configuration is plain values.
    pub fn to_hugging_face(&self) -> Value {
        let architecture = match self.model_type {
            LanguageType::Phi3 => "Phi3ForCausalLM",
            LanguageType::Llama => "LlamaForCausalLM",
            LanguageType::Mistral => "MistralForCausalLM",
            LanguageType::Qwen2 => "Qwen2ForCausalLM",
        };
        let mut all = Map::new();
        all.insert("architectures".to_owned(), json!([architecture]));
        let own = serde_json::to_value(self).expect("a configuration is plain values");
        for (key, value) in own.as_object().into_iter().flatten() {
            all.insert(key.clone(), value.clone());
        }
        all.shift_remove("added_tokens");
        all.insert("hidden_act".to_owned(), json!("silu"));
        if self.model_type == LanguageType::Mistral || self.model_type == LanguageType::Phi3 {
            all.insert("sliding_window".to_owned(), Value::Null);
        }
        if let Some(RopeScaling::LongRope {
            short_factor,
            long_factor,
            original_max_position_embeddings,
            attention_factor,
        }) = &self.rope_scaling
        {
            // Phi3Config knows `type` alone, and keeps the length outside.
            let scaling = json!({
                "type": "longrope",
                "short_factor": short_factor,
                "long_factor": long_factor,
            });
            all.insert("rope_scaling".to_owned(), scaling);
            let original = *original_max_position_embeddings;
            all.insert(
                "original_max_position_embeddings".to_owned(),
                json!(original),
            );
            let usual = self
                .max_position_embeddings
                .map(|longest| RopeScaling::attention_factor(longest as f64, original as f64));
            if usual != Some(*attention_factor) {
                all["rope_scaling"]["attention_factor"] = json!(attention_factor);
            }
        }
        Value::Object(all)
    }
}

/// How the rotary embedding is stretched, in any of the spellings of published files.
fn rope_scaling(
    config: &Value,
    scaling: &Value,
    trained: Option<usize>,
) -> Result<Option<RopeScaling>, String> {
    let kind = scaling.get("rope_type").or_else(|| scaling.get("type"));
    let number = |key| hub::number(scaling, key, None);
    let key = "original_max_position_embeddings";
    let is_phi3 = config.get("model_type").is_some_and(|it| it == "phi3");
    let of_model = hub::size(config, key, Some(if is_phi3 { 4096 } else { 0 }))?;
    let original = |default| {
        hub::size(
            scaling,
            key,
            if of_model > 0 {
                Some(of_model)
            } else {
                default
            },
        )
    };
    let parsed = match kind.and_then(Value::as_str) {
        Some("default") => return Ok(None),
        Some("linear") => RopeScaling::Linear {
            factor: number("factor")?,
        },
        Some("llama3") => RopeScaling::Llama3 {
            factor: number("factor")?,
            low_freq_factor: number("low_freq_factor")?,
            high_freq_factor: number("high_freq_factor")?,
            original_max_position_embeddings: original(trained)?,
        },
        // "su" is what the first Phi-3 files called it.
        Some("longrope" | "su") => {
            let original = original(trained)?;
            // A length of the model's own goes before a factor, as in `transformers`, and stands for one.
            let longest = match trained {
                Some(trained) if of_model > 0 || scaling.get("factor").is_none() => trained as f64,
                _ => hub::number(scaling, "factor", Some(1.0))? * original as f64,
            };
            let usual = RopeScaling::attention_factor(longest, original as f64);
            RopeScaling::LongRope {
                short_factor: hub::numbers(scaling, "short_factor")?,
                long_factor: hub::numbers(scaling, "long_factor")?,
                original_max_position_embeddings: original,
                attention_factor: hub::number(scaling, "attention_factor", Some(usual))?,
            }
        }
        _ => {
            return Err(format!(
                "rope_scaling is of type {}; linear, llama3 and longrope are supported",
                kind.unwrap_or(&Value::Null)
            ));
        }
    };
    Ok(Some(parsed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_the_same() {
        let mut config = LanguageConfig::known("microsoft/Phi-3.5-mini-instruct").unwrap();
        for model_type in [
            LanguageType::Phi3,
            LanguageType::Llama,
            LanguageType::Mistral,
            LanguageType::Qwen2,
        ] {
            config.model_type = model_type;
            let read = LanguageConfig::from_hugging_face(&config.to_hugging_face());
            assert_eq!(read.as_ref(), Ok(&config));
        }
        config.model_type = LanguageType::Llama;
        config.rope_scaling = Some(RopeScaling::Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position_embeddings: 8192,
        });
        let read = LanguageConfig::from_hugging_face(&config.to_hugging_face());
        assert_eq!(read, Ok(config));
    }

    #[test]
    fn what_is_not_supported_is_named() {
        let phi = LanguageConfig::known("microsoft/Phi-3.5-mini-instruct").unwrap();
        for (key, value, expected) in [
            ("model_type", json!("gpt2"), "model_type is \"gpt2\""),
            ("hidden_act", json!("gelu"), "hidden_act is gelu"),
            ("attention_bias", json!(true), "attention_bias"),
            ("hidden_size", json!("wide"), "hidden_size is \"wide\""),
            ("rope_scaling", json!({"type": "yarn"}), "\"yarn\""),
            (
                "partial_rotary_factor",
                json!(0.75),
                "partial_rotary_factor",
            ),
        ] {
            let mut config = phi.to_hugging_face();
            config[key] = value;
            let fault = LanguageConfig::from_hugging_face(&config).unwrap_err();
            assert!(fault.contains(expected), "{fault}");
        }
    }

    #[test]
    fn both_places_of_rotary_settings_are_read() {
        let mut config = LanguageConfig::known("meta-llama/Llama-2-7b-hf").unwrap();
        config.rope_theta = 77.0;
        let old = config.to_hugging_face();
        let mut new = old.clone();
        new.as_object_mut().unwrap().shift_remove("rope_theta");
        new["rope_parameters"] = json!({"rope_type": "default", "rope_theta": 77.0});
        assert_eq!(LanguageConfig::from_hugging_face(&new), Ok(config));
        new["rope_parameters"]["partial_rotary_factor"] = json!(0.75);
        assert!(LanguageConfig::from_hugging_face(&new).is_err());
        new["rope_parameters"]["partial_rotary_factor"] = json!(1.0);
        new["rope_parameters"]["rope_type"] = json!("yarn");
        let fault = LanguageConfig::from_hugging_face(&new).unwrap_err();
        assert!(fault.contains("yarn"), "{fault}");
    }

    #[test]
    fn a_window_limits_the_length() {
        let mut config = LanguageConfig::known("microsoft/Phi-3.5-mini-instruct")
            .unwrap()
            .to_hugging_face();
        config["sliding_window"] = json!(2047);
        let read = LanguageConfig::from_hugging_face(&config).unwrap();
        assert_eq!(read.max_position_embeddings, Some(2047));
        // Not the stretch, which is from the length that the model was trained for.
        let whole = LanguageConfig::known("microsoft/Phi-3.5-mini-instruct").unwrap();
        assert_eq!(read.rope_scaling, whole.rope_scaling);
        // Mistral's default is a window, and null is none.
        let mistral = LanguageConfig::known("mistralai/Mistral-7B-v0.3").unwrap();
        let mut config = mistral.to_hugging_face();
        assert_eq!(LanguageConfig::from_hugging_face(&config), Ok(mistral));
        config
            .as_object_mut()
            .unwrap()
            .shift_remove("sliding_window");
        let read = LanguageConfig::from_hugging_face(&config).unwrap();
        assert_eq!(read.max_position_embeddings, Some(4096));
    }
}
