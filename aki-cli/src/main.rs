//! `aki`: train, question and look at modality-mutual-attention models.

mod args;
mod commands;
mod device;
mod terminal;

use std::process::ExitCode;

use clap::Parser;

/// Exit code of a user's mistake, as clap's own.
const MISTAKE: u8 = 2;
/// Exit code after Ctrl-C, as shells have it.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    use_no_gpu_unasked();
    let args = args::Args::parse();
    match commands::run(args) {
        Ok(commands::Done::Finished) => ExitCode::SUCCESS,
        Ok(commands::Done::Interrupted) => ExitCode::from(INTERRUPTED),
        Err(error) => {
            // A closed pipe (`aki ... | head`) is no error.
            let io = error
                .chain()
                .find_map(|cause| cause.downcast_ref::<std::io::Error>());
            if io.is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe) {
                return ExitCode::SUCCESS;
            }
            eprintln!("error: {error:#}");
            match error.downcast_ref::<aki_train::TrainError>() {
                Some(error) if !error.is_mistake() => ExitCode::FAILURE,
                _ => ExitCode::from(MISTAKE),
            }
        }
    }
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
