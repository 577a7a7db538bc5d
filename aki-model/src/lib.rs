//! The AKI network: tensors in, tensors out.
//!
//! A decoder-only multimodal language model puts image tokens first and text after, under a causal
//! mask, so image tokens never see the question. **Modality-mutual attention** (MMA) lets image
//! rows look at the question's columns, with no new parameters. The rule lives in one place,
//! [`attention::AttentionLayout`].
//!
//! What is here: [`attention`] (the rule, the engines and the [`attention::MmaAttention`] module),
//! [`vision`] (SigLIP, CLIP), [`resampler`] and [`projector`] (from patches to media tokens),
//! [`language`] (the decoder), [`fused`] (operations of its blocks), [`Aki`] (the three put together),
//! [`adapters`], [`generate`], [`view`] (who looks at whom), [`weights`] and [`flops`] (how much it all computes).
//!
//! This crate opens no file but weights, prints nothing, and enables no Burn backend: the program
//! that uses it chooses some by the features `flex`, `wgpu` and `cuda`, each of which also adds the
//! fused attention engine for that backend.
//!
//! Tensor names carry their axes as a suffix: `b` batch row, `t` query token, `s` key token,
//! `h` head, `d` width, `n` picture, `l` latent, `p` patch.

// Without a backend the engines' seam has no other side.
#![cfg_attr(
    not(any(feature = "flex", feature = "cube")),
    allow(unused_imports, unused_variables)
)]

pub mod adapters;
pub mod aki;
pub mod attention;
mod backward;
pub mod config;
mod device;
pub mod flops;
pub mod fused;
pub mod generate;
mod hub;
pub mod language;
mod linear;
pub mod projector;
pub mod resampler;
mod sizes;
pub mod view;
pub mod vision;
pub mod weights;

pub use aki::{Aki, MediaSpan};
pub use config::AkiConfig;
pub use device::is_cpu;
pub use linear::{linear, project};
