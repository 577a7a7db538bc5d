//! From a checkpoint to one with packed matrices, tensor by tensor: no network is built, and memory holds
//! one tensor.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use burn::tensor::DType;

use super::WeightsError;
use super::checkpoint::{Checkpoint, Stored, fault};
use super::fit::{Allow, Gap, fit};
use super::names::packed_name;
use super::quantization::Quantization;
use super::save::{Outgoing, write_folder};
use crate::AkiConfig;
use crate::linear::{Bits, pack, unpack_rows};

/// Numbers that are packed at a time: 16 MB of them in f32.
const CHUNK: usize = 1 << 22;

/// What is to be packed.
///
/// ```no_run
/// # fn example(config: aki_model::AkiConfig) -> Result<(), Box<dyn std::error::Error>> {
/// use aki_model::weights::{Bits, Checkpoint, Quantization, Quantize, load};
///
/// let how = Quantization::new(Bits::Four);
/// let quantize = Quantize {
///     config: &config,
///     source: &Checkpoint::open("plain".as_ref())?,
///     how,
///     shard_size: None,
/// };
/// quantize.write("packed".as_ref())?;
/// // What was written is read into a network that is laid out for it.
/// let undrawn = config.undrawn(config.language.vocab_size, &burn::tensor::Device::default());
/// let aki = load(undrawn.packed(&how), &Checkpoint::open("packed".as_ref())?, None)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Quantize<'a> {
    /// The network's shape.
    pub config: &'a AkiConfig,
    /// Where plain weights come from.
    pub source: &'a Checkpoint,
    /// In how many bits each part is packed.
    pub how: Quantization,
    /// The most bytes of a file; none writes one file.
    pub shard_size: Option<u64>,
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Quantized {
    /// The matrices that were packed, by part, in the order of [`Quantization::PARTS`].
    pub packed: Vec<PackedPart>,
    /// Bytes of everything else, which is as it was.
    pub kept: u64,
}

/// The packed matrices of a part.
#[derive(Clone, Debug, PartialEq)]
pub struct PackedPart {
    /// What the names of its tensors begin with.
    pub name: &'static str,
    /// Bits a number, the scales apart.
    pub bits: Bits,
    /// Numbers of its matrices.
    pub numbers: usize,
    /// Bytes they took.
    pub bytes_before: u64,
    /// Bytes they take.
    pub bytes: u64,
    /// The root of the squared differences over that of the squared numbers.
    pub relative_error: f64,
}

/// Squares of a part's differences, and of its numbers.
type Squares = Mutex<[(f64, f64); 4]>;

impl Quantize<'_> {
    /// Writes `model.safetensors`, or shards and their index, into a folder.
    ///
    /// # Errors
    ///
    /// [`WeightsError`] if the source does not hold this network in plain weights, holds numbers that are
    /// not finite, or a file cannot be read or written.
    ///
    /// # Panics
    ///
    /// If the configuration has neither a resampler nor a projector.
    pub fn write(&self, folder: &Path) -> Result<Quantized, WeightsError> {
        let plain = self.config.parameters();
        let gaps = fit(&plain, self.source, Allow::Latents)?;
        let there = |name: &str| match gaps.get(name) {
            // A pooling head that the source has not.
            Some(Gap::All) if !self.source.tensors().contains_key(name) => None,
            _ => self.source.tensors().get(name),
        };
        let packed = self.config.packed_parameters(&self.how).into_iter();
        let packed = packed.filter(|parameter| parameter.packed);
        let shapes: BTreeMap<String, Vec<usize>> = packed.flat_map(|it| it.tensors).collect();
        let matrix = |name: &str, stored| {
            let (part, words) = (Quantization::part_of(name)?, packed_name(name));
            let shape = shapes.get(&words).filter(|_| name.ends_with(".weight"))?;
            Some(Matrix {
                stored,
                part,
                bits: self.how.bits()[part],
                words,
                shape: shape.clone(),
            })
        };

        let squares = Squares::default();
        let (mut done, mut outgoing) = (self.nothing_yet(), Vec::new());
        for (name, _) in plain.iter().flat_map(|parameter| &parameter.tensors) {
            let Some(stored) = there(name) else { continue };
            let before = stored.byte_len() as u64;
            let Some(matrix) = matrix(name, stored) else {
                done.kept += before;
                outgoing.push(kept(name, stored));
                continue;
            };
            let part = &mut done.packed[matrix.part];
            let out = matrix.outgoing(self.source.path(), &squares);
            part.numbers += stored.shape.iter().product::<usize>();
            part.bytes_before += before;
            part.bytes += out.len() as u64;
            outgoing.push(out);
        }
        write_folder(&outgoing, folder, self.shard_size)?;
        let squares = *squares.lock().unwrap_or_else(PoisonError::into_inner);
        for (part, (of_differences, of_numbers)) in done.packed.iter_mut().zip(squares) {
            if of_numbers > 0.0 {
                part.relative_error = (of_differences / of_numbers).sqrt();
            }
        }
        Ok(done)
    }

    fn nothing_yet(&self) -> Quantized {
        let parts = Quantization::PARTS.into_iter().zip(self.how.bits());
        let part = |(name, bits)| PackedPart {
            name,
            bits,
            numbers: 0,
            bytes_before: 0,
            bytes: 0,
            relative_error: 0.0,
        };
        Quantized {
            packed: parts.map(part).collect(),
            kept: 0,
        }
    }
}

/// A matrix that is to be packed.
struct Matrix<'a> {
    stored: &'a Stored,
    part: usize,
    bits: Bits,
    /// The name of its words, and their shape.
    words: String,
    shape: Vec<usize>,
}

impl<'a> Matrix<'a> {
    fn outgoing(self, path: &'a Path, squares: &'a Squares) -> Outgoing<'a> {
        let Self {
            stored,
            part,
            bits,
            words,
            shape,
        } = self;
        let name = words.clone();
        let bytes = move || {
            let (all, from) = (stored.bytes()?, stored.shape[1]);
            let line = from * stored.dtype.map_or(1, |dtype| dtype.size());
            let mut out = Vec::new();
            for rows in all.chunks(line * (CHUNK / from).max(1)) {
                let mut numbers = Vec::new();
                stored.cast_onto(&mut numbers, rows, DType::F32);
                let numbers = numbers.as_chunks::<4>().0.iter();
                let numbers: Vec<f32> = numbers.map(|bytes| f32::from_le_bytes(*bytes)).collect();
                let packed = pack(&numbers, from, bits);
                let [differences, size] = differences(&numbers, &unpack_rows(&packed, from, bits));
                if !(differences + size).is_finite() {
                    let reason = format!("numbers of {words} would not be finite");
                    return Err(fault(path, reason));
                }
                let mut squares = squares.lock().unwrap_or_else(PoisonError::into_inner);
                squares[part].0 += differences;
                squares[part].1 += size;
                out.extend(packed.into_iter().flat_map(i32::to_le_bytes));
            }
            Ok(out)
        };
        Outgoing {
            name,
            dtype: DType::I32,
            shape,
            bytes: Box::new(bytes),
        }
    }
}

fn kept<'a>(name: &str, stored: &'a Stored) -> Outgoing<'a> {
    Outgoing {
        name: name.to_owned(),
        dtype: stored.dtype.unwrap_or(DType::F32),
        shape: stored.shape.clone(),
        bytes: Box::new(move || Ok(stored.bytes()?.to_vec())),
    }
}

/// The sums of the squared differences and of the squared numbers.
fn differences(numbers: &[f32], packed: &[f32]) -> [f64; 2] {
    let pairs = numbers.iter().zip(packed);
    pairs.fold([0.0, 0.0], |[differences, size], (number, packed)| {
        let (number, packed) = (f64::from(*number), f64::from(*packed));
        let off = number - packed;
        [differences + off * off, size + number * number]
    })
}
