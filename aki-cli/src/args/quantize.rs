//! What can be typed after `aki quantize`.

use std::path::PathBuf;

use aki_model::weights::Bits;
use clap::ValueEnum;

use super::convert::size;

#[derive(Debug, clap::Args)]
pub struct QuantizeArgs {
    /// A model folder, or a finished run's folder
    #[arg(long, short, value_name = "DIR")]
    pub model: PathBuf,
    /// Bits a number
    #[arg(long, default_value = "8")]
    pub bits: TypedBits,
    /// The largest file, as 5GB or 500MB; one file if left out
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub shard_size: Option<u64>,
    /// The folder to write
    #[arg(value_name = "OUT")]
    pub out: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum TypedBits {
    #[value(name = "8")]
    Eight,
    #[value(name = "4")]
    Four,
}

impl From<TypedBits> for Bits {
    fn from(bits: TypedBits) -> Self {
        match bits {
            TypedBits::Eight => Self::Eight,
            TypedBits::Four => Self::Four,
        }
    }
}
