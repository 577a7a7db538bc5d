//! What can be typed after `aki study`.

use std::path::PathBuf;

use aki_train::study::{DataSet, Row};
use clap::Subcommand;

use crate::device::DeviceChoice;

#[derive(Debug, Subcommand)]
pub enum StudyCommand {
    /// The systems of the paper's Table 1, trained from nothing at equal budget and compared
    ///
    /// Rows: causal, cca, dot-no-ti-pt, dot-no-it-pt, dot-no-ti-sft, dot-no-it-sft, dot, mma. What rows have in
    /// common is trained once. Run the same command again to go on with a study that was stopped; name more
    /// rows, seeds or data sets beside those that are done to add them. At the end DIR has table1.md, .csv and
    /// .json of all that was named, accuracy-steps.svg and .png, and under runs/ every run.
    Table1(Table1Args),
}

#[derive(Debug, clap::Args)]
pub struct Table1Args {
    /// These rows only, separated by commas
    #[arg(long, value_name = "ROW,..", value_delimiter = ',', default_values_t = Row::ALL)]
    pub rows: Vec<Row>,
    /// On these data sets only: easy-vqa, scenes
    #[arg(long, value_name = "NAME,..", value_delimiter = ',', default_values_t = DataSet::ALL)]
    pub data: Vec<DataSet>,
    /// Train each row with the seeds 1 to N; 3 if left out, with --quick 1
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub seeds: Option<u64>,
    /// Fewer steps, for a first look
    #[arg(long)]
    pub quick: bool,
    /// Change a value of all runs, e.g. stage.questions.steps=500
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Where everything goes; runs/table1 if left out, with --quick runs/table1-quick
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Where to compute: auto, cpu, wgpu, wgpu:1, cuda or cuda:1
    #[arg(long, default_value = "auto")]
    pub device: DeviceChoice,
}
