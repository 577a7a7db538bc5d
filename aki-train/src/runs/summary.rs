//! What became of a run.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::TrainError;
use crate::checkpoint::{self, Checkpoint};
use crate::config::RunConfig;
use crate::log::{Record, Split, read};
use crate::report::{Report, StageResult};

/// What a run does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// A process trains in its folder.
    Running,
    /// It has its report.
    Complete,
    /// Neither; the same command goes on with it.
    Stopped,
}

/// What became of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Its folder's name.
    pub name: String,
    /// Its folder.
    pub path: PathBuf,
    /// The stage it came to.
    pub stage: Option<String>,
    /// Steps of that stage that were done.
    pub step: usize,
    /// Steps of that stage.
    pub steps: usize,
    /// Mean training loss of that stage's last 50 steps.
    pub loss: Option<f64>,
    /// The last loss on the samples set aside.
    pub valid_loss: Option<f64>,
    /// The last share of exactly right texts on them.
    pub accuracy: Option<f64>,
    /// The checkpoint with the lowest loss on them, of those that are there.
    pub best: Option<PathBuf>,
    /// What the folder takes on the disk.
    pub bytes: u64,
    /// What it does.
    pub state: State,
}

/// The runs in a folder, by name; or that folder's own. Of those that cannot be read, why.
///
/// # Errors
///
/// [`TrainError::Io`] if the folder cannot be listed.
pub fn list(folder: &Path) -> Result<Vec<Result<Summary, TrainError>>, TrainError> {
    if is_run(folder) {
        return Ok(vec![summary(folder)]);
    }
    let entries = std::fs::read_dir(folder).map_err(TrainError::io("list", folder))?;
    let mut runs = Vec::new();
    for entry in entries {
        let path = entry.map_err(TrainError::io("list", folder))?.path();
        if is_run(&path) {
            runs.push(path);
        }
    }
    runs.sort();
    Ok(runs.iter().map(|path| summary(path)).collect())
}

fn is_run(folder: &Path) -> bool {
    folder.join("config.toml").is_file()
}

/// The settings of the run in a folder.
pub(super) fn config_of(run_dir: &Path) -> Result<RunConfig, TrainError> {
    let path = run_dir.join("config.toml");
    if !path.try_exists().map_err(TrainError::io("read", &path))? {
        return Err(TrainError::Request(format!(
            "{} is no run's folder: it has no config.toml",
            run_dir.display()
        )));
    }
    RunConfig::kept(&path)
}

pub(super) fn records_of(run_dir: &Path) -> Result<Vec<Record>, TrainError> {
    Ok(read(&run_dir.join("metrics.jsonl"))?.0)
}

/// What became of the run in a folder.
///
/// # Errors
///
/// [`TrainError`] if it holds none or its files cannot be read.
pub fn summary(run_dir: &Path) -> Result<Summary, TrainError> {
    let config = config_of(run_dir)?;
    let records = records_of(run_dir)?;
    let last = records
        .iter()
        .rev()
        .find(|record| record.split == Split::Train);
    let stage = last.and_then(|last| config.stage.iter().find(|stage| stage.name == last.stage));
    let result = stage.map(|stage| {
        let attention = String::new();
        StageResult::from_records(&stage.name, stage.steps, attention, &records)
    });
    let best = best_of(run_dir, &config, &records)?;
    let name = std::path::absolute(run_dir).ok();
    let name = name
        .as_deref()
        .and_then(Path::file_name)
        .unwrap_or_default();
    Ok(Summary {
        name: name.to_string_lossy().into_owned(),
        path: run_dir.to_owned(),
        stage: stage.map(|stage| stage.name.clone()),
        step: last.map_or(0, |last| last.step),
        steps: stage.map_or(0, |stage| stage.steps),
        loss: result.as_ref().and_then(|result| result.train_loss),
        valid_loss: result.as_ref().and_then(|result| result.valid_loss),
        accuracy: result.as_ref().and_then(|result| result.valid_accuracy),
        best: best.map(|(checkpoint, _)| checkpoint.path),
        bytes: size(run_dir),
        state: state(run_dir)?,
    })
}

pub(super) fn state(run_dir: &Path) -> Result<State, TrainError> {
    let path = run_dir.join(".lock");
    match File::open(&path) {
        // Shared and let go at once: it does not stop who asks for the lock a moment later.
        Ok(lock) => match lock.try_lock_shared() {
            Err(TryLockError::WouldBlock) => return Ok(State::Running),
            Err(TryLockError::Error(error)) => return Err(TrainError::io("lock", &path)(error)),
            Ok(()) => {}
        },
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(TrainError::io("open", &path)(error)),
    }
    Ok(match Report::read(run_dir)? {
        Some(_) => State::Complete,
        None => State::Stopped,
    })
}

/// The checkpoint of a run with the lowest loss on the samples set aside, and that loss: of the last of
/// its stages that has one.
///
/// # Errors
///
/// [`TrainError`] if it holds no run, or none of its checkpoints was measured.
pub fn best(run_dir: &Path) -> Result<(Checkpoint, f64), TrainError> {
    let found = best_of(run_dir, &config_of(run_dir)?, &records_of(run_dir)?)?;
    found.ok_or_else(|| {
        TrainError::Request(format!(
            "{} has no checkpoint of a step that was measured; let stage.NAME.checkpoint_every and \
             evaluate_every meet",
            run_dir.display()
        ))
    })
}

pub(super) fn best_of(
    run_dir: &Path,
    config: &RunConfig,
    records: &[Record],
) -> Result<Option<(Checkpoint, f64)>, TrainError> {
    for stage in config.stage.iter().rev() {
        let checkpoints = checkpoint::list(run_dir, &stage.name)?;
        let best = checkpoint::best(&checkpoints, &stage.name, records);
        if let Some((index, loss)) = best {
            return Ok(Some((checkpoints[index].clone(), loss)));
        }
    }
    Ok(None)
}

/// Bytes of the files below a folder; those that vanish meanwhile are not counted.
pub(super) fn size(folder: &Path) -> u64 {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        // Links are not followed.
        match entry.metadata() {
            Ok(found) if found.is_dir() => bytes += size(&entry.path()),
            Ok(found) => bytes += found.len(),
            Err(_) => {}
        }
    }
    bytes
}
