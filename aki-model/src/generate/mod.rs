//! Generation: prefill the prompts under their layouts' rules, then one token at a time.

mod decode;
mod sampler;

pub use decode::{Answer, Ended, GenerateOptions, Generation, Prompt, generate};
pub use sampler::{Sampler, Sampling};
