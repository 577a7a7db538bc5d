//! What can be typed after `aki plan`.

use std::path::PathBuf;

use super::convert::units;

#[derive(Debug, clap::Args)]
pub struct PlanArgs {
    /// The run file; the built-in easy-VQA run if left out
    pub file: Option<PathBuf>,
    /// Change a value of the run file
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Memory of the card, as 80GiB or 24GB; the run is said to fit or not
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    pub gpu: Option<u64>,
    /// Cards, each with a rank of its own
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub ranks: u32,
    /// Tokens of text to a picture, where a stage does not limit them
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub text: u32,
    /// What the card computes at best, in 10^12 floating-point operations a second; then times are told too
    #[arg(long, value_name = "N", value_parser = tflops)]
    pub tflops: Option<f64>,
    /// The share of --tflops that training reaches, from 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.4, value_parser = utilisation, requires = "tflops")]
    pub utilisation: f64,
    /// One JSON object in place of tables
    #[arg(long)]
    pub json: bool,
}

fn memory(text: &str) -> Result<u64, String> {
    let binary = [("KIB", 1 << 10), ("MIB", 1 << 20), ("GIB", 1 << 30)];
    units(text, &binary)
        .ok_or_else(|| "a whole number with its unit is expected, like 80GiB or 24GB".to_owned())
}

pub(super) fn tflops(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (1e-6..=1e6).contains(&value) => Ok(value),
        _ => Err("a number from 0.000001 to 1000000 is expected".to_owned()),
    }
}

fn utilisation(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value > 0.0 && value <= 1.0 => Ok(value),
        _ => Err("a share more than 0 and at most 1 is expected".to_owned()),
    }
}
