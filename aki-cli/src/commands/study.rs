//! `aki study`.

use std::io::Write;

use aki_train::distributed::Ranks;
use aki_train::run::{Begin, RunOptions};
use aki_train::study::{Studied, Study, run as carry_out};
use anyhow::Result;
use burn::train::Interrupter;

use super::train::{stop_when_asked, tell};
use super::{Done, asset};
use crate::args::{StudyCommand, Table1Args};
use crate::memory;

/// What `--quick` lays over the run file, below `--set`.
const QUICK: [&str; 5] = [
    "stage.captions.steps=300",
    "stage.questions.steps=300",
    "stage.captions.evaluate_every=100",
    "stage.questions.evaluate_every=100",
    "evaluation.samples=500",
];

pub fn run(command: StudyCommand) -> Result<Done> {
    let StudyCommand::Table1(args) = command;
    table1(args)
}

fn table1(args: Table1Args) -> Result<Done> {
    memory::keep();
    let quick = QUICK.iter().filter(|_| args.quick).map(|&it| it.to_owned());
    let (seeds, out) = match args.quick {
        true => (1, "runs/table1-quick"),
        false => (3, "runs/table1"),
    };
    let study = Study {
        rows: args.rows,
        data: args.data,
        seeds: args.seeds.unwrap_or(seeds),
        base: asset("configs/table1/small.toml")?,
        settings: quick.chain(args.set).collect(),
        out: args.out.unwrap_or_else(|| out.into()),
    };
    let (device, device_name) = args.device.open()?;
    let interrupter = Interrupter::new();
    stop_when_asked(interrupter.clone(), true);
    tell(&format!(
        "training on {device_name} in {}",
        study.out.display()
    ));
    let options = RunOptions {
        device,
        device_name,
        tflops: None,
        interrupter,
        renderer: None,
        begin: Begin::Resume,
        notice: tell,
        ranks: Ranks::ALONE,
    };
    match carry_out(&study, &options)? {
        Studied::Interrupted(run) => {
            tell(&format!(
                "\nstopped in {run}; the same command goes on from here"
            ));
            Ok(Done::Interrupted)
        }
        Studied::Complete(table) => {
            let mut out = std::io::stdout();
            for data in &table.data {
                writeln!(out, "\n{}\n\n{}", data.data, data.table())?;
            }
            let page = study.out.join("table1.md");
            writeln!(out, "what was found: {}", page.display())?;
            Ok(Done::Finished)
        }
    }
}
