//! Weights in and out, under the names of the published checkpoint.

mod names;
mod safetensors;

pub use safetensors::{WeightsError, load, save};
