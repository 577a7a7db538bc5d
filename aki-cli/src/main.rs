//! `aki`: train, question and look at modality-mutual-attention models.

#![warn(clippy::print_stderr)]

/// Writes a line to standard error, as `eprintln!` does. One that is closed ends no work: `eprintln!` panics.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        writeln!(std::io::stderr(), $($text)*).ok();
    }};
}

mod args;
mod commands;
mod device;
mod memory;
mod serve;
mod signals;
mod terminal;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Exit code of what went wrong by itself.
const FAILURE: u8 = 1;
/// Exit code of a user's mistake, as clap's own.
const MISTAKE: u8 = 2;

fn main() -> ExitCode {
    use_no_gpu_unasked();
    let args = args::Args::parse();
    tell_warnings();
    match commands::run(args) {
        Ok(commands::Done::Finished) => ExitCode::SUCCESS,
        Ok(commands::Done::Unfit) => ExitCode::from(FAILURE),
        Ok(commands::Done::Interrupted) => ExitCode::from(signals::exit_code()),
        Err(error) => ExitCode::from(tell(&error)),
    }
}

/// Tells an error, and returns its exit code.
fn tell(error: &anyhow::Error) -> u8 {
    // A closed pipe (`aki ... | head`) is no error.
    let io = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<std::io::Error>());
    if io.is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe) {
        return 0;
    }
    say!("error: {error:#}");
    let train = error.downcast_ref::<aki_train::TrainError>();
    let failed = io.is_some_and(|io| !aki_train::error::is_mistake(io))
        || train.is_some_and(|error| !error.is_mistake());
    match failed {
        true => FAILURE,
        false => MISTAKE,
    }
}

/// Warnings of the libraries go to stderr. `AKI_LOG=info` also tells which attention engine runs
/// and why; `AKI_LOG` takes what `tracing`'s `Targets` does.
fn tell_warnings() {
    let asked = std::env::var("AKI_LOG").ok();
    let targets = asked
        .as_deref()
        .unwrap_or("aki_data=warn,aki_model=warn,aki_train=warn")
        .parse();
    let filter = targets.unwrap_or_else(|error| {
        say!("warning: AKI_LOG is ignored: {error}");
        Targets::new().with_targets(
            ["aki_data", "aki_model", "aki_train"].map(|room| (room, LevelFilter::WARN)),
        )
    });
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal())
        .without_time()
        .with_target(false);
    tracing_subscriber::registry()
        .with(lines)
        .with(filter)
        .init();
}

/// Burn reads an optimizer's state back on its default device before the state goes where the
/// weights are. With WGPU built in that default is a GPU, which a machine may not have.
fn use_no_gpu_unasked() {
    if cfg!(feature = "flex") && std::env::var_os("BURN_DEVICE").is_none() {
        // SAFETY: called first in `main`, when there is no other thread that could read the
        // environment.
        unsafe { std::env::set_var("BURN_DEVICE", "flex") };
    }
}
