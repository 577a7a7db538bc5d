//! One safetensors file, PyTorch's layout: linear weights `[out, in]`, norms `weight` and `bias`.

use std::path::{Path, PathBuf};

use burn::store::{
    ApplyError, BurnToPyTorchAdapter, ModuleSnapshot, PyTorchToBurnAdapter, SafetensorsStore,
};
use thiserror::Error;

use super::names;
use crate::Aki;

/// Why weights cannot be read or written.
#[derive(Debug, Error)]
pub enum WeightsError {
    /// The file is absent, unreadable, or no safetensors file.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the reader says.
        reason: String,
    },
    /// The file does not hold this network. All names at fault are listed at once.
    #[error("{}: these weights are not this model's: {}", path.display(), list(missing, unexpected, misshapen))]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// Names the model has and the file lacks.
        missing: Vec<String>,
        /// Names the file has and the model lacks.
        unexpected: Vec<String>,
        /// Names with expected and found shape, or unreadable.
        misshapen: Vec<String>,
    },
}

fn list(missing: &[String], unexpected: &[String], misshapen: &[String]) -> String {
    let some = |what: &str, names: &[String]| {
        (!names.is_empty()).then(|| {
            let shown: Vec<_> = names.iter().take(8).map(String::as_str).collect();
            let more = names.len() - shown.len();
            let more = if more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            };
            format!("{} {what} ({}{more})", names.len(), shown.join(", "))
        })
    };
    [
        some("missing", missing),
        some("unexpected", unexpected),
        some("misshapen", misshapen),
    ]
    .into_iter()
    .flatten()
    .collect::<Vec<_>>()
    .join("; ")
}

/// Reads a network's weights from a safetensors file. The file is memory-mapped and the tensors
/// keep its dtype.
///
/// # Errors
///
/// [`WeightsError`] if the file cannot be read, or names or shapes differ.
pub fn load(aki: &mut Aki, path: &Path) -> Result<(), WeightsError> {
    let file = |reason: String| WeightsError::File {
        path: path.to_owned(),
        reason,
    };
    let exists = std::fs::metadata(path).map_err(|error| file(error.to_string()))?;
    if !exists.is_file() {
        return Err(file("not a file".to_owned()));
    }
    let mut store = SafetensorsStore::from_file(path)
        .with_from_adapter(PyTorchToBurnAdapter)
        .remap(names::from_checkpoint())
        .validate(false)
        .allow_partial(true);
    let result = aki
        .load_from(&mut store)
        .map_err(|error| file(error.to_string()))?;
    let missing: Vec<String> = result.missing.into_iter().map(|(name, _)| name).collect();
    let misshapen: Vec<String> = result.errors.iter().map(ApplyError::to_string).collect();
    if missing.is_empty() && misshapen.is_empty() && result.unused.is_empty() {
        return Ok(());
    }
    Err(WeightsError::Mismatch {
        path: path.to_owned(),
        missing,
        unexpected: result.unused,
        misshapen,
    })
}

/// Writes a network's weights to a safetensors file that `load` and PyTorch read.
///
/// The file appears under its name only when it is whole.
///
/// # Errors
///
/// [`WeightsError::File`] if it cannot be written.
pub fn save(aki: &Aki, path: &Path) -> Result<(), WeightsError> {
    let mut store = SafetensorsStore::from_file(path)
        .with_to_adapter(BurnToPyTorchAdapter)
        .remap(names::to_checkpoint())
        .overwrite(true)
        // One entry: burn-store writes several in an order that changes from run to run, and the
        // same weights shall be the same file.
        .clear_metadata()
        .metadata("format", "pt");
    let file = |reason: String| WeightsError::File {
        path: path.to_owned(),
        reason,
    };
    aki.save_into(&mut store)
        .map_err(|error| file(error.to_string()))?;
    // burn-store's temporary file is its owner's alone, and stays so under the new name.
    #[cfg(unix)]
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .map_err(|error| file(error.to_string()))?;
    Ok(())
}
