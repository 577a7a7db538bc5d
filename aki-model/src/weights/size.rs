//! Whether a network's tensors are small enough for a device: what a kernel sees of a buffer has an end on GPUs
//! through WGPU, 128 MiB on the least of them.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{DType, Device, Int, Tensor};

use super::checkpoint::Checkpoint;
use super::error::WeightsError;
use super::load::dtype_of;
use super::names::Parameter;
use crate::device::max_tensor_bytes;

/// Holds every tensor against the device's limit.
///
/// # Errors
///
/// [`WeightsError::TooLarge`] for the largest, if it is too large.
pub(super) fn check_sizes(
    module: &impl Module,
    wanted: &[Parameter],
    checkpoint: &Checkpoint,
    dtype: Option<DType>,
) -> Result<(), WeightsError> {
    let mut first = FirstDevice(None);
    module.visit(&mut first);
    match first.0.as_ref().and_then(max_tensor_bytes) {
        Some(limit) => check_largest(wanted, checkpoint, dtype, limit),
        None => Ok(()),
    }
}

fn check_largest(
    wanted: &[Parameter],
    checkpoint: &Checkpoint,
    dtype: Option<DType>,
    limit: u64,
) -> Result<(), WeightsError> {
    let sized = wanted.iter().map(|parameter| {
        let dtype = dtype_of(parameter, checkpoint, dtype);
        (parameter.bytes(dtype) as u64, dtype, parameter)
    });
    let Some((bytes, dtype, largest)) = sized.max_by_key(|(bytes, ..)| *bytes) else {
        return Ok(());
    };
    if bytes <= limit {
        return Ok(());
    }
    let numbers = largest.len() as u64;
    let mut ways = Vec::new();
    if dtype.size() > 2 && !largest.packed && numbers * 2 <= limit {
        ways.push("take --dtype f16");
    }
    // Embeddings stay as they are; of 8 bits and a scale a number has some 8.5.
    let packs = !largest.packed && !largest.path.contains("embed");
    if packs && numbers / 16 * 17 <= limit {
        ways.push("pack the weights with aki quantize");
    }
    ways.push("compute with --device cpu");
    Err(WeightsError::TooLarge {
        path: checkpoint.path().to_owned(),
        tensor: largest.tensors[0].0.clone(),
        bytes,
        dtype: dtype.name(),
        limit,
        ways: ways.join(", or "),
    })
}

/// The device of a module's first parameter, which is not drawn for it.
struct FirstDevice(Option<Device>);

impl ModuleVisitor for FirstDevice {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.get_or_insert_with(|| param.lazy_device());
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        self.0.get_or_insert_with(|| param.lazy_device());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::save_tensor;
    use burn::tensor::TensorData;

    #[test]
    fn the_largest_tensor_is_named_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let check = |name: &str, limit| {
            let data = TensorData::zeros::<f32, _>([64, 32]);
            save_tensor(name, &data, &path).unwrap();
            let parameter = Parameter {
                path: name.to_owned(),
                transposed: false,
                tensors: vec![(name.to_owned(), vec![64, 32])],
                adapter: false,
                packed: false,
            };
            check_largest(&[parameter], &Checkpoint::open(&path).unwrap(), None, limit)
        };
        assert!(check("head.weight", 8192).is_ok());
        for (name, limit, ways) in [
            (
                "head.weight",
                8191,
                "take --dtype f16, or pack the weights with aki quantize, or compute with --device cpu",
            ),
            (
                "head.weight",
                4095,
                "pack the weights with aki quantize, or compute with --device cpu",
            ),
            ("embed.weight", 4095, "compute with --device cpu"),
        ] {
            let message = check(name, limit).unwrap_err().to_string();
            let expected = format!(
                "{}: {name} takes 8192 bytes in f32, and this GPU has {limit} for a tensor at most; {ways}",
                path.display()
            );
            assert_eq!(message, expected);
        }
    }
}
