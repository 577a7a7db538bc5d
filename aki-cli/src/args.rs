//! What can be typed.

use std::path::PathBuf;

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
        /// Which rule; all three if left out
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
    Causal,
    Prefix,
    Mma,
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
