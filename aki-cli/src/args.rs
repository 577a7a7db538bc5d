//! What can be typed.

use std::path::PathBuf;

use aki_model::attention::Policy;
use clap::builder::TypedValueParser;
use clap::{Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::device::DeviceChoice;

/// Train, question and look at modality-mutual-attention models.
///
/// In a multimodal language model the image tokens come first and, under a causal mask, never see
/// the question. Modality-mutual attention (MMA) lets them.
#[derive(Debug, Parser)]
#[command(name = "aki", bin_name = "aki", version, after_help = FIRST_STEPS)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

const FIRST_STEPS: &str = "\
First steps:
  aki train                      train a small AKI on the built-in pictures (CPU, some minutes)
  aki generate --model runs/easy-vqa --image picture.png --prompt \"What color is the shape?\"
  aki mask                       see what MMA changes";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train a model, or go on with a run that was stopped
    ///
    /// Everything about a run stands in one TOML file. Run the same command again to go on with a
    /// run that was stopped; Ctrl-C writes a checkpoint first.
    Train {
        /// The run file; the built-in easy-VQA run if left out
        file: Option<PathBuf>,
        /// Change a value of the run file, e.g. seed=2 or stage.questions.steps=100
        #[arg(long = "set", value_name = "KEY=VALUE")]
        set: Vec<String>,
        /// Where to compute: auto, cpu, wgpu, wgpu:1, cuda or cuda:1
        #[arg(long, default_value = "auto")]
        device: DeviceChoice,
        /// Burn's dashboard instead of progress bars
        #[arg(long)]
        tui: bool,
    },
    /// Answer one question about a picture
    Generate {
        #[command(flatten)]
        model: ModelArgs,
        /// The question
        #[arg(long, short, value_name = "TEXT")]
        prompt: String,
    },
    /// Ask questions about a picture, one after the other
    Chat {
        #[command(flatten)]
        model: ModelArgs,
    },
    /// Draw who may look at whom in a prompt
    ///
    /// Rows look at columns. Green: the causal part. Orange: what the policy unlocks beyond it.
    Mask {
        /// Which rule; causal, prefix and mma if left out
        #[arg(long)]
        policy: Option<PolicyArg>,
        /// The question
        #[arg(
            long,
            short,
            value_name = "TEXT",
            default_value = "What color is the shape?"
        )]
        prompt: String,
        /// An answer after the question
        #[arg(long, value_name = "TEXT", default_value = "blue")]
        answer: String,
        /// Image tokens
        #[arg(long, value_name = "N", default_value_t = 9, value_parser = clap::value_parser!(u16).range(1..=1024))]
        image_tokens: u16,
        /// Write the picture here as a PNG as well
        #[arg(long, value_name = "FILE")]
        png: Option<PathBuf>,
        /// A tokenizer.json; the built-in one if left out
        #[arg(long, value_name = "FILE")]
        tokenizer: Option<PathBuf>,
    },
    /// Time what the project is about
    Bench {
        #[command(subcommand)]
        command: BenchCommand,
    },
    /// Look at run files
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Print a shell's completion script
    ///
    /// For bash: aki completions bash > ~/.local/share/bash-completion/completions/aki
    Completions {
        /// The shell
        shell: Shell,
    },
}

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

fn count() -> impl TypedValueParser<Value = usize> {
    clap::value_parser!(u32)
        .range(1..=1 << 20)
        .map(|n| n as usize)
}

/// What is typed for a value.
pub fn name_of(value: impl ValueEnum) -> String {
    let value = value.to_possible_value().expect("no value is hidden");
    value.get_name().to_owned()
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

/// What numbers are computed in.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Dtype {
    F32,
    F16,
    Bf16,
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print a run file as it would be used, overrides laid over it and with paths made absolute
    Show {
        /// The run file; the built-in easy-VQA run if left out
        file: Option<PathBuf>,
        /// Change a value of the run file
        #[arg(long = "set", value_name = "KEY=VALUE")]
        set: Vec<String>,
    },
}

#[derive(Debug, clap::Args)]
pub struct ModelArgs {
    /// A model folder, or a run folder
    #[arg(long, short, value_name = "DIR")]
    pub model: PathBuf,
    /// The picture; leave it out to ask without one
    #[arg(long, short, value_name = "FILE")]
    pub image: Option<PathBuf>,
    /// Where to compute: auto, cpu, wgpu, wgpu:1, cuda or cuda:1
    #[arg(long, default_value = "auto")]
    pub device: DeviceChoice,
    /// Longest answer
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub max_new_tokens: usize,
    /// 0 takes the likeliest token, higher is wilder
    #[arg(long, value_name = "T", default_value_t = 0.0, value_parser = temperature, allow_hyphen_values = true)]
    pub temperature: f32,
    /// Draw from the likeliest tokens that make up this share
    #[arg(long, value_name = "P", default_value_t = 1.0, value_parser = share)]
    pub top_p: f32,
    /// Seed of the draws
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum PolicyArg {
    /// Every token sees what came before
    Causal,
    /// Every token sees everything
    Bidirectional,
    /// Everything up to the end of the question sees all of it
    Prefix,
    /// Causal, and the image sees the question
    Mma,
    /// Concentric causal: image tokens see their ring and those outside it
    Cca,
}

impl From<PolicyArg> for Policy {
    fn from(policy: PolicyArg) -> Self {
        match policy {
            PolicyArg::Causal => Self::Causal,
            PolicyArg::Bidirectional => Self::Bidirectional,
            PolicyArg::Prefix => Self::Prefix,
            PolicyArg::Mma => Self::Mma,
            PolicyArg::Cca => Self::Cca,
        }
    }
}

fn temperature(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(value) if value >= 0.0 && value.is_finite() => Ok(value),
        _ => Err("a number from 0 up is expected".to_owned()),
    }
}

fn share(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(value) if value > 0.0 && value <= 1.0 => Ok(value),
        _ => Err("a number above 0 and up to 1 is expected".to_owned()),
    }
}
