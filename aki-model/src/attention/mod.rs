//! Modality-mutual attention: who may look at whom, and the engines that compute it.

mod cache;
#[cfg(feature = "cube")]
mod cube;
mod engine;
#[cfg(feature = "flex")]
mod flex;
mod layout;
mod mma;
mod ops;
pub mod reference;
mod rope;

pub use cache::{KvCache, LayerCache};
pub use engine::{Engine, Kernels, MAX_HEAD_DIM, mma_attention, mma_attention_with};
pub use layout::{AttentionLayout, Document, LayoutError, LayoutTable, Policy, Tile, ring_order};
pub use mma::{MmaAttention, MmaAttentionConfig};
pub use ops::AttentionOps;
pub use rope::RotaryConfig;
