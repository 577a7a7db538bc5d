//! From a network, or from another checkpoint, into safetensors files.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::kind::Autodiff;
use burn::tensor::{DType, Int, Tensor, TensorData};
use safetensors::{Dtype, SafeTensorError, View};
use serde_json::json;

use super::WeightsError;
use super::checkpoint::{INDEX, SINGLE, fault, io};
use super::names::{Parameter, parameters};
use crate::Aki;

/// A tensor that is to be written; its bytes are made when its turn comes.
pub struct Outgoing<'a> {
    pub(super) name: String,
    pub(super) dtype: DType,
    pub(super) shape: Vec<usize>,
    pub(super) bytes: Box<dyn Fn() -> Result<Vec<u8>, WeightsError> + Send + Sync + 'a>,
}

impl Outgoing<'_> {
    pub(super) fn len(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype.size()
    }
}

/// Writes a network's weights to a safetensors file that PyTorch and [`super::load`] read, adapters
/// worked into them. The file appears under its name only when it is whole.
///
/// # Errors
///
/// [`WeightsError::File`] if it cannot be written.
pub fn save(aki: &Aki, path: &Path) -> Result<(), WeightsError> {
    if aki.language().has_adapters() {
        return save(&aki.clone().merged(), path);
    }
    let wanted = parameters(aki, &aki.projections(), "");
    let mut collector = Collector {
        wanted: wanted.into_iter(),
        outgoing: Vec::new(),
    };
    aki.visit(&mut collector);
    write_whole(&collector.outgoing, path)
}

/// Writes tensors to a file that appears under its name only when it is whole.
pub(super) fn write_whole(outgoing: &[Outgoing], path: &Path) -> Result<(), WeightsError> {
    let partial = path.with_extension("safetensors.part");
    write_file(outgoing, &partial)?;
    std::fs::rename(&partial, path).map_err(io(path))
}

/// Writes one tensor to a safetensors file, which appears under its name only when it is whole.
///
/// # Errors
///
/// [`WeightsError`] if it cannot be written.
pub fn save_tensor(name: &str, data: &TensorData, path: &Path) -> Result<(), WeightsError> {
    let outgoing = Outgoing {
        name: name.to_owned(),
        dtype: data.dtype(),
        shape: data.shape().to_vec(),
        bytes: Box::new(|| Ok(data.as_bytes().to_vec())),
    };
    write_file(&[outgoing], path)
}

struct Collector {
    wanted: std::vec::IntoIter<Parameter>,
    outgoing: Vec<Outgoing<'static>>,
}

impl ModuleVisitor for Collector {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.collect(param.val().inner());
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        self.collect(param.val().inner());
    }
}

impl Collector {
    fn collect<const D: usize, K: Autodiff + 'static>(&mut self, tensor: Tensor<D, K>) {
        let parameter = self
            .wanted
            .next()
            .expect("both walks go through the same module");
        let dtype = tensor.dtype();
        let mut start = 0;
        for (name, shape) in &parameter.tensors {
            let (transposed, tensor) = (parameter.transposed, tensor.clone());
            let rows = shape.first().map(|rows| start..start + rows);
            start += shape.first().unwrap_or(&0);
            let bytes = move || {
                let tensor = if transposed {
                    tensor.clone().transpose()
                } else {
                    tensor.clone()
                };
                let tensor = match rows.clone() {
                    Some(rows) => tensor.slice([rows]),
                    None => tensor,
                };
                Ok(tensor.into_data().as_bytes().to_vec())
            };
            self.outgoing.push(Outgoing {
                name: name.clone(),
                dtype,
                shape: shape.clone(),
                bytes: Box::new(bytes),
            });
        }
    }
}

/// Writes tensors into a folder: one file, or several of at most `shard_size` bytes each and an index
/// of them, as `transformers` does. Within a file the order is safetensors': by name.
///
/// # Errors
///
/// [`WeightsError::File`] if they cannot be written.
pub(super) fn write_folder(
    outgoing: &[Outgoing],
    folder: &Path,
    shard_size: Option<u64>,
) -> Result<(), WeightsError> {
    let limit = shard_size.unwrap_or(u64::MAX);
    let (mut shards, mut filled) = (vec![0..0], 0_u64);
    for (index, tensor) in outgoing.iter().enumerate() {
        let len = tensor.len() as u64;
        if filled > 0 && filled + len > limit {
            shards.push(index..index);
            filled = 0;
        }
        filled += len;
        if let Some(shard) = shards.last_mut() {
            shard.end = index + 1;
        }
    }
    if shards.len() == 1 {
        return write_file(outgoing, &folder.join(SINGLE));
    }
    let count = shards.len();
    let mut weight_map = serde_json::Map::new();
    for (number, shard) in (1..).zip(shards) {
        let name = format!("model-{number:05}-of-{count:05}.safetensors");
        let tensors = &outgoing[shard];
        write_file(tensors, &folder.join(&name))?;
        weight_map.extend(
            tensors
                .iter()
                .map(|tensor| (tensor.name.clone(), json!(name))),
        );
    }
    let total: usize = outgoing.iter().map(Outgoing::len).sum();
    let index = json!({"metadata": {"total_size": total}, "weight_map": weight_map});
    let path = folder.join(INDEX);
    let text = serde_json::to_vec_pretty(&index).unwrap_or_default();
    std::fs::write(&path, text).map_err(io(&path))
}

struct Writing<'a> {
    outgoing: &'a Outgoing<'a>,
    fault: &'a Mutex<Option<WeightsError>>,
}

impl View for Writing<'_> {
    fn dtype(&self) -> Dtype {
        match self.outgoing.dtype {
            DType::F64 => Dtype::F64,
            DType::F16 => Dtype::F16,
            DType::BF16 => Dtype::BF16,
            DType::I32 => Dtype::I32,
            _ => Dtype::F32,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.outgoing.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        (self.outgoing.bytes)()
            .unwrap_or_else(|error| {
                // The trait knows no errors: this one is kept, and the file thrown away.
                if let Ok(mut fault) = self.fault.lock() {
                    fault.get_or_insert(error);
                }
                Vec::new()
            })
            .into()
    }

    fn data_len(&self) -> usize {
        self.outgoing.len()
    }
}

fn write_file(outgoing: &[Outgoing], path: &Path) -> Result<(), WeightsError> {
    let kept = Mutex::new(None);
    let views = outgoing.iter().map(|outgoing| {
        let view = Writing {
            outgoing,
            fault: &kept,
        };
        (outgoing.name.as_str(), view)
    });
    let about = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let written =
        safetensors::serialize_to_file(views, Some(about), path).map_err(|error| match error {
            SafeTensorError::IoError(source) => io(path)(source),
            other => fault(path, other.to_string()),
        });
    if let Some(error) = kept.into_inner().unwrap_or_default() {
        let _removed = std::fs::remove_file(path);
        return Err(error);
    }
    written?;
    // The library's temporary file is its owner's alone, and stays so under the new name.
    #[cfg(unix)]
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .map_err(io(path))?;
    std::fs::File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(io(path))
}
