//! Generation: prefill the prompt under the layout's rule, then one token at a time.

mod decode;
mod sampler;

pub use decode::{Prompt, generate};
pub use sampler::{Sampler, Sampling};
