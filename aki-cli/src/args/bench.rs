//! What can be typed after `aki bench`.

use std::path::PathBuf;

use clap::builder::TypedValueParser;
use clap::{Subcommand, ValueEnum};

use super::quantize::TypedBits;
use super::values::{Dtype, PolicyArg};
use crate::device::DeviceChoice;

#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Attention forward and backward, the fused engine beside its rivals
    ///
    /// The engines take turns in one process, after a round that warms up. The sequence is a system
    /// line of 40 tokens, a picture, and text of which the first half is the question.
    Attention {
        #[command(flatten)]
        shape: BenchShape,
        /// One JSON object an engine, with the times of all rounds
        #[arg(long)]
        json: bool,
    },
    /// Prefill and decoding of a language model, and what share of the memory's speed decoding reaches
    ///
    /// scripts/bench-generate puts PyTorch with transformers beside it, and scripts/bench-llama-cpp llama.cpp.
    Generate {
        #[command(flatten)]
        args: BenchGenerate,
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// Steps of training: forward, backward and optimizer
    ///
    /// Each row is a system line of 40 tokens, a picture, and text of which the second half is the answer
    /// that is learned. The vision tower is frozen. scripts/bench-train puts PyTorch beside it.
    Train {
        #[command(flatten)]
        args: BenchTrain,
        /// One JSON object, with the times of all steps
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, clap::Args)]
pub struct BenchTrain {
    /// The network's shape: aki-4b, aki-small, aki-medium or aki-tiny
    #[arg(long, value_name = "PRESET", default_value = "aki-medium")]
    pub preset: String,
    /// Keep this many of the decoder's blocks and of the vision tower's
    #[arg(long, value_name = "N", value_parser = count())]
    pub layers: Option<usize>,
    /// Rows in the batch, each with a picture
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = count())]
    pub batch: usize,
    /// Tokens of a row beside those of its picture
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = count())]
    pub text: usize,
    /// Threads, each of which gets a part of the batch
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = count())]
    pub threads: usize,
    /// What weights and activations are held in
    #[arg(long, default_value = "f32")]
    pub dtype: Dtype,
    /// Where to compute: auto, cpu, wgpu, wgpu:1, cuda or cuda:1
    #[arg(long, default_value = "auto")]
    pub device: DeviceChoice,
    /// Steps that count
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = count())]
    pub steps: usize,
    /// Leave the drawn weights in this folder, for others to begin with
    #[arg(long, value_name = "DIR")]
    pub weights: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub struct BenchGenerate {
    /// A model folder; weights are drawn for the shape below if left out
    #[arg(long, short, value_name = "DIR", conflicts_with_all = ["hidden", "intermediate", "layers", "heads", "kv_heads", "vocab"])]
    pub model: Option<PathBuf>,
    /// A network's shape, with drawn weights: aki-4b, aki-small, aki-medium or aki-tiny
    #[arg(long, value_name = "PRESET", conflicts_with_all = ["model", "hidden", "intermediate", "layers", "heads", "kv_heads", "vocab"])]
    pub preset: Option<String>,
    /// Width of the tokens
    #[arg(long, value_name = "N", default_value_t = 768, value_parser = count())]
    pub hidden: usize,
    /// Width inside the feed-forward layers
    #[arg(long, value_name = "N", default_value_t = 2048, value_parser = count())]
    pub intermediate: usize,
    /// Decoder blocks
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = count())]
    pub layers: usize,
    /// Query heads
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = count())]
    pub heads: usize,
    /// Key and value heads; as many as query heads if left out
    #[arg(long, value_name = "N", value_parser = count())]
    pub kv_heads: Option<usize>,
    /// Words of the vocabulary
    #[arg(long, value_name = "N", default_value_t = 32064, value_parser = count())]
    pub vocab: usize,
    /// Tokens of a prompt
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = count())]
    pub prompt: usize,
    /// Tokens of an answer
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(2..=1 << 20).map(|n| n as usize))]
    pub new_tokens: usize,
    /// Prompts at a time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = count())]
    pub batch: usize,
    /// Pack the drawn matrices as aki quantize does
    #[arg(long, conflicts_with = "model")]
    pub bits: Option<TypedBits>,
    /// What numbers are computed in
    #[arg(long, default_value = "f32")]
    pub dtype: Dtype,
    /// Where to compute: auto, cpu, wgpu, wgpu:1, cuda or cuda:1
    #[arg(long, default_value = "auto")]
    pub device: DeviceChoice,
    /// Rounds that count
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = count())]
    pub runs: usize,
}

#[derive(Debug, clap::Args)]
pub struct BenchShape {
    /// Rows in the batch
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = count())]
    pub batch: usize,
    /// Tokens in a row
    #[arg(long, value_name = "N", default_value_t = 656, value_parser = count())]
    pub tokens: usize,
    /// Image tokens among them
    #[arg(long, value_name = "N", default_value_t = 144, value_parser = clap::value_parser!(u32).range(0..=1 << 20).map(|n| n as usize))]
    pub image_tokens: usize,
    /// Query heads
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = count())]
    pub heads: usize,
    /// Key and value heads; as many as query heads if left out
    #[arg(long, value_name = "N", value_parser = count())]
    pub kv_heads: Option<usize>,
    /// Channels of a head
    #[arg(long, value_name = "N", default_value_t = 96, value_parser = count())]
    pub head_dim: usize,
    /// Which rule
    #[arg(long, default_value = "mma")]
    pub policy: PolicyArg,
    /// What numbers are computed in
    #[arg(long, default_value = "f32")]
    pub dtype: Dtype,
    /// Where to compute: auto, cpu, wgpu, wgpu:1, cuda or cuda:1
    #[arg(long, default_value = "auto")]
    pub device: DeviceChoice,
    /// Who takes part
    #[arg(long, value_delimiter = ',', default_value = "fused,reference,burn")]
    pub engines: Vec<BenchEngine>,
    /// Rounds that count
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = count())]
    pub runs: usize,
}

pub(super) fn count() -> impl TypedValueParser<Value = usize> {
    clap::value_parser!(u32)
        .range(1..=1 << 20)
        .map(|n| n as usize)
}

/// Who takes part in a benchmark of attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BenchEngine {
    /// The device's fused engine
    Fused,
    /// The fused kernels for any GPU
    Plain,
    /// The fused kernels on tensor cores
    TensorCore,
    /// The dense oracle
    Reference,
    /// Burn's own attention with a dense mask
    Burn,
}
