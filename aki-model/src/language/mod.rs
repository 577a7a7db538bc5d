//! The language model: one decoder for Phi-3, Llama, Mistral and Qwen2, with AKI's decoupled embedding
//! and head.

mod carry;
mod config;
mod decoder;
mod embedding;
mod hugging_face;
mod known;
mod loss;
mod recompute;

pub use config::{LanguageConfig, LanguageType};
pub use decoder::LanguageModel;
pub use embedding::{DecoupledEmbedding, DecoupledHead};
pub use loss::Scores;
pub use recompute::Trail;
