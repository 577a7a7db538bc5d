//! A server.

use std::path::PathBuf;

use super::values::Dtype;
use crate::device::DeviceChoice;

/// Seconds that nobody waits for; clocks hold them.
const YEAR: u64 = 31_536_000;

#[derive(Debug, clap::Args)]
pub struct ServeArgs {
    /// A model folder, a run folder, or a checkpoint of a run
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
    /// Turn pictures as their EXIF says, also for a model that learned from pictures as they are stored
    #[arg(long)]
    pub exif_orientation: bool,
    /// A file with the key that clients must send; or set `AKI_API_KEY`
    #[arg(long, value_name = "FILE")]
    pub api_key_file: Option<PathBuf>,
    /// Longest answer, in tokens
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_tokens: u32,
    /// Longest prompt, in tokens, those of pictures included; the model's own limit holds as well
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_prompt: u32,
    /// Seconds that an answer may take
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=YEAR))]
    pub time_limit: u64,
    /// Requests that may wait while an answer is made; more are refused with 429
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16))]
    pub queue: u16,
    /// Most pictures in a request
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16))]
    pub max_pictures: u16,
    /// Fetch pictures at http and https addresses of these hosts, and of no others; of none if left out
    #[arg(long, value_name = "HOST,..", value_delimiter = ',')]
    pub images_from: Vec<String>,
    /// Largest request, and most that is fetched for one, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    pub max_body: u16,
    /// Most connections at a time
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    pub connections: u16,
    /// Seconds that a request may take to come in: its head, then its body
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=YEAR))]
    pub patience: u64,
    /// Seconds that answers may go on when the server is asked to end
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(..=YEAR))]
    pub grace: u64,
}
