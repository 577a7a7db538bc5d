//! Weights in and out, under the names of the published checkpoint.

mod cast;
mod checkpoint;
mod convert;
mod draw;
mod error;
mod fit;
mod gradients;
mod load;
mod names;
mod peft;
mod quantization;
mod quantize;
mod save;
mod size;

pub use crate::linear::Bits;
pub use checkpoint::{Checkpoint, Stored};
pub use convert::{Conversion, Written};
pub use error::{Faults, WeightsError};
pub use fit::check;
pub use gradients::gradient_norms;
pub use load::{load, load_module};
pub use names::{Parameter, Projections, parameters};
pub use peft::{load_adapters, save_adapters};
pub use quantization::Quantization;
pub use quantize::{PackedPart, Quantize, Quantized};
pub use save::{save, save_tensor};
