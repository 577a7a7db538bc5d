//! A checkpoint that is open for reading: the tensors of one file or several, by name.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::DType;
use memmap2::{Mmap, MmapOptions};
use pytorch_reader::PytorchReader;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use super::WeightsError;
use super::fit::check;
use super::names::PACKED;
use super::quantization::Quantization;
use crate::AkiConfig;
use crate::linear::{Bits, unpack_rows};

/// The file of all weights, where there is one.
pub const SINGLE: &str = "model.safetensors";
/// The file that says which shard holds which tensor.
pub const INDEX: &str = "model.safetensors.index.json";

/// Tensors on disk, by name. Opening reads names and shapes alone.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    path: PathBuf,
    tensors: BTreeMap<String, Stored>,
}

/// A tensor on disk.
#[derive(Clone)]
pub struct Stored {
    /// The type of its numbers, i32 for the words of a packed matrix; none where this program has no use
    /// for it.
    pub dtype: Option<DType>,
    /// Its shape.
    pub shape: Vec<usize>,
    place: Place,
}

#[derive(Clone)]
enum Place {
    /// A packed matrix, which is unpacked when it is read.
    Packed(Box<Stored>, Bits),
    /// Bytes of a safetensors file.
    Bytes(Arc<(PathBuf, File)>, Range<u64>),
    /// What `torch.save` wrote.
    PyTorch(PathBuf, pytorch_reader::Tensor),
}

impl std::fmt::Debug for Stored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {:?}", self.dtype, self.shape)
    }
}

/// Bytes of a tensor, mapped or read.
pub(super) enum Bytes {
    Mapped(Mmap),
    Read(Vec<u8>),
}

impl std::ops::Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Read(bytes) => bytes,
        }
    }
}

/// What `model.safetensors.index.json` says.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Checkpoint {
    /// Opens a folder with `model.safetensors` or `model.safetensors.index.json`, or a file: one of
    /// these two, or a training checkpoint by PyTorch (`.pt`, `.pth`, `.bin`), whose names lose the
    /// `module.` that distributed training puts before them.
    ///
    /// # Errors
    ///
    /// [`WeightsError::File`] if a file is absent, damaged, or shorter than it says.
    pub fn open(path: &Path) -> Result<Self, WeightsError> {
        let file = if path.is_dir() {
            let there = [INDEX, SINGLE].map(|name| path.join(name));
            there
                .into_iter()
                .find(|file| file.is_file())
                .ok_or_else(|| {
                    fault(
                        path,
                        format!("neither {SINGLE} nor {INDEX} is in this folder"),
                    )
                })?
        } else {
            path.to_owned()
        };
        let tensors = match file.extension().and_then(|extension| extension.to_str()) {
            Some("json") => sharded(&file)?,
            Some("pt" | "pth" | "bin") => pytorch(&file)?,
            _ => safetensors(&file)?,
        };
        Ok(Self {
            path: file,
            tensors,
        })
    }

    /// The file that was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The tensors, in the order of their names.
    pub fn tensors(&self) -> &BTreeMap<String, Stored> {
        &self.tensors
    }

    /// Whether it has packed matrices.
    pub fn is_packed(&self) -> bool {
        self.tensors.keys().any(|name| name.ends_with(PACKED.1))
    }

    /// The checkpoint with plain matrices in the place of a packed network's: each is unpacked, into f32, when
    /// it is read.
    ///
    /// # Errors
    ///
    /// [`WeightsError::Mismatch`] if it does not hold this network, packed in this way.
    ///
    /// # Panics
    ///
    /// If the configuration has neither a resampler nor a projector.
    pub fn unpacked(
        mut self,
        config: &AkiConfig,
        how: &Quantization,
    ) -> Result<Self, WeightsError> {
        check(&config.packed_parameters(how), &self)?;
        for (name, shape) in config.parameters().into_iter().flat_map(|it| it.tensors) {
            let packed = how.words_of(&name);
            let packed =
                packed.and_then(|(words, bits)| Some((self.tensors.remove(&words)?, bits)));
            if let Some((words, bits)) = packed {
                let stored = Stored {
                    dtype: Some(DType::F32),
                    place: Place::Packed(Box::new(words), bits),
                    shape,
                };
                self.tensors.insert(name, stored);
            }
        }
        Ok(self)
    }

    /// The tensors whose names begin with `from`, which becomes `to`; the others are left out.
    #[must_use]
    pub fn part(&self, from: &str, to: &str) -> Self {
        let renamed = self.tensors.iter().filter_map(|(name, tensor)| {
            let rest = name.strip_prefix(from)?;
            Some((format!("{to}{rest}"), tensor.clone()))
        });
        Self {
            path: self.path.clone(),
            tensors: renamed.collect(),
        }
    }

    /// Adds the tensors of another checkpoint; names that both have stay this one's.
    #[must_use]
    pub fn or(mut self, other: Self) -> Self {
        for (name, tensor) in other.tensors {
            self.tensors.entry(name).or_insert(tensor);
        }
        self
    }
}

impl Stored {
    /// The bytes, little-endian, rows one after the other. They are mapped or read for the caller
    /// alone, so that memory is given back tensor by tensor.
    pub(super) fn bytes(&self) -> Result<Bytes, WeightsError> {
        match &self.place {
            Place::Bytes(file, range) => {
                let (path, file) = &**file;
                if range.is_empty() {
                    return Ok(Bytes::Read(Vec::new()));
                }
                // SAFETY: the map is read while no one should be changing the file; a file that is
                // cut short meanwhile ends the program, as with any program that maps files.
                let map = unsafe {
                    MmapOptions::new()
                        .offset(range.start)
                        .len((range.end - range.start) as usize)
                        .map(file)
                };
                map.map(Bytes::Mapped).map_err(io(path))
            }
            Place::PyTorch(path, tensor) => tensor.read().map(Bytes::Read).map_err(io(path)),
            Place::Packed(words, bits) => {
                let words = words.bytes()?;
                let words = words.as_chunks::<4>().0.iter();
                let words: Vec<i32> = words.map(|bytes| i32::from_le_bytes(*bytes)).collect();
                let numbers = unpack_rows(&words, self.shape[1], *bits).into_iter();
                Ok(Bytes::Read(numbers.flat_map(f32::to_le_bytes).collect()))
            }
        }
    }

    /// How many bytes it takes; 0 where the type is not known.
    pub fn byte_len(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype.map_or(0, |dtype| dtype.size())
    }

    /// Puts the bytes behind others, as numbers of `dtype`.
    pub(super) fn cast_onto(&self, out: &mut Vec<u8>, bytes: &[u8], dtype: DType) {
        match self.dtype {
            Some(from) if from != dtype => super::cast::cast_onto(out, bytes, from, dtype),
            _ => out.extend_from_slice(bytes),
        }
    }
}

pub(super) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> WeightsError {
    let path = path.to_owned();
    move |source| WeightsError::Io { path, source }
}

pub(super) fn fault(path: &Path, reason: impl Into<String>) -> WeightsError {
    WeightsError::File {
        path: path.to_owned(),
        reason: reason.into(),
    }
}

fn safetensors(path: &Path) -> Result<BTreeMap<String, Stored>, WeightsError> {
    let file = File::open(path).map_err(io(path))?;
    if !file
        .metadata()
        .is_ok_and(|about| about.is_file() && about.len() > 0)
    {
        return Err(fault(path, "not a file, or empty"));
    }
    // SAFETY: as in `Stored::bytes`; here the header alone is looked at.
    let map = unsafe { Mmap::map(&file) }.map_err(io(path))?;
    let (header, metadata) = SafeTensors::read_metadata(&map).map_err(|error| {
        fault(
            path,
            format!("no safetensors file, or damaged: {error}; copy or download it again"),
        )
    })?;
    let first = (header + size_of::<u64>()) as u64;
    let file = Arc::new((path.to_owned(), file));
    let stored = |(name, info): (String, &safetensors::tensor::TensorInfo)| {
        let (start, end) = info.data_offsets;
        let stored = Stored {
            dtype: match info.dtype {
                Dtype::F64 => Some(DType::F64),
                Dtype::F32 => Some(DType::F32),
                Dtype::F16 => Some(DType::F16),
                Dtype::BF16 => Some(DType::BF16),
                Dtype::I32 => Some(DType::I32),
                _ => None,
            },
            shape: info.shape.clone(),
            place: Place::Bytes(file.clone(), first + start as u64..first + end as u64),
        };
        (name, stored)
    };
    Ok(metadata.tensors().into_iter().map(stored).collect())
}

fn sharded(path: &Path) -> Result<BTreeMap<String, Stored>, WeightsError> {
    let text = std::fs::read(path).map_err(io(path))?;
    let index: Index =
        serde_json::from_slice(&text).map_err(|error| fault(path, error.to_string()))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut shards: BTreeMap<&str, BTreeMap<String, Stored>> = BTreeMap::new();
    let (mut tensors, mut missing) = (BTreeMap::new(), Vec::new());
    for (name, shard) in &index.weight_map {
        let plain = Path::new(shard)
            .file_name()
            .is_some_and(|file| file == shard.as_str());
        if !plain {
            return Err(fault(
                path,
                format!("{name} is said to be in {shard:?}, which is no file name"),
            ));
        }
        if !shards.contains_key(shard.as_str()) {
            shards.insert(shard, safetensors(&folder.join(shard))?);
        }
        match shards
            .get_mut(shard.as_str())
            .and_then(|shard| shard.remove(name))
        {
            Some(tensor) => {
                tensors.insert(name.clone(), tensor);
            }
            None => missing.push(format!("{name} of {shard}")),
        }
    }
    if !missing.is_empty() {
        let (count, names) = (missing.len(), super::error::some(&missing));
        return Err(fault(
            path,
            format!("{count} tensors are not in their shards: {names}"),
        ));
    }
    // What a shard holds beyond the index is still there for someone to miss; the index goes before it.
    for (name, tensor) in shards.into_values().flatten() {
        tensors.entry(name).or_insert(tensor);
    }
    Ok(tensors)
}

fn pytorch(path: &Path) -> Result<BTreeMap<String, Stored>, WeightsError> {
    let mut read = None;
    // A training checkpoint has the network under a key of its own; a bare one has no such key.
    for key in ["model_state_dict", "state_dict"] {
        if let Ok(reader) = PytorchReader::with_top_level_key(path, key) {
            read = Some(reader);
            break;
        }
    }
    let reader = match read {
        Some(reader) => reader,
        None => PytorchReader::new(path).map_err(|error| {
            fault(
                path,
                format!("no checkpoint of PyTorch, or damaged: {error}"),
            )
        })?,
    };
    let stored = |(name, tensor): (String, pytorch_reader::Tensor)| {
        let name = name.strip_prefix("module.").unwrap_or(&name).to_owned();
        let stored = Stored {
            dtype: match tensor.dtype() {
                pytorch_reader::DType::F64 => Some(DType::F64),
                pytorch_reader::DType::F32 => Some(DType::F32),
                pytorch_reader::DType::F16 => Some(DType::F16),
                pytorch_reader::DType::BF16 => Some(DType::BF16),
                _ => None,
            },
            shape: tensor.shape().to_vec(),
            place: Place::PyTorch(path.to_owned(), tensor),
        };
        (name, stored)
    };
    Ok(reader.into_tensors().into_iter().map(stored).collect())
}
