//! From a checkpoint into a network.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Tensor, TensorData};

use super::WeightsError;
use super::checkpoint::Checkpoint;
use super::error::some;
use super::fit::{Allow, Gap, fit};
use super::names::{Parameter, Place, Projections, parameters};
use crate::Aki;

/// Reads a network's weights. They get `dtype`, or keep the checkpoint's.
///
/// Each tensor is mapped, converted and let go before the next, so that memory holds little more than
/// the network. Latents that are more or fewer than the model's are drawn anew, which is told.
///
/// # Errors
///
/// [`WeightsError`] if a file cannot be read, or names, shapes or types differ; nothing is read then.
pub fn load(aki: Aki, checkpoint: &Checkpoint, dtype: Option<DType>) -> Result<Aki, WeightsError> {
    let projections = aki.projections();
    load_module(aki, &projections, "", checkpoint, dtype)
}

/// As [`load`], for a part of a network; `prefix` is put before its parameters' names.
///
/// # Errors
///
/// As [`load`].
pub fn load_module<M: Module>(
    module: M,
    projections: &Projections,
    prefix: &str,
    checkpoint: &Checkpoint,
    dtype: Option<DType>,
) -> Result<M, WeightsError> {
    let wanted = parameters(&module, projections, prefix);
    let gaps = fit(&wanted, checkpoint, Allow::Latents)?;
    if !gaps.is_empty() {
        let names: Vec<String> = gaps.keys().cloned().collect();
        tracing::warn!(
            "{}: not there in the model's shape, and drawn anew: {}",
            checkpoint.path().display(),
            some(&names)
        );
    }
    let mut loader = Loader {
        place: Place::default(),
        prefix,
        wanted: wanted.into_iter(),
        gaps,
        checkpoint,
        dtype,
        fault: None,
    };
    let module = module.map(&mut loader);
    loader.fault.map_or(Ok(module), Err)
}

struct Loader<'a> {
    place: Place,
    prefix: &'a str,
    wanted: std::vec::IntoIter<Parameter>,
    gaps: BTreeMap<String, Gap>,
    checkpoint: &'a Checkpoint,
    dtype: Option<DType>,
    fault: Option<WeightsError>,
}

impl ModuleMapper for Loader<'_> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.place.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.place.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let parameter = self
            .wanted
            .next()
            .expect("both walks go through the same module");
        debug_assert_eq!(parameter.path, self.place.path(self.prefix));
        if self.fault.is_some() || self.gaps.contains_key(&parameter.tensors[0].0) {
            return param;
        }
        let (data, shape) = match read(&parameter, self.checkpoint, self.dtype) {
            Ok(read) => read,
            Err(error) => {
                self.fault = Some(error);
                return param;
            }
        };
        let (bytes, dtype) = data;
        let device = param.lazy_device();
        let data = TensorData::from_bytes_vec(bytes, shape, dtype);
        let tensor = Tensor::<D>::from_data(data, (&device, dtype));
        // The transpose is a view: rows of the checkpoint stay rows in memory, which is also how a
        // product with one token reads them best.
        let tensor = if parameter.transposed {
            tensor.transpose()
        } else {
            tensor
        };
        let id = param.id;
        param.transform_for_load(tensor, id)
    }
}

type Read = ((Vec<u8>, DType), Vec<usize>);

/// A parameter's bytes, all parts of it one below the other.
fn read(
    parameter: &Parameter,
    checkpoint: &Checkpoint,
    dtype: Option<DType>,
) -> Result<Read, WeightsError> {
    let stored = parameter
        .tensors
        .iter()
        .map(|(name, _)| &checkpoint.tensors()[name]);
    let first = stored.clone().next().and_then(|stored| stored.dtype);
    let dtype = dtype.or(first).unwrap_or(DType::F32);
    let mut all = Vec::with_capacity(parameter.len() * dtype.size());
    for stored in stored {
        let bytes = stored.bytes()?;
        all.extend_from_slice(&stored.cast(&bytes, dtype));
    }
    Ok(((all, dtype), parameter.shape()))
}
