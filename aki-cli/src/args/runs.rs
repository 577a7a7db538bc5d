//! What can be typed after `aki runs`.

use std::path::PathBuf;

use clap::Subcommand;

/// Where runs are if nothing else is said.
pub const RUNS: &str = "runs";

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct RunsArgs {
    /// The folder with the runs, or a run's own
    #[arg(value_name = "DIR", default_value = RUNS)]
    pub folder: PathBuf,
    /// A JSON array in place of a table
    #[arg(long)]
    pub json: bool,
    #[command(subcommand)]
    pub command: Option<RunsCommand>,
}

#[derive(Debug, Subcommand)]
pub enum RunsCommand {
    /// The settings in which runs differ, and what they came to
    Compare {
        /// Run folders
        #[arg(value_name = "RUN", required = true, num_args = 2..)]
        runs: Vec<PathBuf>,
        /// Draw their curves over one another into this file
        #[arg(long, value_name = "FILE.svg")]
        svg: Option<PathBuf>,
    },
    /// Print the path of the checkpoint with the lowest validation loss
    ///
    /// Of those that are there, in the last stage that was measured at one.
    Best {
        /// A run folder
        run: PathBuf,
    },
    /// Remove old checkpoints of a run, all but the newest of each stage and the best one
    ///
    /// What damage, `aki train --from` and crashes left goes too. A running run is left alone.
    Prune {
        /// A run folder
        run: PathBuf,
        /// How many of the newest stay, in each stage
        #[arg(long, value_name = "N")]
        keep: usize,
        /// Only say what would go
        #[arg(long)]
        dry_run: bool,
    },
}
