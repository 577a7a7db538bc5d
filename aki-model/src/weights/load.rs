//! From a checkpoint into a network.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Int, Tensor, TensorData};
use rayon::prelude::*;

use super::WeightsError;
use super::checkpoint::Checkpoint;
use super::error::some;
use super::fit::{Allow, Gap, fit};
use super::names::{Parameter, Projections, parameters};
use super::size::check_sizes;
use crate::Aki;

/// Reads a network's weights. They get `dtype`, or keep the checkpoint's.
///
/// Each tensor is mapped, converted and let go before the next, so that memory holds little more than
/// the network. Latents that are more or fewer than the model's are drawn anew, which is told. Adapters
/// stay as they are.
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
    let of_the_checkpoint = wanted.iter().filter(|parameter| !parameter.adapter);
    let of_the_checkpoint: Vec<Parameter> = of_the_checkpoint.cloned().collect();
    let gaps = fit(&of_the_checkpoint, checkpoint, Allow::Latents)?;
    check_sizes(&module, &of_the_checkpoint, checkpoint, dtype)?;
    if !gaps.is_empty() {
        let names: Vec<String> = gaps.keys().cloned().collect();
        tracing::warn!(
            "{}: not there in the model's shape, and drawn anew: {}",
            checkpoint.path().display(),
            some(&names)
        );
    }
    let mut loader = Loader {
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
    wanted: std::vec::IntoIter<Parameter>,
    gaps: BTreeMap<String, Gap>,
    checkpoint: &'a Checkpoint,
    dtype: Option<DType>,
    fault: Option<WeightsError>,
}

impl Loader<'_> {
    /// The next parameter and its numbers, unless it keeps those it has.
    fn next(&mut self) -> Option<(Parameter, TensorData)> {
        let parameter = self
            .wanted
            .next()
            .expect("both walks go through the same module");
        if self.fault.is_some()
            || parameter.adapter
            || self.gaps.contains_key(&parameter.tensors[0].0)
        {
            return None;
        }
        match read(&parameter, self.checkpoint, self.dtype) {
            Ok(data) => Some((parameter, data)),
            Err(error) => {
                self.fault = Some(error);
                None
            }
        }
    }
}

impl ModuleMapper for Loader<'_> {
    fn map_int<const D: usize>(&mut self, param: Param<Tensor<D, Int>>) -> Param<Tensor<D, Int>> {
        let Some((_, words)) = self.next() else {
            return param;
        };
        let (device, id) = (param.lazy_device(), param.id);
        param.transform_for_load(Tensor::from_data(words, (&device, DType::I32)), id)
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some((parameter, data)) = self.next() else {
            return param;
        };
        let (device, dtype) = (param.lazy_device(), data.dtype());
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

/// A parameter's numbers, all parts of it one below the other.
pub(super) fn read(
    parameter: &Parameter,
    checkpoint: &Checkpoint,
    dtype: Option<DType>,
) -> Result<TensorData, WeightsError> {
    let dtype = dtype_of(parameter, checkpoint, dtype);
    let mut all = Vec::with_capacity(parameter.len() * dtype.size());
    for (name, _) in &parameter.tensors {
        let (stored, held) = (&checkpoint.tensors()[name], all.len());
        let bytes = stored.bytes()?;
        stored.cast_onto(&mut all, &bytes, dtype);
        let infinite = |bytes: &[u8; 2]| u16::from_le_bytes(*bytes) & 0x7fff == 0x7c00;
        let cast = dtype == DType::F16 && stored.dtype != Some(dtype);
        if cast && all[held..].as_chunks().0.par_iter().any(infinite) {
            return Err(WeightsError::BeyondF16 {
                path: checkpoint.path().to_owned(),
                tensor: name.clone(),
            });
        }
    }
    Ok(TensorData::from_bytes_vec(all, parameter.shape(), dtype))
}

/// What a parameter's numbers become: `dtype`, or what they are in the checkpoint.
pub(super) fn dtype_of(
    parameter: &Parameter,
    checkpoint: &Checkpoint,
    dtype: Option<DType>,
) -> DType {
    let stored = checkpoint.tensors().get(&parameter.tensors[0].0);
    match parameter.packed {
        true => DType::I32,
        false => dtype
            .or(stored.and_then(|stored| stored.dtype))
            .unwrap_or(DType::F32),
    }
}
