//! What can be typed after `aki eval`.

use std::path::PathBuf;

use clap::ValueEnum;

use super::bench::count;
use super::values::Dtype;
use crate::device::DeviceChoice;

#[derive(Debug, clap::Args)]
pub struct EvalArgs {
    /// What to measure on
    #[arg(value_name = "NAME", required = true)]
    pub benchmarks: Vec<Benchmark>,
    /// A model folder, or a run folder
    #[arg(long, short, value_name = "DIR")]
    pub model: PathBuf,
    /// Ask about the first so many pictures alone
    #[arg(long, value_name = "N", value_parser = count())]
    pub limit: Option<usize>,
    /// What numbers are computed in; those of the file if left out
    #[arg(long)]
    pub dtype: Option<Dtype>,
    /// Where to compute: auto, cpu, wgpu, wgpu:1, cuda or cuda:1
    #[arg(long, default_value = "auto")]
    pub device: DeviceChoice,
    /// One JSON object a benchmark in place of tables
    #[arg(long)]
    pub json: bool,
}

/// What a model can be measured on.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Benchmark {
    /// The 9,673 built-in test questions of easy-VQA
    EasyVqa,
}
