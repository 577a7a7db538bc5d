//! Whether an optimizer's file has all that it had.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;

use burn::tensor::DType;
use burn_pack::{Error, Reader};

use super::manifest::Fault;
use super::rank::MODEL;
use crate::optimizer::lacks;

/// What the names of the network's own weights begin with; those of its average have the same numbers.
const NETWORK: &str = "aki.";

/// Checks each state of an optimizer's file, whose bytes are those that were written, against the weights
/// beside it. Burn leaves out what it cannot rebuild, and begins it anew without a word. Of a weight without
/// a gradient so far there is no state.
///
/// # Errors
///
/// [`Fault::Damaged`] saying what the first state at fault lacks.
pub(super) fn check(folder: &Path, file: &str) -> Result<(), Fault> {
    let open = |name: &str| {
        let reader = Reader::from_file_exact(folder.join(name));
        reader.map_err(|error| unreadable(name, &error))
    };
    let weights = open(MODEL)?.into_tensors();
    let weights = weights.map_err(|error| unreadable(MODEL, &error))?;
    let weights = weights
        .iter()
        .filter(|weight| weight.name.starts_with(NETWORK));
    let weights: HashMap<String, (&str, DType)> = weights
        .filter_map(|weight| {
            let id = weight.param_id?.to_string();
            Some((id, (weight.name.as_str(), weight.dtype)))
        })
        .collect();
    let states = open(file)?;
    let mut names: HashSet<&str> = states.tensor_names().into_iter().collect();
    names.extend(states.scalars().keys().map(String::as_str));
    let ids: BTreeSet<&str> = names
        .iter()
        .map(|name| name.split_once('.').map_or(*name, |(id, _)| id))
        .collect();
    for id in ids {
        let Some((weight, dtype)) = weights.get(id) else {
            let reason = format!("has a state of a weight {id} that {MODEL} has not");
            return Err(Fault::damaged(file, reason));
        };
        let there = |name: &str| names.contains(format!("{id}.{name}").as_str());
        if let Some(missing) = lacks(*dtype, there) {
            let reason = format!("lacks {missing:?} of the state of {weight}");
            return Err(Fault::damaged(file, reason));
        }
    }
    Ok(())
}

fn unreadable(file: &str, error: &Error) -> Fault {
    Fault::damaged(file, format!("is no record of Burn's: {error}"))
}

#[cfg(test)]
mod tests {
    use burn::tensor::Bytes;
    use burn_pack::{Scalar, Shape, Tensor, Writer};

    use super::*;
    use crate::checkpoint::rank::OPTIMIZER;

    fn tensor(name: &str, id: u64, dtype: DType) -> Tensor {
        let bytes = Bytes::from_bytes_vec(vec![0; dtype.size()]);
        Tensor::new(name.to_owned(), dtype, Shape::from([1]), Some(id), bytes)
    }

    /// What is said of a state of weight 7, which is held in `dtype`.
    fn told(dtype: DType, id: u64, scalar: &str, tensors: &[&str]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let write = |file: &str, tensors: Vec<Tensor>| {
            let writer =
                Writer::new(tensors).with_scalar(&format!("{id}.{scalar}"), Scalar::from(3_usize));
            writer.write_to_file(folder.path().join(file)).unwrap();
        };
        let average = tensor("average.aki.w", 7, DType::F32);
        write(MODEL, vec![tensor("aki.w", 7, dtype), average]);
        let name = |name: &&str| tensor(&format!("{id}.{name}"), id, DType::F32);
        write(OPTIMIZER, tensors.iter().map(name).collect());
        match check(folder.path(), OPTIMIZER) {
            Ok(()) => String::new(),
            Err(fault) => fault.to_string(),
        }
    }

    #[test]
    fn a_state_that_cannot_be_rebuilt_is_told() {
        let plain = ["first", "second"];
        assert_eq!(told(DType::F32, 7, "steps", &plain), "");
        let packed = [
            "first.codes",
            "first.scales",
            "master",
            "second.codes",
            "second.scales",
        ];
        assert_eq!(told(DType::BF16, 7, "steps", &packed), "");
        let lacks = |name: &str| format!("optimizer.bpk lacks {name:?} of the state of aki.w");
        assert_eq!(told(DType::BF16, 7, "steps", &plain), lacks("master"));
        assert_eq!(told(DType::F32, 7, "steps", &packed[1..]), lacks("first"));
        assert_eq!(told(DType::F32, 7, "steps", &plain[..1]), lacks("second"));
        // As Burn's own AdamW has it.
        let foreign = ["momentum.moment_1", "momentum.moment_2"];
        assert_eq!(
            told(DType::F32, 7, "momentum.time", &foreign),
            lacks("steps")
        );
        let other = told(DType::F32, 8, "steps", &plain);
        assert_eq!(
            other,
            "optimizer.bpk has a state of a weight 8 that model.bpk has not"
        );
    }
}
