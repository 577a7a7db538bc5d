//! Why a run cannot begin or go on.

use std::path::{Path, PathBuf};

use aki_data::DataError;
use thiserror::Error;

use crate::log::JsonlError;

/// Why a run cannot begin or go on.
#[derive(Debug, Error)]
pub enum TrainError {
    /// The run file is at fault.
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
    /// A value of the run file is at fault.
    #[error("{key}: {reason}")]
    Setting {
        /// The dotted key.
        key: String,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// The network's shape is at fault.
    #[error("{0}")]
    Network(String),
    /// The data are at fault.
    #[error(transparent)]
    Data(#[from] aki_data::DataError),
    /// The weights are at fault.
    #[error(transparent)]
    Weights(#[from] aki_model::weights::WeightsError),
    /// The metrics file is at fault.
    #[error(transparent)]
    Metrics(#[from] JsonlError),
    /// A file cannot be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A model folder's `config.json` does not describe a model.
    #[error("{}: {reason}", path.display())]
    Model {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// What was asked for cannot be.
    #[error("{0}")]
    Request(String),
    /// A text is longer than the model takes.
    #[error("{what} has {len} tokens, and the model takes {longest}")]
    TooLong {
        /// Which text.
        what: String,
        /// Its tokens.
        len: usize,
        /// The most tokens that the model takes.
        longest: usize,
    },
    /// A checkpoint cannot be read.
    #[error("checkpoint {} cannot be used: {reason}", path.display())]
    Checkpoint {
        /// The checkpoint's folder.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// There are checkpoints, and none is whole.
    #[error(
        "all checkpoints of {} are damaged; of the newest, {}: {fault}; start anew with --fresh, which sets the run folder aside",
        run_dir.display(),
        newest.display()
    )]
    AllDamaged {
        /// The run folder.
        run_dir: PathBuf,
        /// The newest checkpoint.
        newest: PathBuf,
        /// What is wrong with it.
        fault: crate::checkpoint::Fault,
    },
    /// A checkpoint cannot be written.
    #[error(
        "cannot write checkpoint {}: {reason}; those before it are whole: mend that (is the disk full?), and the same command, without --fresh or --from, goes on from them",
        path.display()
    )]
    Unwritten {
        /// The checkpoint's folder.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// A finished model cannot be written.
    #[error(
        "cannot write the finished model to {}: {reason}; the run's checkpoints are whole: mend that (is the disk full?), and the same command, without --fresh or --from, writes it without training again",
        path.display()
    )]
    ModelUnwritten {
        /// Its folder.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The run folder holds a run of another configuration.
    #[error(
        "{} holds a run with other settings ({}); choose another folder with --set run_dir=..., or set this one aside with --fresh",
        path.display(),
        keys.join(", ")
    )]
    OtherRun {
        /// The run folder.
        path: PathBuf,
        /// The keys that differ.
        keys: Vec<String>,
    },
    /// Another process trains in this folder.
    #[error("{} is in use by another process", path.display())]
    InUse {
        /// The run folder.
        path: PathBuf,
    },
    /// Too many steps in a row without a finite gradient.
    #[error(
        "{steps} steps in a row had no finite gradient, up to step {step} of stage {stage}; the last \
         checkpoint is kept; try a lower learning rate, or leave out the samples named above"
    )]
    Diverged {
        /// The stage.
        stage: String,
        /// The last of the steps.
        step: usize,
        /// How many.
        steps: usize,
    },
    /// Burn's learner stopped with an error.
    #[error("training stopped: {0}")]
    Learner(String),
}

/// Whether the user can mend an I/O error by asking for something else; otherwise the machine failed.
pub fn is_mistake(error: &std::io::Error) -> bool {
    use std::io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::NotFound
            | Kind::PermissionDenied
            | Kind::NotADirectory
            | Kind::IsADirectory
            | Kind::AlreadyExists
            | Kind::InvalidData
            | Kind::InvalidFilename
            | Kind::ReadOnlyFilesystem
    )
}

impl TrainError {
    /// Whether the user can mend it by asking for something else; otherwise the machine failed (a
    /// full disk, say).
    pub fn is_mistake(&self) -> bool {
        match self {
            Self::Diverged { .. }
            | Self::Learner(_)
            | Self::Unwritten { .. }
            | Self::ModelUnwritten { .. }
            | Self::Data(DataError::Remote { .. } | DataError::TooManyBroken { .. }) => false,
            Self::Io { source, .. } | Self::Metrics(JsonlError::Io { source, .. }) => {
                is_mistake(source)
            }
            _ => true,
        }
    }

    /// An I/O error with what was tried and where.
    pub(crate) fn io(
        action: &'static str,
        path: &Path,
    ) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}
