//! Which models have room.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use aki_data::Tokenizer;
use aki_model::AkiConfig;
use aki_model::weights::{Checkpoint, Parameter, check};
use aki_train::folder::{FolderConfig, find};
use anyhow::Result;
use burn::tensor::DType;
use serde::Serialize;

use super::machine::Memory;
use super::{Problem, gigabytes};

/// What is taken beside the weights, as a share of them: keys and values of a conversation, activations,
/// and what is held while weights are read.
const BESIDE: f64 = 0.2;

/// A preset's weights in some types, and whether they have room.
#[derive(Serialize)]
pub struct Fit {
    preset: &'static str,
    parameters: u64,
    types: Vec<TypeFit>,
}

#[derive(Serialize)]
struct TypeFit {
    name: &'static str,
    /// Of the weights.
    bytes: u64,
    /// Unknown where memory is.
    fits: Option<bool>,
}

impl Fit {
    pub fn text(&self) -> String {
        let types = self.types.iter().map(|it| {
            let fits = match it.fits {
                Some(true) => " fits",
                Some(false) => " does not fit",
                None => "",
            };
            format!("{} {}{fits}", it.name, gigabytes(it.bytes))
        });
        format!(
            "{:<11}{}",
            self.preset,
            types.collect::<Vec<_>>().join(", ")
        )
    }
}

/// The shapes that come with aki.
pub fn presets(memory: Option<&Memory>) -> Vec<Fit> {
    let fit = |preset| {
        let parameters = AkiConfig::preset(preset)?.parameters();
        let sizes = [
            ("f32", bytes(&parameters, 32.0, 4)),
            ("f16 or bf16", bytes(&parameters, 16.0, 2)),
            // A block of 32 numbers has a scale of 16 bits.
            ("8 bits", bytes(&parameters, 8.5, 2)),
            ("4 bits", bytes(&parameters, 4.5, 2)),
        ];
        let types = sizes.map(|(name, bytes)| TypeFit {
            name,
            bytes,
            fits: fits(bytes, memory),
        });
        Some(Fit {
            preset,
            parameters: parameters.iter().map(|it| it.len() as u64).sum(),
            types: types.into(),
        })
    };
    AkiConfig::PRESETS.into_iter().filter_map(fit).collect()
}

/// Bytes of weights whose matrices take `bits` a number; the embedding and vectors take `rest` bytes.
fn bytes(parameters: &[Parameter], bits: f64, rest: usize) -> u64 {
    let of = |it: &Parameter| {
        let is_packed = it.tensors[0].1.len() == 2 && !it.path.contains("embed");
        let numbers = it.len() as f64;
        match is_packed {
            true => (numbers * bits / 8.0).ceil() as u64,
            false => (it.len() * rest) as u64,
        }
    };
    parameters.iter().map(of).sum()
}

fn fits(bytes: u64, memory: Option<&Memory>) -> Option<bool> {
    let needed = bytes as f64 * (1.0 + BESIDE);
    memory.map(|memory| needed <= memory.available as f64)
}

/// Whether a model folder is whole, and has room.
#[derive(Serialize)]
pub struct ModelFit {
    folder: PathBuf,
    parameters: u64,
    types: BTreeSet<&'static str>,
    /// Of the weights as they are stored.
    bytes: u64,
    pub fits: Option<bool>,
    /// Why it cannot be loaded: what in it does not fit together.
    pub fault: Option<String>,
}

impl ModelFit {
    /// Looks at a model folder, or a run folder. Of the weights names, types and shapes are read alone.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn of(path: &Path, memory: Option<&Memory>) -> Result<Self> {
        let folder = find(path)?;
        let config = FolderConfig::read(&folder)?;
        let weights = Checkpoint::open(&folder)?;
        let tensors = weights.tensors().values();
        let sizes = tensors.clone().map(|tensor| {
            let numbers = tensor.shape.iter().product::<usize>();
            let size = tensor.dtype.map_or(1, |dtype| dtype.size());
            (numbers as u64, (numbers * size) as u64)
        });
        let (parameters, bytes) = sizes.fold((0, 0), |(numbers, bytes), it| {
            (numbers + it.0, bytes + it.1)
        });
        let types = tensors.filter_map(|tensor| tensor.dtype.as_ref().map(DType::name));
        let whole = || -> Result<()> {
            let tokenizer = Tokenizer::open(&folder)?;
            let model = &config.model;
            model
                .validate(tokenizer.base_vocab(), tokenizer.vocab())
                .map_err(anyhow::Error::msg)?;
            check(&model.parameters(), &weights)?;
            Ok(())
        };
        Ok(Self {
            parameters,
            types: types.collect(),
            bytes,
            fits: fits(bytes, memory),
            fault: whole().err().map(|error| format!("{error:#}")),
            folder,
        })
    }

    pub fn text(&self) -> String {
        let types: Vec<&str> = self.types.iter().copied().collect();
        let fits = match self.fits {
            Some(true) => "fits",
            Some(false) => "does not fit",
            None => "memory is unknown",
        };
        format!(
            "{}, {:.1} M parameters in {}, {}: {fits}",
            self.folder.display(),
            self.parameters as f64 / 1e6,
            types.join(" and "),
            gigabytes(self.bytes)
        )
    }

    pub fn problem(&self) -> Option<Problem> {
        if let Some(fault) = &self.fault {
            return Some(Problem::new(
                format!("the model cannot be loaded: {fault}"),
                "copy or convert it anew",
            ));
        }
        (self.fits == Some(false)).then(|| {
            Problem::new(
                "the model does not fit in the memory that is free",
                "close other programs, ask for --dtype f16 or bf16, or quantise it: aki quantize --bits 4",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_large_model_in_four_bits_is_a_laptops() {
        let parameters = AkiConfig::preset("aki-4b").unwrap().parameters();
        assert_eq!(bytes(&parameters, 32.0, 4), 4 * 4_330_957_954);
        assert!((2_400_000_000..3_000_000_000).contains(&bytes(&parameters, 4.5, 2)));
    }

    #[test]
    fn a_model_fits_with_what_it_needs_beside() {
        let memory = Memory {
            total: 20,
            available: 12,
        };
        assert_eq!(fits(10, Some(&memory)), Some(true));
        assert_eq!(fits(11, Some(&memory)), Some(false));
        assert_eq!(fits(11, None), None);
    }
}
