//! A stage's weights, by part: how many are trained, and what they are held in.

use aki_model::flops::Trained;
use aki_model::weights::Parameter;
use serde::Serialize;

use crate::config::{LoraBase, Precision, RunConfig, StageConfig};
use crate::optimizer::{fits, learns};

/// Weights of a part of the network.
#[derive(Clone, Debug, Serialize)]
pub struct PartWeights {
    /// The part.
    pub name: &'static str,
    /// Those that are trained.
    pub trained: usize,
    /// Those that are not.
    pub frozen: usize,
}

/// Weights of the network.
#[derive(Clone, Debug)]
pub(super) struct Weights {
    pub parts: Vec<PartWeights>,
    /// Bytes of all of them, as the network computes with them.
    pub bytes: f64,
    /// Weights of the largest trained tensor.
    pub largest: usize,
    /// Trained weights of the head's matrices.
    pub head: usize,
    /// Weights of a block's matrices that are kept in fewer bits and widened to be used.
    pub widened: usize,
    /// Weights of the adapters.
    pub adapters: usize,
    pub for_flops: Trained,
}

/// Parts and what their parameters' paths begin with; the first that fits counts.
const PARTS: [(&str, &str); 6] = [
    ("vision tower", "vision_encoder."),
    ("resampler", "vision_tokenizer."),
    ("embedding", "lang_model.model.embed_tokens."),
    ("decoder", "lang_model.model."),
    ("head", "lang_model.lm_head."),
    ("adapters", ""),
];

/// Where the decoder's blocks are.
const BLOCKS: &str = "lang_model.model.layers.";

/// Weights that share a scale, and the scale's bytes.
const BLOCK: f64 = 32.0;
const SCALE: f64 = 2.0;

impl Weights {
    pub(super) fn of(config: &RunConfig, stage: &StageConfig) -> Self {
        let training = &config.training;
        let wide = bytes(training.precision);
        let mut weights = Self {
            parts: PARTS
                .map(|(name, _)| PartWeights {
                    name,
                    trained: 0,
                    frozen: 0,
                })
                .to_vec(),
            bytes: 0.0,
            largest: 0,
            head: 0,
            widened: 0,
            adapters: 0,
            for_flops: Trained::default(),
        };
        let fitted = |name: &str| stage.freeze.iter().any(|pattern| fits(pattern, name));
        let is_frozen = |parameter: &Parameter| {
            !learns(parameter, training.lora.is_some())
                || fitted(&parameter.path)
                || parameter.tensors.iter().all(|(name, _)| fitted(name))
        };
        let language = &config.model.language;
        for parameter in config.model.parameters() {
            let (path, count) = (&parameter.path, parameter.len());
            let adapted = training.lora.as_ref().filter(|lora| {
                let has_name = |name: &String| path.ends_with(&format!(".{name}.weight"));
                path.starts_with(BLOCKS) && lora.targets.iter().any(has_name)
            });
            let mut each = wide;
            if let Some(lora) = adapted {
                let shape = &parameter.tensors[0].1;
                let rows: usize = parameter.tensors.iter().map(|(_, shape)| shape[0]).sum();
                weights.adapters += lora.rank * (rows + shape[1]);
                weights.largest = weights.largest.max(lora.rank * rows.max(shape[1]));
                each = match lora.base {
                    LoraBase::Same => wide,
                    LoraBase::Int8 => 1.0 + SCALE / BLOCK,
                    LoraBase::Int4 => 0.5 + SCALE / BLOCK,
                };
                if lora.base != LoraBase::Same {
                    weights.widened += count / language.num_hidden_layers.max(1);
                }
            }
            weights.bytes += each * count as f64;
            let is_trained = adapted.is_none() && !is_frozen(&parameter);
            let is_matrix = parameter.tensors[0].1.len() > 1;
            if is_trained && is_matrix && path.starts_with("lang_model.lm_head.") {
                weights.head += count;
            }
            let part = PARTS
                .iter()
                .position(|(_, prefix)| path.starts_with(prefix));
            let part = &mut weights.parts[part.unwrap_or(PARTS.len() - 1)];
            if is_trained {
                part.trained += count;
                weights.largest = weights.largest.max(count);
            } else {
                part.frozen += count;
            }
        }
        if language.tie_word_embeddings && weights.parts[2].trained > 0 && training.lora.is_none() {
            weights.head = language.vocab_size * language.hidden_size;
        }
        weights.bytes += wide * weights.adapters as f64;
        let [tower, connector, embedding, decoder, head, adapters] = &mut weights.parts[..] else {
            unreachable!("these are the parts");
        };
        adapters.trained = weights.adapters;
        weights.for_flops = Trained {
            tower: tower.trained > 0,
            connector: connector.trained > 0,
            embedding: embedding.trained > 0,
            matrices: decoder.trained > 0 && training.lora.is_none(),
            adapters: adapters.trained > 0,
            head: head.trained > 0 && training.lora.is_none(),
        };
        weights.parts.retain(|part| part.trained + part.frozen > 0);
        weights
    }

    pub(super) fn all(&self) -> usize {
        self.trained() + self.parts.iter().map(|part| part.frozen).sum::<usize>()
    }

    pub(super) fn trained(&self) -> usize {
        self.parts.iter().map(|part| part.trained).sum()
    }
}

/// Bytes of a number.
pub(super) fn bytes(precision: Precision) -> f64 {
    match precision {
        Precision::F32 => 4.0,
        Precision::Bf16 | Precision::F16 => 2.0,
    }
}
