//! The language model: Phi-3's decoder with AKI's decoupled embedding and head.

mod config;
mod decoder;
mod embedding;

pub use config::LanguageConfig;
pub use decoder::LanguageModel;
pub use embedding::{DecoupledEmbedding, DecoupledHead};
