//! From checkpoint to checkpoint, tensor by tensor: no network is built, and memory holds one tensor.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::{DType, Device};

use super::WeightsError;
use super::checkpoint::Checkpoint;
use super::draw::draw;
use super::fit::{Allow, Gap, fit};
use super::names::{Parameter, parameters};
use super::save::{Outgoing, write_folder};
use crate::AkiConfig;

/// The bits of infinity in f16, but for its sign.
const INFINITE: u16 = 0x7c00;

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// The names that were drawn, wholly or in part.
    pub drawn: Vec<String>,
    /// Numbers that are infinite in f16, which ends at 65,504.
    pub infinite: usize,
}

/// What is to be written.
#[derive(Debug)]
pub struct Conversion<'a> {
    /// The network's shape.
    pub config: &'a AkiConfig,
    /// Where weights come from; none draws them all.
    pub source: Option<&'a Checkpoint>,
    /// Whether parts that a pre-training begins with may be lacking, and are drawn then: the resampler or
    /// projector, the tables of added tokens, the head's biases, rows for words beyond the pretrained.
    pub new_parts: bool,
    /// The type of the numbers; none keeps what they have.
    pub dtype: Option<DType>,
    /// The most bytes of a file; none writes one file.
    pub shard_size: Option<u64>,
    /// Seed of what is drawn.
    pub seed: u64,
}

impl Conversion<'_> {
    /// Writes `model.safetensors`, or shards and their index, into a folder.
    ///
    /// # Errors
    ///
    /// [`WeightsError`] if the source does not hold this network or a file cannot be read or written.
    ///
    /// # Panics
    ///
    /// If the configuration has neither a resampler nor a projector.
    pub fn write(&self, folder: &Path) -> Result<Written, WeightsError> {
        let wanted = self.config.parameters();
        let allow = if self.new_parts {
            Allow::NewParts
        } else {
            Allow::Latents
        };
        let gaps = self
            .source
            .map(|source| fit(&wanted, source, allow))
            .transpose()?;
        let gap = |name: &str| match &gaps {
            Some(gaps) => gaps.get(name).copied(),
            None => Some(Gap::All),
        };
        let tensors = || wanted.iter().flat_map(|parameter| &parameter.tensors);
        let infinite = AtomicUsize::new(0);
        let outgoing: Vec<Outgoing> = tensors()
            .map(|(name, shape)| self.outgoing(name, shape, gap(name), &infinite))
            .collect();
        write_folder(&outgoing, folder, self.shard_size)?;
        let drawn = tensors().filter(|(name, _)| gap(name).is_some());
        Ok(Written {
            drawn: drawn.map(|(name, _)| name.clone()).collect(),
            infinite: infinite.load(Ordering::Relaxed),
        })
    }

    fn outgoing<'a>(
        &'a self,
        name: &'a str,
        shape: &'a [usize],
        gap: Option<Gap>,
        infinite: &'a AtomicUsize,
    ) -> Outgoing<'a> {
        let stored = self.source.and_then(|source| source.tensors().get(name));
        let kept = stored.and_then(|stored| stored.dtype);
        let dtype = self.dtype.or(kept).unwrap_or(DType::F32);
        let len: usize = shape.iter().product();
        let bytes = move || {
            let mut all = match (stored, gap) {
                (Some(stored), None | Some(Gap::LastRows)) => {
                    let bytes = stored.bytes()?;
                    let mut all = Vec::new();
                    stored.cast_onto(&mut all, &bytes, dtype);
                    if dtype == DType::F16 && kept != Some(DType::F16) {
                        let overflowed = all
                            .as_chunks::<2>()
                            .0
                            .iter()
                            .filter(|bytes| u16::from_le_bytes(**bytes) & 0x7fff == INFINITE);
                        infinite.fetch_add(overflowed.count(), Ordering::Relaxed);
                    }
                    all
                }
                _ => Vec::new(),
            };
            let given = all.len() / dtype.size();
            if given < len {
                all.extend(draw(name, len - given, dtype, self.seed));
            }
            Ok(all)
        };
        Outgoing {
            name: name.to_owned(),
            dtype,
            shape: shape.to_vec(),
            bytes: Box::new(bytes),
        }
    }
}

impl AkiConfig {
    /// The parameters of the network, without their numbers: it costs no memory.
    ///
    /// # Panics
    ///
    /// If there is neither a resampler nor a projector.
    pub fn parameters(&self) -> Vec<Parameter> {
        // How many of the words the tokenizer knows does not show in the weights.
        let aki = self.undrawn(self.language.vocab_size, &Device::default());
        parameters(&aki, &aki.projections(), "")
    }
}
