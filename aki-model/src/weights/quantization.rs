//! Which matrices of a network lie packed, as the `quantization_config` of a model folder says it.
//!
//! ```json
//! "quantization_config": {
//!   "quant_method": "aki-blocks",
//!   "block_size": 32,
//!   "bits": {
//!     "vision_encoder": 8,
//!     "vision_tokenizer": 8,
//!     "lang_model.model.layers": 4,
//!     "lang_model.lm_head": 8
//!   }
//! }
//! ```
//!
//! Under `bits` stand the four parts with linear layers, all of which are packed: `[out, in]` of `X.weight`
//! becomes `X.weight_packed`, as many rows of 32-bit words. Everything else is as it was: embeddings, norms,
//! biases, the patch convolution, and the rows of head and embedding for added tokens. A head that is the
//! embedding once more has no matrix to pack.

use serde::{Deserialize, Serialize};

use super::names::{Parameter, packed_name, parameters};
use crate::AkiConfig;
use crate::linear::{BLOCK, Bits};

const METHOD: &str = "aki-blocks";

/// Bits a number in each part of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "File", into = "File")]
pub struct Quantization {
    /// Of the vision tower.
    pub vision_encoder: Bits,
    /// Of the resampler or projector.
    pub vision_tokenizer: Bits,
    /// Of the decoder's blocks.
    pub blocks: Bits,
    /// Of the language model's head.
    pub head: Bits,
}

impl Quantization {
    /// The parts by what the names of their tensors begin with.
    pub const PARTS: [&str; 4] = [
        "vision_encoder.",
        "vision_tokenizer.",
        "lang_model.model.layers.",
        "lang_model.lm_head.",
    ];

    /// The decoder's blocks in `bits`, and in 8 the parts that are small and matter more.
    pub fn new(bits: Bits) -> Self {
        Self {
            vision_encoder: Bits::Eight,
            vision_tokenizer: Bits::Eight,
            blocks: bits,
            head: Bits::Eight,
        }
    }

    /// The bits of [`Self::PARTS`].
    pub fn bits(&self) -> [Bits; 4] {
        [
            self.vision_encoder,
            self.vision_tokenizer,
            self.blocks,
            self.head,
        ]
    }

    /// The name of the words that a plain tensor would lie packed in, if it is a part's, and their bits.
    pub fn words_of(&self, name: &str) -> Option<(String, Bits)> {
        let part = Self::part_of(name)?;
        name.ends_with(".weight")
            .then(|| (packed_name(name), self.bits()[part]))
    }

    /// Which of [`Self::PARTS`] a tensor belongs to.
    pub(super) fn part_of(name: &str) -> Option<usize> {
        Self::PARTS.iter().position(|part| name.starts_with(part))
    }
}

impl AkiConfig {
    /// The parameters of the network once its matrices are packed, without their numbers.
    ///
    /// # Panics
    ///
    /// If there is neither a resampler nor a projector.
    pub fn packed_parameters(&self, how: &Quantization) -> Vec<Parameter> {
        let aki = self.undrawn(self.language.vocab_size, &burn::tensor::Device::default());
        let aki = aki.packed(how);
        parameters(&aki, &aki.projections(), "")
    }
}

/// What stands in the file.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    quant_method: String,
    block_size: usize,
    bits: ByPart,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ByPart {
    vision_encoder: u64,
    vision_tokenizer: u64,
    #[serde(rename = "lang_model.model.layers")]
    blocks: u64,
    #[serde(rename = "lang_model.lm_head")]
    head: u64,
}

impl From<Quantization> for File {
    fn from(how: Quantization) -> Self {
        let [vision_encoder, vision_tokenizer, blocks, head] =
            how.bits().map(|bits| bits.count() as u64);
        Self {
            quant_method: METHOD.to_owned(),
            block_size: BLOCK,
            bits: ByPart {
                vision_encoder,
                vision_tokenizer,
                blocks,
                head,
            },
        }
    }
}

impl TryFrom<File> for Quantization {
    type Error = String;

    fn try_from(file: File) -> Result<Self, String> {
        if file.quant_method != METHOD {
            let method = file.quant_method;
            return Err(format!(
                "quantization_config.quant_method is {method:?}, and {METHOD:?} alone is read"
            ));
        }
        if file.block_size != BLOCK {
            let size = file.block_size;
            return Err(format!(
                "quantization_config.block_size is {size}, and blocks of {BLOCK} alone are read"
            ));
        }
        let bits = |bits: u64| match bits {
            8 => Ok(Bits::Eight),
            4 => Ok(Bits::Four),
            other => Err(format!(
                "quantization_config.bits has {other}, and 8 and 4 alone are read"
            )),
        };
        Ok(Self {
            vision_encoder: bits(file.bits.vision_encoder)?,
            vision_tokenizer: bits(file.bits.vision_tokenizer)?,
            blocks: bits(file.bits.blocks)?,
            head: bits(file.bits.head)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_says_it_and_what_is_not_known_is_told() {
        let how = Quantization::new(Bits::Four);
        let text = serde_json::to_string(&how).unwrap();
        assert_eq!(
            text,
            r#"{"quant_method":"aki-blocks","block_size":32,"bits":{"vision_encoder":8,"vision_tokenizer":8,"lang_model.model.layers":4,"lang_model.lm_head":8}}"#
        );
        assert_eq!(serde_json::from_str::<Quantization>(&text).unwrap(), how);
        for (was, is, told) in [
            ("aki-blocks", "awq", "\"awq\""),
            (":32", ":64", "blocks of 32 alone"),
            (":4", ":3", "bits has 3"),
            ("lm_head", "head", "unknown field"),
        ] {
            let error = serde_json::from_str::<Quantization>(&text.replace(was, is));
            let error = error.unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }
}
