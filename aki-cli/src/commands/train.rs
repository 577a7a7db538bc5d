//! `aki train`.

use std::io::{IsTerminal, Write};
use std::path::Path;

use aki_data::Picture;
use aki_train::config::RunConfig;
use aki_train::distributed::{Ranks, World};
use aki_train::report::{Example, Report};
use aki_train::run::{Begin, Outcome, RunOptions, train};
use anyhow::Result;
use burn::train::Interrupter;
use burn::train::renderer::MetricsRenderer;
use burn::train::renderer::tui::TuiMetricsRendererWrapper;

use super::{Done, run_file};
use crate::args::TrainArgs;
use crate::{memory, signals, terminal};

pub fn run(args: TrainArgs) -> Result<Done> {
    memory::keep();
    let world = World::join()?;
    let ranks = world.ranks();
    match run_as(ranks, args) {
        Err(error) if ranks.are_several() => world.end_all(|| {
            if ranks.is_first() {
                return crate::tell(&error);
            }
            crate::tell(&error.context(format!("rank {}", ranks.rank())))
        }),
        done => done,
    }
}

/// As one of the ranks; the first one tells how it goes.
fn run_as(ranks: Ranks, args: TrainArgs) -> Result<Done> {
    let begin = args.begin();
    let config = RunConfig::load(&run_file(args.file)?, &args.set)?;
    let (device, device_name) = args.device.open_beside(ranks.local_rank())?;
    let interrupter = Interrupter::new();
    stop_when_asked(interrupter.clone(), ranks.is_first());
    let tui = args.tui && ranks.is_first() && {
        let terminal = std::io::stdout().is_terminal();
        if !terminal {
            say!("--tui is left out: the output is no terminal");
        }
        terminal
    };
    let renderer: fn(Interrupter) -> Box<dyn MetricsRenderer> =
        |interrupter| Box::new(TuiMetricsRendererWrapper::new(interrupter, None));
    let options = RunOptions {
        device,
        device_name,
        tflops: args.tflops,
        interrupter,
        renderer: tui.then_some(renderer),
        begin,
        notice: match ranks.is_first() {
            true => tell,
            false => |_| {},
        },
        ranks,
    };
    let run_dir = &config.run_dir;
    let several = match ranks.world_size() {
        1 => String::new(),
        ranks => format!(", {ranks} ranks"),
    };
    (options.notice)(&format!(
        "training on {} in {}{several}",
        options.device_name,
        run_dir.display()
    ));
    if !aki_model::is_cpu(&options.device) {
        (options.notice)(
            "kernels that are not there yet are compiled first, which can take minutes",
        );
    }
    match train(&config, &options)? {
        Outcome::Helped => Ok(Done::Finished),
        Outcome::Interrupted { stage } => {
            let without = match &options.begin {
                Begin::Resume => "",
                Begin::Fresh => " without --fresh",
                Begin::From(_) => " without --from",
            };
            (options.notice)(&format!(
                "\nstopped in {stage}; the same command{without} goes on from here"
            ));
            Ok(Done::Interrupted)
        }
        Outcome::Complete { report, fresh } => {
            if !fresh {
                say!(
                    "this run is complete; --fresh trains anew, --set run_dir=... in another folder"
                );
            }
            show(&report, run_dir)?;
            Ok(Done::Finished)
        }
    }
}

/// Says it, unless the terminal has gone.
pub(super) fn tell(text: &str) {
    say!("{text}");
}

/// The first signal ends the run in order, a Ctrl-C a second later at once.
pub(super) fn stop_when_asked(interrupter: Interrupter, told: bool) {
    let stop = move || {
        interrupter.stop(Some("stopped by the user"));
        if told {
            tell("\nstopping after this step (Ctrl-C a second later: at once)");
        }
    };
    // Without it Ctrl-C simply ends the program; the last checkpoint stays.
    if let Err(error) = signals::on_first(stop) {
        say!("Ctrl-C will not write a checkpoint: {error}");
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
