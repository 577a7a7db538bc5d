//! What can be typed.

mod bench;
mod convert;
mod data;
mod eval;
mod model;
mod plan;
mod quantize;
mod runs;
mod serve;
mod study;
mod train;
mod values;

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use clap_complete::Shell;

pub use bench::{BenchCommand, BenchEngine, BenchGenerate, BenchShape, BenchTrain};
pub use convert::ConvertArgs;
pub use data::{DataBench, DataCommand, RunArgs, ScenesArgs};
pub use eval::{EvalArgs, EvalCommand, JudgeArgs, Named};
pub use model::ModelArgs;
pub use plan::PlanArgs;
pub use quantize::QuantizeArgs;
pub use runs::{RUNS, RunsArgs, RunsCommand};
pub use serve::ServeArgs;
pub use study::{StudyCommand, Table1Args};
pub use train::TrainArgs;
pub use values::{Dtype, PolicyArg, name_of};

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
  aki train                      train a small AKI on the built-in pictures (CPU, half an hour)
  aki generate --model runs/easy-vqa --image picture.png --prompt \"What color is the shape?\"
  aki mask                       see what MMA changes";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train a model, or go on with a run that was stopped
    ///
    /// Everything about a run stands in one TOML file. Run the same command again to go on with a
    /// run that was stopped; Ctrl-C and SIGTERM write a checkpoint first.
    Train(TrainArgs),
    /// What a run takes before it is begun: memory by part, steps, tokens, operations, time
    ///
    /// Nothing is read but the run file. With --gpu it says whether a card of that size will do, 5 % of it kept
    /// back, and what to change if not: then its exit code is 1.
    Plan(PlanArgs),
    /// Answer one question about a picture, or about several
    ///
    /// With --json the answer comes as one object: the prompt's ids as the tokenizer gives them, the number
    /// of tokens with the pictures' put in place, the answer's ids (without the token that ended it) and text,
    /// why it ended, and seconds.
    Generate {
        #[command(flatten)]
        model: ModelArgs,
        /// The question
        #[arg(long, short, value_name = "TEXT", allow_hyphen_values = true)]
        prompt: String,
        /// Take the prompt as it is, special tokens and `<image>` spelled out in it
        #[arg(long)]
        raw_prompt: bool,
        /// End the answer before this text; may be given several times
        #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
        stop: Vec<String>,
        /// End the answer at this token as well; may be given several times
        #[arg(long, value_name = "ID")]
        stop_token: Vec<u32>,
        /// One JSON object in place of the text
        #[arg(long)]
        json: bool,
        /// Write the logits after each token of the prompt here, as tensor "logits" [tokens, vocabulary]
        #[arg(long, value_name = "FILE.safetensors")]
        dump_logits: Option<PathBuf>,
    },
    /// Talk about pictures: each question sees those before it, and their answers
    ///
    /// Pictures given with --image belong to the first question; `:image FILE` adds one to the next, and `:help`
    /// tells the other commands. Ctrl-C stops an answer. Where a conversation outgrows the model, its oldest
    /// turns are left out, and that is told. Questions may come through a pipe as well, one a line.
    Chat {
        #[command(flatten)]
        model: ModelArgs,
    },
    /// Serve a model over HTTP, for OpenAI's clients and for a browser
    ///
    /// When it is ready it prints `serving NAME on http://HOST:PORT`. Answers are made one at a time; requests
    /// wait in a queue. Pictures are sent as data URIs; addresses are
    /// fetched from the hosts of --images-from alone. With a key, all but / and
    /// /health wants it. Bound to loopback, it answers only requests to localhost and loopback addresses, and
    /// pages of other origins never. Asked to end (Ctrl-C, SIGTERM), it takes no more requests and lets answers
    /// go on for a while; a second Ctrl-C ends it at once.
    Serve(ServeArgs),
    /// What this machine has for aki: processor, GPUs, memory, and what is wrong
    ///
    /// Each problem comes with one line of advice. The exit code is 1 where nothing can be computed, or
    /// where the model asked about does not fit.
    Doctor {
        /// Whether this model folder, or run folder, fits as well
        #[arg(long, short, value_name = "DIR")]
        model: Option<PathBuf>,
        /// One JSON object in place of a table
        #[arg(long)]
        json: bool,
        /// Ask the drivers in this process; what the command starts for itself
        #[arg(long, hide = true)]
        probe: bool,
    },
    /// Write a checkpoint anew: other numbers, other shards, parts put together
    ///
    /// FROM is a model folder, a run's, a checkpoint of a run (RUN/checkpoints/STAGE/STEP), or a training
    /// checkpoint of the original (.pt) beside a config.json. The
    /// folder written is one that the PyTorch original reads too. To start a pre-training, leave FROM out
    /// and give --vision and --language, the folders of a SigLIP or CLIP model and of a language model:
    /// what the two lack is drawn.
    Convert {
        /// FROM and OUT, or OUT alone with --random, or with --vision and --language
        #[arg(value_names = ["FROM", "OUT"], num_args = 1..=2, required = true)]
        paths: Vec<PathBuf>,
        #[command(flatten)]
        how: ConvertArgs,
    },
    /// Write a model anew with its matrices in 8 or 4 bits a number
    ///
    /// They lie in blocks of 32 numbers with a scale each. What is written is a model folder like any other, for use and
    /// not for training; `aki convert` unpacks it. With 4 bits the decoder's blocks get them, and the language head, the vision tower and the
    /// resampler or projector 8. Embeddings, norms and biases stay as they are.
    Quantize(QuantizeArgs),
    /// Measure a model on benchmarks, or compare what two models came to
    ///
    /// easy-vqa is built in and takes no decoding: the share of right answers, and the perplexity of the true
    /// ones. Of the others `--list` tells the files to put into --data. Answers are written as they come, and
    /// the same command goes on where it was stopped. docs/evaluation.md tells the rest.
    Eval(EvalArgs),
    /// Look at a model
    Inspect {
        #[command(subcommand)]
        command: InspectCommand,
    },
    /// Show what training would see of some samples: ids, labels, losses, gradients
    ///
    /// Each line of the file is {"image": path or null, "text": full training text}, or {"image":..,
    /// "prompt":.., "answer":..}, or {"image":.., "caption":..}. All lines are one batch.
    Probe {
        /// A model folder, a run folder, or a checkpoint of a run
        #[arg(long, short, value_name = "DIR")]
        model: PathBuf,
        /// Samples, one JSON object a line
        #[arg(long, value_name = "FILE.jsonl")]
        samples: PathBuf,
        /// Also the norm of the loss's gradient for each parameter
        #[arg(long)]
        grad_norms: bool,
        /// One JSON object in place of a table
        #[arg(long)]
        json: bool,
        /// What numbers are computed in
        #[arg(long, default_value = "f32")]
        dtype: Dtype,
        /// Where to compute: auto, cpu, wgpu, wgpu:1, cuda or cuda:1
        #[arg(long, default_value = "auto")]
        device: DeviceChoice,
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
    /// Look at the data of a run, or pack data into shards
    Data {
        #[command(subcommand)]
        command: DataCommand,
    },
    /// Train systems that differ in one thing, and compare them
    Study {
        #[command(subcommand)]
        command: StudyCommand,
    },
    /// Look at runs: list them, compare them, find their best checkpoints, remove old ones
    ///
    /// A run is complete, running (a process trains in its folder) or stopped. Losses and accuracies are
    /// those of the stage it came to: the training loss of the last 50 steps, and what was measured last on
    /// the samples set aside.
    Runs(RunsArgs),
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
pub enum InspectCommand {
    /// Its parts, how many parameters they have, and the memory they take
    Model {
        /// A model folder
        folder: PathBuf,
        /// One JSON object in place of a table
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Make a run file of the original's Hydra configuration of instruction tuning
    ///
    /// FILE is its sft.yaml, beside which the files of its `defaults` list are. What a run file has no
    /// room for stands at the end of it in comments, and is told.
    Import {
        /// The YAML file
        #[arg(value_name = "FILE.yaml")]
        file: PathBuf,
        /// Write the run file here, which must not exist yet; stdout if left out
        #[arg(long, short, value_name = "RUN.toml")]
        out: Option<PathBuf>,
    },
    /// Print a run file as it would be used, overrides laid over it and with all paths but `run_dir` made absolute
    Show {
        /// The run file; the built-in easy-VQA run if left out
        file: Option<PathBuf>,
        /// Change a value of the run file
        #[arg(long = "set", value_name = "KEY=VALUE")]
        set: Vec<String>,
    },
}
