//! Generation: prefill the prompts under their layouts' rules, then one token at a time.

mod decode;
mod kept;
mod logprobs;
mod sampler;

pub(crate) use decode::tensor;
pub use decode::{
    Answer, Ended, GenerateOptions, Generation, Prompt, generate, generate_kept, generate_scored,
};
pub use kept::Kept;
pub use logprobs::Logprobs;
pub use sampler::{Sampler, Sampling};
