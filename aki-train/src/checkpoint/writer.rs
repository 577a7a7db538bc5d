//! Checkpoints on their way to the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aki_data::mixture::BatchState;
use burn::train::checkpoint::CheckpointerError;
use serde::Serialize;

use super::keep::{Keep, losses};
use super::manifest::FileSum;
use super::rank::{DATA, MODEL, OPTIMIZER, Rank, SCHEDULE, STATE};
use super::record::FileWriter;
use super::resume::PARTIAL;
use super::saved::{list, stage_folder, step_name};
use crate::TrainError;
use crate::config::{RunConfig, StageConfig};
use crate::files::sync_folder_of;
use crate::log::Record;

/// The checkpoints of a stage while it is trained. Clones are the same.
#[derive(Clone)]
pub struct Checkpoints(pub(super) Arc<Inner>);

pub(super) struct Inner {
    /// Where the logs are.
    pub(super) run_dir: PathBuf,
    /// The stage's folder.
    folder: PathBuf,
    pub(super) stage: String,
    rank: Rank,
    pub(super) keep: Keep,
    state: Mutex<State>,
}

pub(super) struct State {
    /// The last that was begun; those of a resumed run among them.
    newest: usize,
    /// Those that are being written.
    writing: BTreeMap<usize, Writing>,
    /// Whole ones.
    pub(super) whole: BTreeSet<usize>,
    /// Validation losses by step.
    pub(super) losses: BTreeMap<usize, f64>,
    /// Why one could not be written.
    fault: Option<TrainError>,
}

/// A checkpoint that is being written.
#[derive(Default)]
pub(super) struct Writing {
    /// Small files, in memory until the large ones are written.
    pub(super) small: Vec<(String, Vec<u8>)>,
    /// Large files that are on the disk.
    pub(super) written: Vec<FileSum>,
    /// Large files that are not yet.
    missing: usize,
    failed: bool,
}

impl Checkpoints {
    /// Those of a stage that goes on after `start` steps, of which `records` are the logs.
    ///
    /// # Errors
    ///
    /// [`TrainError::Io`] if their folder cannot be made or listed.
    pub fn new(
        config: &RunConfig,
        stage: &StageConfig,
        start: usize,
        records: &[Record],
        measured: bool,
        rank: Rank,
    ) -> Result<Self, TrainError> {
        let folder = stage_folder(&config.run_dir, &stage.name);
        std::fs::create_dir_all(&folder)
            .and_then(|()| sync_folder_of(&folder))
            .map_err(TrainError::io("create", &folder))?;
        let kept = list(&config.run_dir, &stage.name)?;
        Ok(Self(Arc::new(Inner {
            run_dir: config.run_dir.clone(),
            folder,
            stage: stage.name.clone(),
            rank,
            keep: Keep {
                last: config.training.keep_last,
                best: config.training.keep_best,
                evaluated: measured.then_some((stage.evaluate_every, stage.steps)),
            },
            state: Mutex::new(State {
                newest: start,
                writing: BTreeMap::new(),
                whole: kept.into_iter().map(|checkpoint| checkpoint.step).collect(),
                losses: losses(&stage.name, records),
                fault: None,
            }),
        })))
    }

    /// Begins a checkpoint with its small files. Returns whether the learner's records are to follow, by
    /// way of the [`FileWriter`]s; they are not if there is a checkpoint of this step already.
    pub fn begin<S: Serialize>(
        &self,
        step: usize,
        data: Option<&BatchState>,
        state: Option<&S>,
    ) -> bool {
        let rank = self.rank();
        let mut small = Vec::new();
        if let Some(data) = data {
            small.push((rank.of(DATA), plain_json(data)));
        }
        if let Some(state) = state.filter(|_| rank.rank == 0) {
            small.push((STATE.to_owned(), plain_json(state)));
        }
        let names = [MODEL, OPTIMIZER, SCHEDULE];
        let missing = names.iter().filter_map(|name| rank.record(name)).count();
        let writing = Writing {
            small,
            missing,
            ..Writing::default()
        };
        let mut shared = self.shared();
        if step <= shared.newest {
            return false;
        }
        shared.newest = step;
        if missing > 0 {
            shared.writing.insert(step, writing);
            return true;
        }
        drop(shared);
        // Nothing but these, so they are not worth a thread.
        let folder = self.partial(step);
        let made = std::fs::create_dir_all(&folder).and_then(|()| self.complete(step, writing));
        if let Err(error) = made {
            self.fail(step, error.to_string());
        }
        false
    }

    /// Takes note of the validation loss after `step` steps.
    pub fn measured(&self, step: usize, loss: f64) {
        self.shared().losses.insert(step, loss);
        self.tidy();
    }

    /// The writers of model, optimizer and schedule.
    pub fn writers(&self) -> [FileWriter; 3] {
        [MODEL, OPTIMIZER, SCHEDULE].map(|name| FileWriter {
            checkpoints: self.clone(),
            name,
        })
    }

    /// Whether one could not be written.
    pub fn failed(&self) -> bool {
        self.shared().fault.is_some()
    }

    /// Why one could not be written, if one could not; told once.
    pub fn fault(&self) -> Option<TrainError> {
        self.shared().fault.take()
    }

    pub(super) fn shared(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn rank(&self) -> Rank {
        self.0.rank
    }

    /// A checkpoint's folder.
    pub(super) fn path(&self, step: usize) -> PathBuf {
        self.0.folder.join(step_name(step))
    }

    /// Where a checkpoint's files are until all of them are there.
    pub(super) fn partial(&self, step: usize) -> PathBuf {
        self.path(step).with_extension(PARTIAL)
    }

    /// Takes note of one of a checkpoint's large files. With the last of them it becomes whole.
    pub(super) fn put(
        &self,
        step: usize,
        written: Result<FileSum, String>,
    ) -> Result<(), CheckpointerError> {
        let mut shared = self.shared();
        let Some(writing) = shared.writing.get_mut(&step) else {
            return Ok(());
        };
        writing.missing -= 1;
        let mut told = Ok(());
        match written {
            Ok(file) => writing.written.push(file),
            Err(reason) => {
                writing.failed = true;
                told = Err(reason);
            }
        }
        if writing.missing > 0 {
            drop(shared);
        } else {
            let writing = shared.writing.remove(&step).unwrap_or_default();
            drop(shared);
            let mut whole = !writing.failed;
            if whole && let Err(error) = self.complete(step, writing) {
                told = Err(error.to_string());
                whole = false;
            }
            if !whole {
                // It takes space that the logs may need.
                std::fs::remove_dir_all(self.partial(step)).ok();
            }
        }
        told.map_err(|reason| {
            self.fail(step, reason.clone());
            CheckpointerError::Unknown(reason)
        })
    }

    fn fail(&self, step: usize, reason: String) {
        let path = self.path(step);
        let fault = TrainError::Unwritten { path, reason };
        self.shared().fault.get_or_insert(fault);
    }
}

/// A state as text.
fn plain_json(state: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(state).expect("a state is plain values")
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::checkpoint::{Checkpoint, Fault};
    use burn::store::RecordError;
    use burn::tensor::Bytes;
    use burn::train::checkpoint::{Checkpoint as BurnCheckpoint, Checkpointer};

    /// A record of nothing, for which there is room or not.
    struct Nothing(bool);

    impl BurnCheckpoint for Nothing {
        fn save(self, path: PathBuf) -> Result<(), CheckpointerError> {
            if !self.0 {
                let full = RecordError::Io("I/O error: no room".into());
                return Err(CheckpointerError::Record(full));
            }
            let written = burn_pack::Writer::new(Vec::new()).write_to_file(path);
            written.map_err(|error| CheckpointerError::Record(error.into()))
        }
        fn load(_: PathBuf) -> Result<Self, CheckpointerError> {
            Ok(Self(false))
        }
        fn checkpoint_from_bytes(_: Bytes) -> Result<Self, RecordError> {
            Ok(Self(false))
        }
        fn checkpoint_into_bytes(self) -> Result<Bytes, RecordError> {
            Ok(Bytes::from_bytes_vec(Vec::new()))
        }
    }

    fn stage(folder: &Path, rank: Rank) -> Checkpoints {
        let text = include_str!("../../../assets/configs/easy-vqa.toml");
        let mut config: RunConfig = toml::from_str(text).unwrap();
        config.run_dir = folder.to_owned();
        config.training.keep_last = 1;
        config.training.keep_best = 1;
        config.stage[1].evaluate_every = 1;
        Checkpoints::new(&config, &config.stage[1], 0, &[], true, rank).unwrap()
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(stage_folder(folder, "questions")).unwrap();
        let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name();
        let mut names: Vec<String> = entries
            .map(name)
            .map(|name| name.into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn save(writer: &FileWriter, step: usize, room: bool) -> bool {
        Checkpointer::<Nothing>::save(writer, step, Nothing(room)).is_ok()
    }

    /// Writes a whole checkpoint.
    fn write(checkpoints: &Checkpoints, step: usize) {
        assert!(checkpoints.begin(step, None, Some(&step)));
        for writer in checkpoints.writers() {
            assert!(save(&writer, step, true));
        }
    }

    /// Sources that nothing was taken of.
    fn begun() -> BatchState {
        let mixture = r#"{"seed": 1, "rank": 0, "world_size": 1, "drawn": 0, "sources": []}"#;
        let text = format!(r#"{{"mixture": {mixture}, "rows": 0, "packing": null, "window": 0}}"#);
        serde_json::from_str(&text).unwrap()
    }

    fn opened(folder: &Path, step: usize) -> Checkpoint {
        Checkpoint::open(&stage_folder(folder, "questions").join(step_name(step))).unwrap()
    }

    #[test]
    fn a_checkpoint_appears_with_its_last_file() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = stage(folder.path(), Rank::ALONE);
        assert!(checkpoints.begin(3, None, Some(&"kept")));
        assert!(!checkpoints.begin(3, None, Some(&"kept")), "it is begun");
        for writer in checkpoints.writers() {
            assert!(!names(folder.path()).contains(&"step-000003".to_owned()));
            assert!(save(&writer, 3, true));
        }
        assert_eq!(names(folder.path()), ["step-000003"]);
        let written = opened(folder.path(), 3);
        assert_eq!(written.verify(), Ok(()));
        assert_eq!(written.load_state::<String>().unwrap(), "kept");
        let files = written.manifest().unwrap().files;
        let files: Vec<_> = files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(
            files,
            ["model.bpk", "optimizer.bpk", "schedule.bpk", "state.json"]
        );
    }

    #[test]
    fn the_best_is_kept_once_its_loss_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = stage(folder.path(), Rank::ALONE);
        write(&checkpoints, 1);
        write(&checkpoints, 2);
        assert_eq!(names(folder.path()), ["step-000001", "step-000002"]);
        checkpoints.measured(1, 0.5);
        checkpoints.measured(2, 0.7);
        write(&checkpoints, 3);
        assert_eq!(names(folder.path()), ["step-000001", "step-000003"]);
        checkpoints.measured(3, 0.4);
        assert_eq!(names(folder.path()), ["step-000003"]);
    }

    #[test]
    fn one_that_cannot_be_written_leaves_nothing_but_its_reason() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = stage(folder.path(), Rank::ALONE);
        write(&checkpoints, 1);
        assert!(checkpoints.begin(2, None, None::<&()>));
        let [model, optimizer, schedule] = checkpoints.writers();
        assert!(save(&model, 2, true));
        assert!(!save(&optimizer, 2, false));
        assert!(save(&schedule, 2, true));
        assert_eq!(names(folder.path()), ["step-000001"]);
        let told = checkpoints.fault().unwrap().to_string();
        assert!(
            told.contains("step-000002: no room; those before"),
            "{told}"
        );
        assert!(checkpoints.fault().is_none());
    }

    /// What is no file cannot be had on a disk.
    #[cfg(unix)]
    #[test]
    fn logs_are_on_the_disk_before_a_checkpoint_is_whole() {
        for (rank, log) in [
            (0, "metrics.jsonl"),
            (0, "skipped.jsonl"),
            (1, "skipped-1.jsonl"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            std::os::unix::fs::symlink("/dev/null", folder.path().join(log)).unwrap();
            let rank = Rank {
                rank,
                world: 1 + rank,
                sharded: true,
            };
            let checkpoints = stage(folder.path(), rank);
            assert!(checkpoints.begin(1, None, Some(&())));
            let saved = checkpoints.writers().map(|writer| save(&writer, 1, true));
            assert!(saved.contains(&false), "{log}");
            assert_eq!(names(folder.path()), [""; 0]);
        }
    }

    #[test]
    fn ranks_write_one_checkpoint_together() {
        let folder = tempfile::tempdir().unwrap();
        let rank = |rank| Rank {
            rank,
            world: 3,
            sharded: true,
        };
        let all = [0, 1, 2].map(|number| stage(folder.path(), rank(number)));
        // The first rank waits for the others, which may come later.
        std::thread::scope(|scope| {
            for (number, checkpoints) in all.iter().enumerate() {
                scope.spawn(move || {
                    let state = begun();
                    assert!(checkpoints.begin(2, Some(&state), Some(&number)));
                    std::thread::sleep(Duration::from_millis(30 * number as u64));
                    for writer in checkpoints.writers() {
                        assert!(save(&writer, 2, true));
                    }
                });
            }
        });
        let written = opened(folder.path(), 2);
        assert_eq!(written.verify(), Ok(()));
        let files = written.manifest().unwrap().files;
        let files: Vec<_> = files.iter().map(|file| file.name.as_str()).collect();
        let expected = [
            "data-0.json",
            "data-1.json",
            "data-2.json",
            "model.bpk",
            "optimizer-0.bpk",
            "optimizer-1.bpk",
            "optimizer-2.bpk",
            "schedule.bpk",
            "state.json",
        ];
        assert_eq!(files, expected);
        assert_eq!(written.load_state::<usize>().unwrap(), 0);
        assert!(written.load_data_state(rank(2)).is_ok());
        assert!(written.fits(3).is_ok());
        let error = written.fits(1).unwrap_err().to_string();
        assert!(
            error.contains("by 3 processes, and now there are 1"),
            "{error}"
        );
        let gone = stage_folder(folder.path(), "questions").join("step-000002/optimizer-1.bpk");
        std::fs::remove_file(gone).unwrap();
        assert!(matches!(written.verify(), Err(Fault::Damaged { .. })));
    }

    #[test]
    fn a_rank_without_records_writes_where_its_data_stand() {
        let folder = tempfile::tempdir().unwrap();
        let rank = |rank| Rank {
            rank,
            world: 2,
            sharded: false,
        };
        let [first, second] = [0, 1].map(|number| stage(folder.path(), rank(number)));
        let state = begun();
        assert!(
            !second.begin(1, Some(&state), Some(&())),
            "no records are asked for"
        );
        assert!(first.begin(1, Some(&state), Some(&())));
        for writer in first.writers() {
            assert!(save(&writer, 1, true));
        }
        let written = opened(folder.path(), 1);
        assert_eq!(written.verify(), Ok(()));
        assert_eq!(written.manifest().unwrap().files.len(), 6);
    }
}
