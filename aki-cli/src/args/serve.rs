//! A server.

use std::path::PathBuf;

use super::values::Dtype;
use crate::device::DeviceChoice;

#[derive(Debug, clap::Args)]
pub struct ServeArgs {
    /// A model folder, or a run folder
    #[arg(long, short, value_name = "DIR")]
    pub model: PathBuf,
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    pub addr: String,
    /// What clients call the model; the folder's name if left out
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Write prompts by the folder's own chat template, in place of AKI's texts
    #[arg(long)]
    pub chat_template: bool,
    /// What numbers are computed in; those of the file if left out
    #[arg(long)]
    pub dtype: Option<Dtype>,
    /// Where to compute: auto, cpu, wgpu, wgpu:1, cuda or cuda:1
    #[arg(long, default_value = "auto")]
    pub device: DeviceChoice,
    /// Requests that may wait while an answer is made; more are refused with 429
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub queue: usize,
    /// Seconds that answers may go on when the server is asked to end
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub grace: u64,
}
