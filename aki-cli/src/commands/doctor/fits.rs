//! Which models have room.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use aki_data::Tokenizer;
use aki_model::AkiConfig;
use aki_model::weights::{Bits, Parameter, Quantization, check};
use aki_train::config::RunConfig;
use aki_train::folder::{FolderConfig, Stored, find};
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
        let config = AkiConfig::preset(preset)?;
        let parameters = config.parameters();
        let packed = |bits| config.packed_parameters(&Quantization::new(bits));
        let sizes = [
            ("f32", bytes(&parameters, DType::F32)),
            ("f16 or bf16", bytes(&parameters, DType::F16)),
            ("8 bits", bytes(&packed(Bits::Eight), DType::F16)),
            ("4 bits", bytes(&packed(Bits::Four), DType::F16)),
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

/// Bytes of weights, in `dtype` where they are not packed.
fn bytes(parameters: &[Parameter], dtype: DType) -> u64 {
    parameters.iter().map(|it| it.bytes(dtype) as u64).sum()
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
    /// Of the weights as they are stored; those of a checkpoint, as they are in memory.
    bytes: u64,
    pub fits: Option<bool>,
    /// Why it cannot be loaded: what in it does not fit together.
    pub fault: Option<String>,
}

impl ModelFit {
    /// Looks at a model folder, a run folder, or a checkpoint. Of a model folder's weights names, types and
    /// shapes are read alone, of a checkpoint's nothing.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn of(path: &Path, memory: Option<&Memory>) -> Result<Self> {
        let mut fit = Self {
            folder: find(path)?,
            parameters: 0,
            types: BTreeSet::new(),
            bytes: 0,
            fits: None,
            fault: None,
        };
        let stored = Stored::find(path).map_err(anyhow::Error::from);
        let fault = stored.and_then(|stored| fit.read(&stored, memory)).err();
        fit.fault = fault.map(|error| format!("{error:#}"));
        Ok(fit)
    }

    fn read(&mut self, stored: &Stored, memory: Option<&Memory>) -> Result<()> {
        let config = FolderConfig::read(&self.folder)?;
        let parameters = config.model.parameters();
        self.parameters = parameters.iter().map(|it| it.len() as u64).sum();
        match stored {
            Stored::Folder(folder) => {
                let weights = config.open_weights(folder)?;
                for tensor in weights.tensors().values() {
                    self.bytes += tensor.byte_len() as u64;
                    self.types
                        .extend(tensor.dtype.as_ref().map(|dtype| match dtype.is_float() {
                            true => dtype.name(),
                            false => "packed words",
                        }));
                }
                check(&config.parameters(), &weights)?;
            }
            Stored::Checkpoint(checkpoint) => {
                let run = RunConfig::load(&checkpoint.run_dir()?.join("config.toml"), &[])?;
                let dtype = DType::from(run.training.precision.dtype());
                self.bytes = self.parameters * dtype.size() as u64;
                self.types.insert(dtype.name());
            }
        }
        self.fits = fits(self.bytes, memory);
        let tokenizer = Tokenizer::open(&self.folder)?;
        config
            .model
            .validate(tokenizer.base_vocab(), tokenizer.vocab())
            .map_err(anyhow::Error::msg)?;
        Ok(())
    }

    pub fn text(&self) -> String {
        let types: Vec<&str> = self.types.iter().copied().collect();
        let fits = match self.fits {
            Some(true) => "fits",
            Some(false) => "does not fit",
            None if self.fault.is_some() => "cannot be loaded",
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
        let config = AkiConfig::preset("aki-4b").unwrap();
        assert_eq!(bytes(&config.parameters(), DType::F32), 4 * 4_330_957_954);
        let packed = config.packed_parameters(&Quantization::new(Bits::Four));
        assert!((2_400_000_000..3_000_000_000).contains(&bytes(&packed, DType::F16)));
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
