//! One command a file.

mod bench;
mod chat;
mod config;
mod convert;
mod data;
mod doctor;
mod eval;
mod generate;
mod inspect;
mod mask;
mod new_folder;
mod plan;
mod probe;
mod quantize;
mod runs;
mod serve;
mod session;
mod study;
mod train;

use std::io::Write;
use std::path::{Path, PathBuf};

use aki_model::AkiConfig;
use aki_train::folder::ModelFolder;
use anyhow::{Context, Result, bail};
use clap::CommandFactory;

use crate::args::{Args, BenchCommand, Command, Dtype, InspectCommand};
use crate::device::DeviceChoice;

/// What is told where no client for HTTP can be made.
pub const NO_CLIENT: &str =
    "HTTPS is not possible; install the certificates that this system trusts (ca-certificates)";

/// How a command ended.
pub enum Done {
    Finished,
    /// It was carried out, and what was looked at is not good.
    Unfit,
    Interrupted,
}

/// Carries out what was typed.
pub fn run(args: Args) -> Result<Done> {
    match args.command {
        Command::Train(args) => return train::run(args),
        Command::Plan(args) => return plan::run(args),
        Command::Generate {
            model,
            prompt,
            raw_prompt,
            stop,
            stop_token,
            json,
            dump_logits,
        } => generate::run(&generate::Request {
            model: &model,
            prompt: &prompt,
            raw_prompt,
            stop: &stop,
            stop_tokens: &stop_token,
            json,
            dump_logits: dump_logits.as_deref(),
        })?,
        Command::Chat { model } => chat::run(&model)?,
        Command::Serve(args) => return serve::run(args),
        Command::Doctor { probe: true, .. } => doctor::answer()?,
        Command::Doctor { model, json, .. } => return doctor::run(model.as_deref(), json),
        Command::Convert { paths, how } => convert::run(&paths, &how)?,
        Command::Quantize(args) => quantize::run(&args)?,
        Command::Eval(args) => return eval::run(&args),
        Command::Inspect {
            command: InspectCommand::Model { folder, json },
        } => inspect::model(&folder, json)?,
        Command::Probe {
            model,
            samples,
            grad_norms,
            json,
            dtype,
            device,
        } => probe::run(&model, &samples, grad_norms, json, dtype, device)?,
        Command::Mask {
            policy,
            prompt,
            answer,
            image_tokens,
            png,
            tokenizer,
        } => {
            let tokenizer = match tokenizer {
                Some(file) => file,
                None => asset("easy-vqa/tokenizer.json")?,
            };
            let media = usize::from(image_tokens);
            mask::run(policy, &prompt, &answer, media, png.as_deref(), &tokenizer)?;
        }
        Command::Bench {
            command: BenchCommand::Attention { shape, json },
        } => bench::attention::run(&shape, json)?,
        Command::Bench {
            command: BenchCommand::Generate { args, json },
        } => bench::generate::run(&args, json)?,
        Command::Bench {
            command: BenchCommand::Train { args, json },
        } => bench::train::run(&args, json)?,
        Command::Data { command } => return data::run(command),
        Command::Study { command } => return study::run(command),
        Command::Runs(args) => runs::run(&args)?,
        Command::Config { command } => config::run(command)?,
        Command::Completions { shell } => {
            // Into memory first: the generator panics where a pipe is closed.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "aki", &mut script);
            std::io::stdout().write_all(&script)?;
        }
    }
    Ok(Done::Finished)
}

/// A model where `device` says, and what that is called.
fn open_model(
    model: &Path,
    dtype: Option<Dtype>,
    chat_template: bool,
    device: DeviceChoice,
) -> Result<(ModelFolder, String)> {
    let (device, name) = device.open()?;
    let mut model = ModelFolder::load(model, dtype.map(Into::into), &device)?;
    if chat_template {
        model.use_chat_template()?;
    }
    Ok((model, name))
}

/// The run file, or the built-in one.
fn run_file(file: Option<PathBuf>) -> Result<PathBuf> {
    file.map_or_else(|| asset("configs/easy-vqa.toml"), Ok)
}

/// A network's shape by its name.
fn preset(name: &str) -> Result<AkiConfig> {
    let presets = AkiConfig::PRESETS.join(", ");
    AkiConfig::preset(name).with_context(|| format!("no preset {name}; there are {presets}"))
}

/// A file that comes with aki: in `assets` of the working folder, of one above it, or beside the
/// program.
fn asset(name: &str) -> Result<PathBuf> {
    let working = std::env::current_dir().unwrap_or_default();
    let program = std::env::current_exe().unwrap_or_default();
    let mut folders = working.ancestors().chain(program.ancestors());
    match folders.find(|folder| folder.join("assets").join(name).is_file()) {
        Some(folder) => Ok(folder.join("assets").join(name)),
        None => bail!(
            "assets/{name} is neither in this folder, nor above it, nor beside the program; run aki in its repository, or name the file"
        ),
    }
}
