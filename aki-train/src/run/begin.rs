//! Where a run begins: anew, where it was left, or at a checkpoint of the user's choice.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::folder::{claim, keep_config, other_keys};
use crate::TrainError;
use crate::checkpoint::{self, Checkpoint};
use crate::config::RunConfig;
use crate::report::Report;

/// Where a run begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Begin {
    /// At the newest checkpoint in its folder, else anew.
    #[default]
    Resume,
    /// Anew; a run that its folder holds is set aside.
    Fresh,
    /// At this checkpoint, of this run or of another one with the same settings.
    From(PathBuf),
}

impl Begin {
    /// Makes the run folder such that its newest checkpoint is the one to begin at, and keeps others out
    /// of it.
    pub(super) fn claim(
        &self,
        config: &RunConfig,
        world: usize,
        tell: fn(&str),
    ) -> Result<File, TrainError> {
        match self {
            Self::Resume => claim(&config.run_dir),
            Self::Fresh => {
                set_run_aside(config, tell)?;
                claim(&config.run_dir)
            }
            Self::From(path) => at(path, config, world, tell),
        }
    }
}

/// Renames the folder of a run to `NAME.old-N`.
fn set_run_aside(config: &RunConfig, tell: fn(&str)) -> Result<(), TrainError> {
    let run_dir = &config.run_dir;
    if !run_dir.join("config.toml").exists() {
        return Ok(());
    }
    let fault = |reason: String| Err(TrainError::Request(reason));
    let shown = run_dir.display();
    let Some(name) = run_dir.file_name() else {
        return fault(format!("{shown} cannot be set aside; give run_dir a name"));
    };
    let whole = std::path::absolute(run_dir).map_err(TrainError::io("find", run_dir))?;
    if let Some(needed) = config.paths().find(|path| path.starts_with(&whole)) {
        let needed = needed.display();
        return fault(format!(
            "{shown} cannot be set aside, since the run needs {needed}; choose another folder with --set run_dir=..."
        ));
    }
    // Held while the folder is renamed, so that nobody trains in it.
    let lock = claim(run_dir)?;
    let numbered = |number: usize| {
        let mut name = name.to_owned();
        name.push(format!(".old-{number}"));
        run_dir.with_file_name(name)
    };
    let mut number = 1;
    while numbered(number).exists() {
        number += 1;
    }
    let aside = numbered(number);
    std::fs::rename(run_dir, &aside).map_err(TrainError::io("rename", run_dir))?;
    drop(lock);
    tell(&format!("{shown} is now {}", aside.display()));
    Ok(())
}

/// Makes a checkpoint the newest of the run, which `world` processes go on with. Nothing is changed if it
/// cannot be.
fn at(path: &Path, config: &RunConfig, world: usize, tell: fn(&str)) -> Result<File, TrainError> {
    let run_dir = &config.run_dir;
    let fault =
        |reason: String| TrainError::Request(format!("--from {}: {reason}", path.display()));
    if let Some(instead) = Checkpoint::instead_at(path) {
        return Err(fault(format!(
            "{instead}; a checkpoint is a folder RUN/checkpoints/STAGE/step-000000"
        )));
    }
    let chosen = Checkpoint::open(path)?;
    chosen.verify().map_err(|fault| TrainError::Checkpoint {
        path: path.to_owned(),
        reason: fault.to_string(),
    })?;
    chosen.fits(world)?;
    let other = chosen.run_dir()?;
    if std::fs::canonicalize(run_dir).is_ok_and(|run_dir| run_dir == other) {
        let name = chosen.name();
        if std::fs::canonicalize(path).is_ok_and(|path| !path.ends_with(&name)) {
            return Err(fault(format!(
                "it was set aside; rename it to {name} to go on from it"
            )));
        }
        let lock = claim(run_dir)?;
        if Report::read(run_dir)?.is_some() {
            let reason =
                "this run is complete; go on from there in another folder with --set run_dir=...";
            return Err(fault(reason.to_owned()));
        }
        keep_config(config)?;
        set_later_aside(&chosen, config, tell)?;
        return Ok(lock);
    }
    let keys = other_keys(&other, config)?;
    if !keys.is_empty() {
        let keys = keys.join(", ");
        return Err(fault(format!(
            "that run has other settings ({keys}); to begin with its weights alone, name it as the run file's `start`"
        )));
    }
    let lock = claim(run_dir)?;
    if run_dir.join("config.toml").exists() {
        let reason = format!(
            "{} holds a run already; go on with it without --from, or choose another folder with --set run_dir=...",
            run_dir.display()
        );
        return Err(fault(reason));
    }
    // The logs first: the checkpoint makes it a run that has begun. The metrics are cut where it goes on.
    let model = run_dir.join("model");
    std::fs::create_dir_all(&model).map_err(TrainError::io("create", &model))?;
    for name in ["metrics.jsonl", "skipped.jsonl", "model/config.json"] {
        let (from, to) = (other.join(name), run_dir.join(name));
        if from.exists() {
            std::fs::copy(&from, &to).map_err(TrainError::io("copy", &from))?;
        }
    }
    checkpoint::copy(&chosen, run_dir)?;
    Ok(lock)
}

/// Takes the checkpoints after `chosen` out of the run's.
fn set_later_aside(
    chosen: &Checkpoint,
    config: &RunConfig,
    tell: fn(&str),
) -> Result<(), TrainError> {
    let position = config
        .stage
        .iter()
        .position(|stage| stage.name == chosen.stage);
    let Some(position) = position else {
        let stage = &chosen.stage;
        let reason = format!("the run has no stage {stage:?} that this checkpoint could be of");
        return Err(TrainError::Request(reason));
    };
    let mut later = Vec::new();
    for (index, stage) in config.stage.iter().enumerate().skip(position) {
        let found = checkpoint::list(&config.run_dir, &stage.name)?;
        later.extend(
            found
                .into_iter()
                .filter(|found| index > position || found.step > chosen.step),
        );
    }
    // The newest first: wherever this is cut off, what is left is a run's checkpoints.
    for found in later.iter().rev() {
        let aside = checkpoint::set_aside(found, checkpoint::OLD)?;
        tell(&format!(
            "checkpoint {} is now {}",
            found.path.display(),
            aside.display()
        ));
    }
    // Of a run that was stopped while it was measured; it is that of a later step.
    let weights = config.run_dir.join("model/model.safetensors");
    match std::fs::remove_file(&weights) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(TrainError::io("remove", &weights)(error))
        }
        _ => Ok(()),
    }
}
