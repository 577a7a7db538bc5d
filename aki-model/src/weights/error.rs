//! Why weights cannot be read or written.

use std::path::PathBuf;

use thiserror::Error;

/// Why weights cannot be read or written.
#[derive(Debug, Error)]
pub enum WeightsError {
    /// The file is absent, unreadable, damaged, or no file of weights.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The system cannot read or write the file.
    #[error("{}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The matrices are packed, and plain ones are wanted.
    #[error(
        "{}: these weights are quantised, and plain ones are needed here; `aki convert FROM OUT` unpacks them",
        path.display()
    )]
    Packed {
        /// The file.
        path: PathBuf,
    },
    /// A tensor is larger than the device lets one be.
    #[error(
        "{}: {tensor} takes {bytes} bytes in {dtype}, and this GPU has {limit} for a tensor at most; {ways}",
        path.display()
    )]
    TooLarge {
        /// The file or folder.
        path: PathBuf,
        /// The tensor's name in the file.
        tensor: String,
        /// What it takes.
        bytes: u64,
        /// The type it is wanted in.
        dtype: &'static str,
        /// What the device has for a tensor.
        limit: u64,
        /// What to do.
        ways: String,
    },
    /// A weight is beyond the range of f16.
    #[error(
        "{}: {tensor} has numbers beyond 65504, which f16 ends at; take --dtype f32",
        path.display()
    )]
    BeyondF16 {
        /// The file or folder.
        path: PathBuf,
        /// The tensor's name in the file.
        tensor: String,
    },
    /// The file does not hold this network. All names at fault are listed at once.
    #[error("{}: these weights are not this model's: {faults}", path.display())]
    Mismatch {
        /// The file or folder.
        path: PathBuf,
        /// What does not fit.
        faults: Faults,
    },
}

/// Names that do not fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Names the model has and the file lacks.
    pub missing: Vec<String>,
    /// Names the file has and the model lacks.
    pub unexpected: Vec<String>,
    /// Names with expected and found shape.
    pub misshapen: Vec<String>,
}

impl Faults {
    /// Whether nothing is wrong but that names which begin with `prefix` are missing.
    pub fn lack_only(&self, prefix: &str) -> bool {
        self.unexpected.is_empty()
            && self.misshapen.is_empty()
            && self.missing.iter().all(|name| name.starts_with(prefix))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.misshapen.is_empty()
    }
}

impl std::fmt::Display for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kinds = [
            ("missing", &self.missing),
            ("unexpected", &self.unexpected),
            ("misshapen", &self.misshapen),
        ];
        let kinds = kinds.iter().filter(|(_, names)| !names.is_empty());
        for (index, (kind, names)) in kinds.enumerate() {
            let between = if index == 0 { "" } else { "; " };
            write!(f, "{between}{} {kind} ({})", names.len(), some(names))?;
        }
        Ok(())
    }
}

/// The first few names, and how many more there are.
pub(super) fn some(names: &[String]) -> String {
    let shown = names[..names.len().min(8)].join(", ");
    match names.len().saturating_sub(8) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
