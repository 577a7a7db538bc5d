//! A model, pictures, and how answers are drawn.

use std::path::PathBuf;

use super::values::Dtype;
use crate::device::DeviceChoice;

#[derive(Debug, clap::Args)]
pub struct ModelArgs {
    /// A model folder, a run folder, or a checkpoint of a run
    #[arg(long, short, value_name = "DIR")]
    pub model: PathBuf,
    /// The picture; leave it out to ask without one, give it several times for several
    #[arg(long, short, value_name = "FILE")]
    pub image: Vec<PathBuf>,
    /// Turn pictures as their EXIF says, also for a model that learned from pictures as they are stored
    #[arg(long)]
    pub exif_orientation: bool,
    /// Write prompts by the folder's own chat template, in place of AKI's texts
    #[arg(long)]
    pub chat_template: bool,
    /// What numbers are computed in; those of the file if left out
    #[arg(long)]
    pub dtype: Option<Dtype>,
    /// Where to compute: auto, cpu, wgpu, wgpu:1, cuda or cuda:1
    #[arg(long, default_value = "auto")]
    pub device: DeviceChoice,
    /// Longest answer
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub max_new_tokens: usize,
    /// 0 takes the likeliest token, higher is wilder
    #[arg(long, value_name = "T", default_value_t = 0.0, value_parser = temperature, allow_hyphen_values = true)]
    pub temperature: f32,
    /// Draw from so many of the likeliest tokens; 0 is all
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub top_k: usize,
    /// Draw from the likeliest tokens that make up this share
    #[arg(long, value_name = "P", default_value_t = 1.0, value_parser = share)]
    pub top_p: f32,
    /// Draw from tokens that are at least this likely, measured by the likeliest
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = part)]
    pub min_p: f32,
    /// Make tokens less likely that were there before; 1 changes nothing
    #[arg(long, value_name = "R", default_value_t = 1.0, value_parser = penalty)]
    pub repetition_penalty: f32,
    /// Seed of the draws
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
}

fn temperature(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(value) if value >= 0.0 && value.is_finite() => Ok(value),
        _ => Err("a number from 0 up is expected".to_owned()),
    }
}

fn part(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err("a number from 0 to 1 is expected".to_owned()),
    }
}

fn penalty(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(value) if value > 0.0 && value.is_finite() => Ok(value),
        _ => Err("a number above 0 is expected".to_owned()),
    }
}

fn share(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(value) if value > 0.0 && value <= 1.0 => Ok(value),
        _ => Err("a number above 0 and up to 1 is expected".to_owned()),
    }
}
