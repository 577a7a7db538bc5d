//! What can be typed after `aki train`.

use std::path::PathBuf;

use aki_train::run::Begin;

use super::plan::tflops;
use crate::device::DeviceChoice;

#[derive(Debug, clap::Args)]
pub struct TrainArgs {
    /// The run file; the built-in easy-VQA run if left out
    pub file: Option<PathBuf>,
    /// Change a value of the run file, e.g. seed=2 or stage.questions.steps=100
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Begin anew; a run that is in its folder already is renamed to NAME.old-1
    #[arg(long)]
    fresh: bool,
    /// Go on from this checkpoint, RUN/checkpoints/STAGE/STEP, of this run or of another one with the
    /// same settings; later ones of this run are renamed to STEP.old
    #[arg(long, value_name = "CHECKPOINT", conflicts_with = "fresh")]
    from: Option<PathBuf>,
    /// Where to compute: auto, cpu, wgpu, wgpu:1, cuda or cuda:1
    #[arg(long, default_value = "auto")]
    pub device: DeviceChoice,
    /// What the device computes at best, in 10^12 floating-point operations a second, to tell the share of it
    /// that is reached (MFU)
    #[arg(long, value_name = "N", value_parser = tflops)]
    pub tflops: Option<f64>,
    /// Burn's dashboard instead of progress bars
    #[arg(long)]
    pub tui: bool,
}

impl TrainArgs {
    /// Where the run is to begin.
    pub fn begin(&self) -> Begin {
        match &self.from {
            Some(checkpoint) => Begin::From(checkpoint.clone()),
            None if self.fresh => Begin::Fresh,
            None => Begin::Resume,
        }
    }
}
