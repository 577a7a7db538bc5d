//! `aki data`.

mod bench;
mod check;
mod pack;
mod preview;
mod scenes;

use std::path::Path;

use aki_data::shards::PackOptions;
use aki_train::config::RunConfig;
use anyhow::Result;

use super::Done;
use crate::args::{DataCommand, RunArgs};

pub fn run(command: DataCommand) -> Result<Done> {
    match command {
        DataCommand::Preview {
            file,
            run,
            source,
            limit,
            json,
        } => {
            let (config, stage) = load(&super::run_file(file)?, run)?;
            preview::run(&config, stage.as_deref(), &source, limit, json)
        }
        DataCommand::Check {
            file,
            run,
            source,
            no_decode,
            json,
        } => {
            let (config, stage) = load(&file, run)?;
            check::run(&config, stage.as_deref(), &source, !no_decode, json)
        }
        DataCommand::Bench(args) => bench::run(args),
        DataCommand::Scenes(args) => scenes::run(&args),
        DataCommand::PackShards {
            input,
            out,
            images,
            samples,
            bytes,
            shuffle,
            max_bad_share,
        } => {
            let options = PackOptions {
                images,
                max_samples: samples,
                max_bytes: bytes,
                shuffle,
                max_bad_share,
                decode: true,
                ..PackOptions::default()
            };
            pack::run(&input, &out, &options)
        }
    }
}

/// The run, and the name of the stage that was asked for.
fn load(file: &Path, run: RunArgs) -> Result<(RunConfig, Option<String>)> {
    Ok((RunConfig::load(file, &run.set)?, run.stage))
}
