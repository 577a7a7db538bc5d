//! Modality-mutual attention: who may look at whom, and the engines that compute it.
//!
//! [`AttentionLayout`] holds the rule as `O(T)` integers, [`mma_attention`] computes attention under
//! it and [`MmaAttention`] is the module with projections, rotary embedding and cache:
//!
//! ```
//! # #[cfg(feature = "flex")] {
//! use aki_model::attention::{AttentionLayout, Document, MmaAttentionConfig, Policy};
//! use burn::tensor::{Device, Distribution, Tensor};
//!
//! let device = Device::flex();
//! let attention = MmaAttentionConfig::new(32, 4).with_kv_heads(2).with_rope(10_000.0).init(&device);
//! // One row: a system token, a picture of three tokens, a question of two, an answer of two.
//! let document = Document { tokens: 0..8, media: vec![1..4], question_end: Some(6) };
//! let layout = AttentionLayout::from_spans(Policy::Mma, 8, &[vec![document]])?;
//! let x_btd = Tensor::<3>::random([1, 8, 32], Distribution::Default, &device);
//! let y_btd = attention.forward(x_btd, &layout, None);
//! assert_eq!(y_btd.dims(), [1, 8, 32]);
//! # }
//! # Ok::<(), aki_model::attention::LayoutError>(())
//! ```

mod cache;
#[cfg(feature = "cube")]
pub(crate) mod cube;
mod engine;
#[cfg(feature = "flex")]
pub(crate) mod flex;
mod layout;
mod mma;
mod ops;
#[cfg(feature = "flex")]
mod projected;
pub mod reference;
mod rope;

pub use cache::{KvCache, LayerCache};
pub use engine::{Engine, Kernels, MAX_HEAD_DIM, mma_attention, mma_attention_with};
pub use layout::{
    AttentionLayout, Document, LayoutError, LayoutTable, Policy, Summary, Tile, ring_order,
};
pub use mma::{MmaAttention, MmaAttentionConfig};
pub use ops::AttentionOps;
pub use rope::{RopeScaling, RotaryConfig};
