//! Whether a checkpoint's tensors are those a network wants.

use std::collections::BTreeMap;

use burn::tensor::DType;

use super::WeightsError;
use super::checkpoint::Checkpoint;
use super::error::Faults;
use super::names::Parameter;

/// Tensors of published checkpoints that are worked out anew and never read.
const BUFFERS: [&str; 2] = ["position_ids", "rotary_emb.inv_freq"];

const POOLING_HEAD: &str = "vision_encoder.head.";

/// What may be lacking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Allow {
    /// Latents may be more or fewer, as in the original; they are drawn anew. So is a pooling head that is
    /// not there.
    Latents,
    /// Also what a pre-training begins with: the resampler or projector, the tables of added tokens, the
    /// head's biases, and rows of embedding and head for words beyond the pretrained ones.
    NewParts,
}

/// How much of a tensor the checkpoint gives; all, where nothing is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gap {
    /// Nothing.
    All,
    /// All rows but the last ones.
    LastRows,
}

/// Holds names, shapes and types of a checkpoint against those wanted.
///
/// # Errors
///
/// [`WeightsError::Mismatch`] with all names at fault, or [`WeightsError::Packed`].
pub(super) fn fit<'a>(
    wanted: &'a [Parameter],
    checkpoint: &Checkpoint,
    allow: Allow,
) -> Result<BTreeMap<String, Gap>, WeightsError> {
    if checkpoint.is_packed() && !wanted.iter().any(|it| it.packed) {
        return Err(WeightsError::Packed {
            path: checkpoint.path().to_owned(),
        });
    }
    let (mut faults, mut gaps) = (Faults::default(), BTreeMap::new());
    let mut left = checkpoint.tensors().clone();
    // A head that is the embedding once more may be written out all the same.
    let mut names = wanted.iter().flat_map(|it| &it.tensors);
    // Packed, its name goes on.
    let tied = !names.any(|(name, _)| name.contains("lm_head.weight"));
    left.retain(|name, _| {
        !(BUFFERS.iter().any(|buffer| name.ends_with(buffer))
            || tied && name.ends_with("lm_head.weight"))
    });
    // Nothing is computed with SigLIP's pooling head: a checkpoint may leave it out as a whole.
    let headless = !left.keys().any(|name| name.starts_with(POOLING_HEAD));
    let tensors = |it: &'a Parameter| it.tensors.iter().map(|tensor| (tensor, it.packed));
    for ((name, shape), packed) in wanted.iter().flat_map(tensors) {
        match left.remove(name) {
            None if headless && name.starts_with(POOLING_HEAD) => {
                gaps.insert(name.clone(), Gap::All);
            }
            None if allow == Allow::NewParts && is_new(name) => {
                gaps.insert(name.clone(), Gap::All);
            }
            None => faults.missing.push(name.clone()),
            Some(stored)
                if packed != (stored.dtype == Some(DType::I32)) || stored.dtype.is_none() =>
            {
                let kind = if packed {
                    "words of 32 bits"
                } else {
                    "floating-point numbers"
                };
                faults.misshapen.push(format!("{name}: no {kind}"));
            }
            Some(stored) if stored.shape == *shape => {}
            Some(stored) => {
                let rows_alone =
                    stored.shape.len() == shape.len() && stored.shape[1..] == shape[1..];
                let words =
                    name.ends_with("embed_tokens.weight") || name.ends_with("lm_head.weight");
                if rows_alone && name == "vision_tokenizer.latents" {
                    gaps.insert(name.clone(), Gap::All);
                } else if allow == Allow::NewParts
                    && rows_alone
                    && words
                    && stored.shape[0] < shape[0]
                {
                    gaps.insert(name.clone(), Gap::LastRows);
                } else {
                    let found = &stored.shape;
                    faults
                        .misshapen
                        .push(format!("{name}: {found:?}, not {shape:?}"));
                }
            }
        }
    }
    faults.unexpected = left.into_keys().collect();
    if faults.is_empty() {
        return Ok(gaps);
    }
    Err(WeightsError::Mismatch {
        path: checkpoint.path().to_owned(),
        faults,
    })
}

/// Whether a checkpoint holds these parameters and no others.
///
/// # Errors
///
/// [`WeightsError::Mismatch`] with all names at fault, or [`WeightsError::Packed`] if its matrices are packed
/// and plain ones are wanted.
pub fn check(wanted: &[Parameter], checkpoint: &Checkpoint) -> Result<(), WeightsError> {
    fit(wanted, checkpoint, Allow::Latents).map(|_| ())
}

fn is_new(name: &str) -> bool {
    name.starts_with("vision_tokenizer.")
        || name.contains(".additional_")
        || name == "lang_model.lm_head.bias"
}
