//! A checkpoint on disk.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use aki_data::mixture::BatchState;
use aki_model::Aki;
use burn::optim::OptimizerRecord;
use burn::optim::lr_scheduler::LrSchedulerRecord;
use burn::store::{ModuleRecord, RecordError};
use burn::train::Learner;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::manifest::{Fault, MANIFEST, Manifest};
use super::rank::{DATA, MODEL, OPTIMIZER, Rank, SCHEDULE, STATE, share_of};
use super::resume::{PARTIAL, remove};
use super::state;
use crate::TrainError;
use crate::config::{RunConfig, StageConfig, TrainingConfig};
use crate::files::sync_folder_of;
use crate::learner::{StepConfig, Trainee};

/// A checkpoint on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Its folder.
    pub path: PathBuf,
    /// The stage it was taken in.
    pub stage: String,
    /// Steps of that stage that were done.
    pub step: usize,
}

/// The folder of a stage's checkpoints.
pub(super) fn stage_folder(run_dir: &Path, stage: &str) -> PathBuf {
    run_dir.join("checkpoints").join(stage)
}

/// The name of a checkpoint's folder.
pub(super) fn step_name(step: usize) -> String {
    format!("step-{step:06}")
}

/// All folders of a stage that have a checkpoint's name, oldest first; some may be damaged.
pub(super) fn folders(run_dir: &Path, stage: &str) -> Result<Vec<Checkpoint>, TrainError> {
    let folder = stage_folder(run_dir, stage);
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(TrainError::io("list", &folder)(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(TrainError::io("list", &folder))?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let step = name.and_then(|name| name.strip_prefix("step-")?.parse().ok());
        if let Some(step) = step {
            found.push(Checkpoint {
                path,
                stage: stage.to_owned(),
                step,
            });
        }
    }
    found.sort_by_key(|checkpoint| checkpoint.step);
    Ok(found)
}

/// Checkpoints of one stage that have a manifest, oldest first. What else they have is looked at when
/// they are read.
///
/// # Errors
///
/// [`TrainError::Io`] if the folder cannot be listed.
pub fn list(run_dir: &Path, stage: &str) -> Result<Vec<Checkpoint>, TrainError> {
    let mut found = folders(run_dir, stage)?;
    found.retain(|checkpoint| Checkpoint::is_at(&checkpoint.path));
    Ok(found)
}

/// The last of a run's stages that has a checkpoint, and its newest one.
///
/// # Errors
///
/// [`TrainError::Io`] if a folder cannot be listed.
pub fn newest(
    run_dir: &Path,
    stages: &[StageConfig],
) -> Result<Option<(usize, Checkpoint)>, TrainError> {
    for (index, stage) in stages.iter().enumerate().rev() {
        if let Some(newest) = list(run_dir, &stage.name)?.pop() {
            return Ok(Some((index, newest)));
        }
    }
    Ok(None)
}

/// Copies a checkpoint into another run; it appears there when it is whole.
pub(crate) fn copy(from: &Checkpoint, run_dir: &Path) -> Result<(), TrainError> {
    let stage = stage_folder(run_dir, &from.stage);
    let folder = stage.join(step_name(from.step));
    let partial = folder.with_extension(PARTIAL);
    // What an earlier attempt left.
    remove(&partial)?;
    remove(&folder)?;
    std::fs::create_dir_all(&partial).map_err(TrainError::io("create", &partial))?;
    let manifest = from.manifest()?;
    let names = manifest.files.iter().map(|file| file.name.as_str());
    for name in names.chain([MANIFEST]) {
        let to = partial.join(name);
        std::fs::copy(from.path.join(name), &to)
            .and_then(|_| std::fs::File::open(&to)?.sync_all())
            .map_err(TrainError::io("write", &to))?;
    }
    sync_folder_of(&partial.join(MANIFEST))
        .and_then(|()| std::fs::rename(&partial, &folder))
        .and_then(|()| sync_folder_of(&folder))
        .map_err(TrainError::io("write", &folder))
}

impl Checkpoint {
    /// Whether a folder is a checkpoint.
    pub fn is_at(path: &Path) -> bool {
        path.join(MANIFEST).is_file()
    }

    /// What is at a path if it is neither a checkpoint nor what is left of one.
    pub(crate) fn instead_at(path: &Path) -> Option<&'static str> {
        let mut names = match std::fs::read_dir(path) {
            Ok(entries) => entries.flatten().map(|entry| entry.file_name()),
            Err(_) if path.is_file() => return Some("this is a file"),
            Err(error) if error.kind() == ErrorKind::NotFound => return Some("nothing is there"),
            Err(_) => return None,
        };
        if path.join("config.toml").is_file() && path.join("checkpoints").is_dir() {
            return Some("this is a run's folder; name one of its checkpoints");
        }
        let ours = [MANIFEST, MODEL, SCHEDULE, STATE];
        if ours.iter().any(|file| path.join(file).is_file()) {
            return None;
        }
        Some(match names.next() {
            Some(_) => "this folder is none",
            None => "this folder is empty",
        })
    }

    /// Its folder's name, unless it was set aside.
    pub(crate) fn name(&self) -> String {
        step_name(self.step)
    }

    /// The checkpoint in a folder, wherever that is.
    ///
    /// # Errors
    ///
    /// [`TrainError::Checkpoint`] if there is none.
    pub fn open(path: &Path) -> Result<Self, TrainError> {
        let fault = |fault: Fault| TrainError::Checkpoint {
            path: path.to_owned(),
            reason: fault.to_string(),
        };
        let Manifest { stage, step, .. } = Manifest::read(path).map_err(fault)?;
        let path = path.to_owned();
        Ok(Self { path, stage, step })
    }

    /// The folder of the run it was taken in, as far as its place tells.
    ///
    /// # Errors
    ///
    /// [`TrainError::Checkpoint`] if it stands elsewhere.
    pub fn run_dir(&self) -> Result<PathBuf, TrainError> {
        let path = std::fs::canonicalize(&self.path);
        let path = path.map_err(TrainError::io("find", &self.path))?;
        let mut above = path.ancestors().skip(2);
        let checkpoints = above.next().and_then(Path::file_name);
        match (checkpoints, above.next()) {
            (Some(name), Some(run)) if name == "checkpoints" => Ok(run.to_owned()),
            _ => Err(self.fault("it is not in its run's folder, as RUN/checkpoints/STAGE/STEP")),
        }
    }

    /// Its manifest, which says that it is this checkpoint.
    pub(super) fn check_manifest(&self) -> Result<Manifest, Fault> {
        let manifest = Manifest::read(&self.path)?;
        if (manifest.stage.as_str(), manifest.step) != (&self.stage, self.step) {
            let reason = format!("is of step {} of stage {:?}", manifest.step, manifest.stage);
            return Err(Fault::damaged(MANIFEST, reason));
        }
        Ok(manifest)
    }

    /// What it is made of.
    ///
    /// # Errors
    ///
    /// [`TrainError::Checkpoint`] if its manifest cannot be read.
    pub fn manifest(&self) -> Result<Manifest, TrainError> {
        self.check_manifest().map_err(|fault| self.fault(fault))
    }

    /// Reads all of its files, of which none may be missing.
    ///
    /// # Errors
    ///
    /// [`Fault`] if one of them is not what was written, or a run could not go on with all that it had.
    pub fn verify(&self) -> Result<(), Fault> {
        let manifest = self.check_manifest()?;
        for file in [MODEL, SCHEDULE, STATE] {
            if !manifest.has(file) {
                return Err(Fault::damaged(MANIFEST, format!("does not name {file}")));
            }
        }
        manifest.verify(&self.path)?;
        let shares = (0..manifest.world).map(|rank| share_of(OPTIMIZER, rank));
        let states: Vec<String> = match manifest.has(OPTIMIZER) {
            true => vec![OPTIMIZER.to_owned()],
            false => shares.collect(),
        };
        states
            .iter()
            .try_for_each(|file| state::check(&self.path, file))
    }

    fn fault(&self, reason: impl ToString) -> TrainError {
        TrainError::Checkpoint {
            path: self.path.clone(),
            reason: reason.to_string(),
        }
    }

    fn in_file(&self, file: &str) -> impl FnOnce(RecordError) -> TrainError {
        let (checkpoint, file) = (self.clone(), file.to_owned());
        move |error| checkpoint.fault(format!("{file}: {error}"))
    }

    /// Whether it can be resumed by so many processes.
    ///
    /// # Errors
    ///
    /// [`TrainError::Checkpoint`] if it was written by more or fewer.
    pub fn fits(&self, world: usize) -> Result<(), TrainError> {
        let written = self.manifest()?.world;
        if written != world {
            let reason = format!(
                "it was written by {written} processes, and now there are {world}; start as many as then"
            );
            return Err(self.fault(reason));
        }
        Ok(())
    }

    /// The model's weights alone: the average of a run that takes one, with adapters worked in.
    ///
    /// # Errors
    ///
    /// [`TrainError::Checkpoint`] if the file is damaged or another model's, or the run's folder does
    /// not say what run it is.
    pub fn load_model(&self, aki: Aki) -> Result<Aki, TrainError> {
        self.check(MODEL)?;
        let TrainingConfig { ema, lora, .. } = self.training()?;
        let aki = match &lora {
            Some(lora) => aki.with_adapters(&lora.adapters()),
            None => aki,
        };
        let config = StepConfig {
            ema,
            ..StepConfig::default()
        };
        Ok(self.load_trainee(aki, config)?.into_aki().merged())
    }

    /// The network with its average, of a file that was verified. Nothing is drawn of an undrawn one.
    ///
    /// # Errors
    ///
    /// [`TrainError::Checkpoint`] if the file is another run's.
    pub fn load_trainee(&self, aki: Aki, config: StepConfig) -> Result<Trainee, TrainError> {
        let record = ModuleRecord::load(self.path.join(MODEL)).map_err(self.in_file(MODEL))?;
        Trainee::load(aki, config, record).map_err(self.in_file(MODEL))
    }

    /// How its run is trained, as the run's folder says.
    fn training(&self) -> Result<TrainingConfig, TrainError> {
        let path = self.run_dir()?.join("config.toml");
        Ok(RunConfig::kept(&path)?.training)
    }

    /// Where a rank's sources stood.
    ///
    /// # Errors
    ///
    /// [`TrainError::Checkpoint`] if the file is missing or damaged.
    pub fn load_data_state(&self, rank: Rank) -> Result<BatchState, TrainError> {
        self.load_json(&rank.of(DATA))
    }

    /// What the strategy kept.
    ///
    /// # Errors
    ///
    /// [`TrainError::Checkpoint`] if the file is missing or damaged.
    pub fn load_state<S: DeserializeOwned>(&self) -> Result<S, TrainError> {
        self.load_json(STATE)
    }

    fn load_json<T: DeserializeOwned>(&self, file: &str) -> Result<T, TrainError> {
        let text = std::fs::read(self.path.join(file));
        let text = text.map_err(|error| self.fault(format!("{file}: {error}")))?;
        serde_json::from_slice(&text).map_err(|error| self.fault(format!("{file}: {error}")))
    }

    /// Optimizer and schedule, of files that were verified.
    ///
    /// # Errors
    ///
    /// [`TrainError::Checkpoint`] if a file is another run's.
    pub fn load_learner(
        &self,
        learner: &mut Learner<Trainee>,
        rank: Rank,
    ) -> Result<(), TrainError> {
        let optimizer = rank.optimizer();
        let record =
            OptimizerRecord::load(self.path.join(&optimizer)).map_err(self.in_file(&optimizer))?;
        learner.load_optim(record);
        let record =
            LrSchedulerRecord::load(self.path.join(SCHEDULE)).map_err(self.in_file(SCHEDULE))?;
        learner.load_scheduler(record);
        Ok(())
    }

    /// Whether one of its files is what was written.
    fn check(&self, file: &str) -> Result<(), TrainError> {
        let manifest = self.manifest()?;
        match manifest.files.iter().find(|sum| sum.name == file) {
            Some(sum) => sum.check(&self.path).map_err(|fault| self.fault(fault)),
            None => Err(self.fault(format!("{file} is not in it"))),
        }
    }
}
