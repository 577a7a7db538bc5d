//! Modality-mutual attention: who may look at whom, and the engines that compute it.

mod cache;
mod document;
mod engine;
mod layout;
mod mma;
pub mod reference;
mod rope;

pub use cache::{KvCache, LayerCache};
pub use document::{Document, LayoutError};
pub use engine::mma_attention;
pub use layout::{AttentionLayout, Policy};
pub use mma::{MmaAttention, MmaAttentionConfig};
pub use rope::{RotaryConfig, RotaryTable};
