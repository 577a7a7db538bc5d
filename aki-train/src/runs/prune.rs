//! Removing checkpoints that are not needed any more.

use std::path::{Path, PathBuf};

use super::summary::{best_of, config_of, records_of, size};
use crate::TrainError;
use crate::checkpoint;
use crate::report::Report;
use crate::run::claim;

/// What was removed, or would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pruned {
    /// The checkpoint's folder.
    pub path: PathBuf,
    /// What it took on the disk.
    pub bytes: u64,
}

/// Removes all checkpoints of a run but the `keep` newest of each stage and the best one, and what
/// damage, `--from` and crashes left; with `dry`, only says which.
///
/// # Errors
///
/// [`TrainError`] if the folder holds no run, a process trains in it, or nothing would be left to go on
/// from.
pub fn prune(run_dir: &Path, keep: usize, dry: bool) -> Result<Vec<Pruned>, TrainError> {
    let config = config_of(run_dir)?;
    // Held to the end, so that no training begins meanwhile.
    let _lock = claim(run_dir)?;
    if keep == 0 && Report::read(run_dir)?.is_none() {
        return Err(TrainError::Request(format!(
            "{} is not complete, and could not go on without a checkpoint; keep one at least",
            run_dir.display()
        )));
    }
    let best = best_of(run_dir, &config, &records_of(run_dir)?)?.map(|(best, _)| best.path);
    let mut gone = Vec::new();
    for stage in &config.stage {
        let (mut whole, mut older) = (0, Vec::new());
        for checkpoint in checkpoint::list(run_dir, &stage.name)?.iter().rev() {
            if whole < keep {
                // A damaged one counts for nothing: the run goes on from the one before.
                whole += usize::from(checkpoint.verify().is_ok());
            } else if best.as_ref() != Some(&checkpoint.path) {
                older.push(checkpoint.path.clone());
            }
        }
        gone.extend(older.into_iter().rev());
        gone.extend(checkpoint::remains(run_dir, &stage.name)?);
    }
    let gone = gone.into_iter().map(|path| Pruned {
        bytes: size(&path),
        path,
    });
    let gone: Vec<Pruned> = gone.collect();
    if !dry {
        for Pruned { path, .. } in &gone {
            checkpoint::remove(path)?;
        }
    }
    Ok(gone)
}
