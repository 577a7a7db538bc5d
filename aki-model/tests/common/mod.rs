//! What the integration tests share.

use aki_model::AkiConfig;
use aki_model::language::{LanguageConfig, LanguageType};
use aki_model::resampler::ResamplerConfig;
use aki_model::vision::{VisionConfig, VisionType};

/// A network of a few thousand weights with every part.
pub fn tiny() -> AkiConfig {
    AkiConfig {
        vision: VisionConfig {
            model_type: VisionType::Siglip,
            image_size: 12,
            patch_size: 4,
            hidden_size: 16,
            intermediate_size: 24,
            num_hidden_layers: 2,
            num_attention_heads: 2,
            layer_norm_eps: 1e-6,
            hidden_act: None,
            vision_use_head: false,
        },
        projector: None,
        resampler: Some(ResamplerConfig {
            depth: 2,
            heads: 2,
            head_dim: 8,
            num_latents: 3,
        }),
        language: LanguageConfig {
            model_type: LanguageType::Phi3,
            vocab_size: 22,
            added_tokens: 2,
            hidden_size: 24,
            intermediate_size: 32,
            num_hidden_layers: 2,
            num_attention_heads: 4,
            num_key_value_heads: 2,
            rms_norm_eps: 1e-5,
            head_dim: None,
            rope_theta: 10_000.0,
            rope_scaling: None,
            max_position_embeddings: None,
            tie_word_embeddings: false,
        },
    }
}
