//! What can be typed after `aki convert`.

use std::path::PathBuf;

use super::values::Dtype;

#[derive(Debug, clap::Args)]
pub struct ConvertArgs {
    /// Draw all weights of a model of this shape: aki-4b, aki-small, aki-medium or aki-tiny
    #[arg(long, value_name = "PRESET", conflicts_with_all = ["vision", "language"])]
    pub random: Option<String>,
    /// A folder of a SigLIP or CLIP model, for the vision tower
    #[arg(long, value_name = "DIR")]
    pub vision: Option<PathBuf>,
    /// A folder of a Phi-3, Llama, Mistral or Qwen2 model, for the language model
    #[arg(long, value_name = "DIR")]
    pub language: Option<PathBuf>,
    /// Latents of the resampler that a start from --vision and --language gets; 144 if left out
    #[arg(long, value_name = "N", conflicts_with = "projector", value_parser = super::bench::count())]
    pub latents: Option<usize>,
    /// A projector (a media token for each of the tower's) in place of a resampler
    #[arg(long)]
    pub projector: bool,
    /// A folder of a tokenizer; the model's own if left out
    #[arg(long, value_name = "DIR")]
    pub tokenizer: Option<PathBuf>,
    /// What the numbers become; they stay what they are if left out
    #[arg(long)]
    pub dtype: Option<Dtype>,
    /// The largest file, as 5GB or 500MB; one file if left out
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub shard_size: Option<u64>,
    /// Seed of what is drawn
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
}

pub(super) fn size(text: &str) -> Result<u64, String> {
    units(text, &[])
        .ok_or_else(|| "a whole number with its unit is expected, like 5GB or 500MB".to_owned())
}

/// Bytes, in decimal units or in `others`, which are written in capitals.
pub(super) fn units(text: &str, others: &[(&str, u64)]) -> Option<u64> {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = text[number.len()..].to_ascii_uppercase();
    let decimal = [
        ("B", 1),
        ("KB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
    ];
    let mut known = decimal.iter().chain(others);
    let (_, bytes) = known.find(|(name, _)| *name == unit)?;
    let size = number.parse::<u64>().ok()?.checked_mul(*bytes)?;
    (size > 0).then_some(size)
}
