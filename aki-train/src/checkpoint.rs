//! Checkpoints: `checkpoints/{stage}/step-{n}/` with the model, the optimizer and the schedule.
//!
//! Each file appears under its name only when it is whole, and a folder counts only with all three;
//! the one before stays until then. The order of samples in memory is a function of the seed and the
//! step; where the sources stand is in `data.json`, which is written first. Nothing else is needed to
//! go on as if nothing had happened.

use std::path::{Path, PathBuf};

use aki_data::mixture::BatchState;
use aki_model::Aki;
use burn::module::Module;
use burn::optim::OptimizerRecord;
use burn::optim::lr_scheduler::LrSchedulerRecord;
use burn::store::ModuleRecord;
use burn::train::Learner;
use burn::train::checkpoint::{
    Checkpoint as BurnCheckpoint, Checkpointer, CheckpointerError, CheckpointingAction,
    CheckpointingStrategy,
};
use burn::train::metric::store::EventStoreClient;

use crate::TrainError;
use crate::config::StageConfig;
use crate::files::sync_folder_of;
use crate::folder::write_file;
use crate::learner::Trainee;

const FILES: [&str; 3] = ["model.bpk", "optimizer.bpk", "schedule.bpk"];

const DATA_STATE: &str = "data.json";

/// A whole checkpoint on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Its folder.
    pub path: PathBuf,
    /// The stage it was taken in.
    pub stage: String,
    /// Steps of that stage that were done.
    pub step: usize,
}

/// Whole checkpoints of one stage, oldest first.
///
/// # Errors
///
/// [`TrainError::Io`] if the folder cannot be listed.
pub fn list(run_dir: &Path, stage: &str) -> Result<Vec<Checkpoint>, TrainError> {
    let folder = stage_folder(run_dir, stage);
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(TrainError::io("list", &folder)(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(TrainError::io("list", &folder))?.path();
        let step = path
            .file_name()
            .and_then(|name| name.to_str()?.strip_prefix("step-")?.parse().ok());
        if let Some(step) = step
            && FILES.iter().all(|file| path.join(file).is_file())
        {
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

/// The last of a run's stages that has a whole checkpoint, and its newest one.
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

/// Removes what a crash left of checkpoints that never became whole.
///
/// # Errors
///
/// [`TrainError::Io`] if a folder cannot be listed or removed.
pub fn remove_partial(run_dir: &Path, stage: &str) -> Result<(), TrainError> {
    let whole = list(run_dir, stage)?;
    let folder = stage_folder(run_dir, stage);
    for entry in std::fs::read_dir(&folder).into_iter().flatten() {
        let path = entry.map_err(TrainError::io("list", &folder))?.path();
        let ours = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("step-"));
        if ours && whole.iter().all(|checkpoint| checkpoint.path != path) {
            std::fs::remove_dir_all(&path).map_err(TrainError::io("remove", &path))?;
        }
    }
    Ok(())
}

impl Checkpoint {
    fn fault(&self, file: &str) -> impl FnOnce(burn::store::RecordError) -> TrainError {
        let (path, file) = (self.path.clone(), file.to_owned());
        move |error| TrainError::Checkpoint {
            path,
            reason: format!("{file}: {error}"),
        }
    }

    /// The model's weights alone.
    ///
    /// # Errors
    ///
    /// [`TrainError::Checkpoint`] if the file is damaged or another model's.
    pub fn load_model(&self, aki: Aki) -> Result<Aki, TrainError> {
        let record = ModuleRecord::load(self.path.join(FILES[0])).map_err(self.fault(FILES[0]))?;
        let trainee = Trainee::new(aki, 1.0, 1).try_load_record(record);
        trainee.map(Trainee::into_aki).map_err(self.fault(FILES[0]))
    }

    /// Where the sources stood.
    ///
    /// # Errors
    ///
    /// [`TrainError::Checkpoint`] if the file is missing or damaged.
    pub fn load_data_state(&self) -> Result<BatchState, TrainError> {
        let fault = |error: String| TrainError::Checkpoint {
            path: self.path.clone(),
            reason: format!("{DATA_STATE}: {error}"),
        };
        let text = std::fs::read(self.path.join(DATA_STATE));
        let text = text.map_err(|error| fault(error.to_string()))?;
        serde_json::from_slice(&text).map_err(|error| fault(error.to_string()))
    }

    /// Model, optimizer and schedule.
    ///
    /// # Errors
    ///
    /// [`TrainError::Checkpoint`] if a file is damaged or another run's.
    pub fn load_learner(&self, learner: &mut Learner<Trainee>) -> Result<(), TrainError> {
        let [model, optimizer, schedule] = FILES;
        let record = ModuleRecord::load(self.path.join(model)).map_err(self.fault(model))?;
        // Checked first, since the learner's own method panics.
        learner
            .model()
            .try_load_record(record.clone())
            .map_err(self.fault(model))?;
        learner.load_model(record);
        let record =
            OptimizerRecord::load(self.path.join(optimizer)).map_err(self.fault(optimizer))?;
        learner.load_optim(record);
        let record =
            LrSchedulerRecord::load(self.path.join(schedule)).map_err(self.fault(schedule))?;
        learner.load_scheduler(record);
        Ok(())
    }
}

/// Writes where the sources stand into the folder of a checkpoint that is to come.
pub(crate) fn keep_data_state(
    run_dir: &Path,
    stage: &str,
    step: usize,
    state: &BatchState,
) -> Result<(), CheckpointerError> {
    let folder = step_folder(run_dir, stage, step);
    let text = serde_json::to_vec(state).expect("a state is plain values");
    std::fs::create_dir_all(&folder).map_err(CheckpointerError::IOError)?;
    write_file(&folder.join(DATA_STATE), &text)
        .map_err(|error| CheckpointerError::IOError(std::io::Error::other(error)))
}

fn stage_folder(run_dir: &Path, stage: &str) -> PathBuf {
    run_dir.join("checkpoints").join(stage)
}

fn step_folder(run_dir: &Path, stage: &str, step: usize) -> PathBuf {
    stage_folder(run_dir, stage).join(format!("step-{step:06}"))
}

/// Writes one of a checkpoint's files, for Burn's learner.
pub(crate) struct FileWriter {
    run_dir: PathBuf,
    stage: String,
    file: &'static str,
}

impl FileWriter {
    /// The writers of model, optimizer and schedule of a stage.
    pub(crate) fn all(run_dir: &Path, stage: &str) -> [Self; 3] {
        FILES.map(|file| Self {
            run_dir: run_dir.to_owned(),
            stage: stage.to_owned(),
            file,
        })
    }

    fn path(&self, step: usize) -> PathBuf {
        step_folder(&self.run_dir, &self.stage, step).join(self.file)
    }
}

impl<R: BurnCheckpoint> Checkpointer<R> for FileWriter {
    fn save(&self, step: usize, record: R) -> Result<(), CheckpointerError> {
        let path = self.path(step);
        let io = CheckpointerError::IOError;
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(io)?;
        }
        let temporary = path.with_extension("tmp");
        record.save(temporary.clone())?;
        std::fs::File::open(&temporary)
            .and_then(|file| file.sync_all())
            .map_err(io)?;
        std::fs::rename(&temporary, &path)
            .and_then(|()| sync_folder_of(&path))
            .map_err(io)
    }

    fn delete(&self, step: usize) -> Result<(), CheckpointerError> {
        let path = self.path(step);
        match std::fs::remove_file(&path) {
            // Someone tidied up; all the better.
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(CheckpointerError::IOError(error));
            }
            _ => {}
        }
        // The last of the three files takes the folder with it, and where the sources stood.
        if let Some(folder) = path.parent() {
            if FILES.iter().all(|file| !folder.join(file).exists()) {
                std::fs::remove_file(folder.join(DATA_STATE)).ok();
            }
            std::fs::remove_dir(folder).ok();
        }
        Ok(())
    }

    fn restore(&self, step: usize) -> Result<R, CheckpointerError> {
        R::load(self.path(step))
    }
}

/// Keeps the newest two checkpoints of a stage.
pub(crate) struct KeepTwo(pub(crate) Vec<usize>);

impl CheckpointingStrategy for KeepTwo {
    fn checkpointing(&mut self, step: usize, _: &EventStoreClient) -> Vec<CheckpointingAction> {
        if self.0.last() == Some(&step) {
            return Vec::new();
        }
        self.0.push(step);
        let mut actions = vec![CheckpointingAction::Save];
        while self.0.len() > 2 {
            actions.push(CheckpointingAction::Delete(self.0.remove(0)));
        }
        actions
    }
}
