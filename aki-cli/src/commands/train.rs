//! `aki train`.

use std::io::{IsTerminal, Write};
use std::path::Path;

use aki_data::Picture;
use aki_train::config::RunConfig;
use aki_train::report::{Example, Report};
use aki_train::run::{Outcome, RunOptions, train};
use anyhow::Result;
use burn::train::Interrupter;
use burn::train::renderer::MetricsRenderer;
use burn::train::renderer::tui::TuiMetricsRendererWrapper;

use super::Done;
use crate::device::DeviceChoice;
use crate::terminal;

pub fn run(file: &Path, set: &[String], device: DeviceChoice, tui: bool) -> Result<Done> {
    let config = RunConfig::load(file, set)?;
    let (device, device_name) = device.open()?;
    let interrupter = Interrupter::new();
    stop_on_ctrl_c(interrupter.clone());
    let tui = tui && {
        let terminal = std::io::stdout().is_terminal();
        if !terminal {
            eprintln!("--tui is left out: the output is no terminal");
        }
        terminal
    };
    let renderer: fn(Interrupter) -> Box<dyn MetricsRenderer> =
        |interrupter| Box::new(TuiMetricsRendererWrapper::new(interrupter, None));
    let options = RunOptions {
        device,
        device_name,
        interrupter,
        renderer: tui.then_some(renderer),
        notice: |text| eprintln!("{text}"),
    };
    let run_dir = &config.run_dir;
    eprintln!(
        "training on {} in {}",
        options.device_name,
        run_dir.display()
    );
    match train(&config, &options)? {
        Outcome::Interrupted { stage } => {
            eprintln!("\nstopped in {stage}; the same command goes on from here");
            Ok(Done::Interrupted)
        }
        Outcome::Complete { report, fresh } => {
            if !fresh {
                eprintln!(
                    "this run is complete; to train anew, delete {} or choose another with --set run_dir=...",
                    run_dir.display()
                );
            }
            show(&report, run_dir)?;
            Ok(Done::Finished)
        }
    }
}

/// The first Ctrl-C ends the run in order, a second one at once.
fn stop_on_ctrl_c(interrupter: Interrupter) {
    let handler = move || {
        if interrupter.should_stop() {
            std::process::exit(i32::from(crate::INTERRUPTED));
        }
        interrupter.stop(Some("stopped by the user"));
        eprintln!("\nstopping after this step (Ctrl-C again: at once)");
    };
    // Without a handler Ctrl-C simply ends the program; the last checkpoint stays.
    if let Err(error) = ctrlc::set_handler(handler) {
        eprintln!("Ctrl-C will not write a checkpoint: {error}");
    }
}

fn show(report: &Report, run_dir: &Path) -> Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "\n{}", report.table())?;
    for example in &report.examples {
        if let Ok(picture) = Picture::open(&run_dir.join(&example.picture)) {
            write!(out, "{}", terminal::picture(&picture.resize(24, 24)))?;
        }
        let Example {
            question,
            answer,
            truth,
            ..
        } = example;
        writeln!(out, "{question}\n  answer: {answer}    truth: {truth}\n")?;
    }
    writeln!(
        out,
        "{:.0} s of training; report: {}\nask it: aki generate --model {} --image FILE --prompt TEXT",
        report.seconds,
        run_dir.join("report.md").display(),
        run_dir.display()
    )?;
    Ok(())
}
