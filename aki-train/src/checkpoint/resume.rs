//! Which checkpoint a run goes on from.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::manifest::Fault;
use super::saved::{Checkpoint, folders, stage_folder};
use crate::TrainError;
use crate::config::StageConfig;
use crate::files::sync_folder_of;

/// Endings of folders that are no checkpoints: not yet or not any more, damaged, and set aside for an
/// earlier one.
pub(super) const PARTIAL: &str = "part";
const DAMAGED: &str = "damaged";
pub(crate) const OLD: &str = "old";

/// The newest checkpoint, of the last stage that has one, all of whose files are what was written. Newer
/// ones that are damaged are told and set aside, so that the run can write them anew.
///
/// # Errors
///
/// [`TrainError::AllDamaged`] if there are checkpoints and none is whole; nothing is set aside then.
pub fn resume(
    run_dir: &Path,
    stages: &[StageConfig],
    tell: fn(&str),
) -> Result<Option<(usize, Checkpoint)>, TrainError> {
    let mut damaged = Vec::new();
    for (index, stage) in stages.iter().enumerate().rev() {
        for found in folders(run_dir, &stage.name)?.into_iter().rev() {
            match found.verify() {
                Ok(()) => {
                    for (bad, fault) in &damaged {
                        set_aside_damaged(bad, fault, tell)?;
                    }
                    return Ok(Some((index, found)));
                }
                Err(fault @ Fault::Newer(_)) => {
                    return Err(TrainError::Checkpoint {
                        path: found.path,
                        reason: fault.to_string(),
                    });
                }
                Err(fault) => damaged.push((found, fault)),
            }
        }
    }
    match damaged.into_iter().next() {
        None => Ok(None),
        Some((newest, fault)) => Err(TrainError::AllDamaged {
            run_dir: run_dir.to_owned(),
            newest: newest.path,
            fault,
        }),
    }
}

fn set_aside_damaged(bad: &Checkpoint, fault: &Fault, tell: fn(&str)) -> Result<(), TrainError> {
    let aside = set_aside(bad, DAMAGED)?;
    tell(&format!(
        "warning: checkpoint {} is damaged: {fault}; it is now {}, and the one before is taken",
        bad.path.display(),
        aside.display()
    ));
    Ok(())
}

/// Gives a checkpoint's folder an ending with which it is not a checkpoint any more.
///
/// # Errors
///
/// [`TrainError::Io`] if it cannot be renamed.
pub fn set_aside(checkpoint: &Checkpoint, ending: &str) -> Result<PathBuf, TrainError> {
    let Checkpoint { path, .. } = checkpoint;
    let aside = path.with_extension(ending);
    if aside.exists() {
        std::fs::remove_dir_all(&aside).map_err(TrainError::io("remove", &aside))?;
    }
    std::fs::rename(path, &aside)
        .and_then(|()| sync_folder_of(&aside))
        .map_err(TrainError::io("rename", path))?;
    Ok(aside)
}

/// Removes a checkpoint.
///
/// # Errors
///
/// [`TrainError::Io`] if it cannot be removed.
pub fn remove(path: &Path) -> Result<(), TrainError> {
    // Renamed first: half a checkpoint would look like a damaged one.
    let partial = path.with_extension(PARTIAL);
    let gone = |folder: &Path| std::fs::remove_dir_all(folder);
    let removed = match path == partial {
        true => gone(path),
        // What another crash left is in the way.
        false if partial.exists() => gone(&partial)
            .and_then(|()| std::fs::rename(path, &partial))
            .and_then(|()| gone(&partial)),
        false => std::fs::rename(path, &partial).and_then(|()| gone(&partial)),
    };
    match removed {
        // Someone tidied up; all the better.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(TrainError::io("remove", path)),
    }
}

/// Removes what a crash left of a stage's checkpoints that never became whole.
///
/// # Errors
///
/// [`TrainError::Io`] if a folder cannot be listed or removed.
pub fn remove_partial(run_dir: &Path, stage: &str) -> Result<(), TrainError> {
    let mut remains = remains(run_dir, stage)?;
    remains.retain(|path| path.extension().is_some_and(|ending| ending == PARTIAL));
    remains.iter().try_for_each(|path| remove(path))
}

/// The folders of a stage that are not checkpoints, and were or would have become ones.
pub(crate) fn remains(run_dir: &Path, stage: &str) -> Result<Vec<PathBuf>, TrainError> {
    let folder = stage_folder(run_dir, stage);
    let mut remains = Vec::new();
    for entry in std::fs::read_dir(&folder).into_iter().flatten() {
        let path = entry.map_err(TrainError::io("list", &folder))?.path();
        let endings = [PARTIAL, DAMAGED, OLD];
        let ending = path.extension().unwrap_or_default();
        let step = path.file_name().unwrap_or_default().to_string_lossy();
        let aside = step.starts_with("step-") && endings.iter().any(|known| ending == *known);
        if aside && path.is_dir() {
            remains.push(path);
        }
    }
    remains.sort();
    Ok(remains)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::rank::{MODEL, OPTIMIZER, SCHEDULE, STATE};
    use crate::checkpoint::{FileSum, MANIFEST, Manifest};

    const FILES: [&str; 4] = [MODEL, OPTIMIZER, SCHEDULE, STATE];
    const ONE: &str = "step-000002";
    const TWO: &str = "step-000004";

    fn run() -> (tempfile::TempDir, Vec<StageConfig>) {
        let folder = tempfile::tempdir().unwrap();
        let text = include_str!("../../../assets/configs/easy-vqa.toml");
        let config: crate::config::RunConfig = toml::from_str(text).unwrap();
        for (stage, step) in [("captions", 2), ("questions", 2), ("questions", 4)] {
            let path = stage_folder(folder.path(), stage).join(format!("step-{step:06}"));
            std::fs::create_dir_all(&path).unwrap();
            let empty = burn_pack::Writer::new(Vec::new()).into_bytes().unwrap();
            for file in FILES {
                std::fs::write(path.join(file), &*empty).unwrap();
            }
            manifest(&path, stage, step, &FILES);
        }
        (folder, config.stage)
    }

    /// Writes one that names `files`.
    fn manifest(path: &Path, stage: &str, step: usize, files: &[&str]) {
        let files = files.iter().map(|file| FileSum::of(path, file).unwrap());
        let manifest = Manifest::new(stage, step, 1, files.collect());
        manifest.write(path).unwrap();
    }

    fn names(run_dir: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(stage_folder(run_dir, "questions")).unwrap();
        let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name();
        let mut names: Vec<_> = entries.map(name).collect();
        names.sort();
        names
            .into_iter()
            .map(|name| name.into_string().unwrap())
            .collect()
    }

    #[test]
    fn the_newest_whole_one_is_taken_across_stages() {
        let (folder, stages) = run();
        let resumed = || {
            let (index, found) = resume(folder.path(), &stages, |_| {}).unwrap().unwrap();
            (index, found.step)
        };
        let file = |name: &str, file: &str| {
            stage_folder(folder.path(), "questions")
                .join(name)
                .join(file)
        };
        assert_eq!(resumed(), (1, 4));
        std::fs::write(file(TWO, MODEL), [4; 9]).unwrap();
        assert_eq!(resumed(), (1, 2));
        assert_eq!(names(folder.path()), [ONE, "step-000004.damaged"]);
        std::fs::remove_file(file(ONE, MANIFEST)).unwrap();
        assert_eq!(resumed(), (0, 2));
        assert_eq!(
            names(folder.path()),
            ["step-000002.damaged", "step-000004.damaged"]
        );
    }

    #[test]
    fn what_two_crashes_left_goes() {
        let (folder, _) = run();
        let stage = stage_folder(folder.path(), "questions");
        for left in ["step-000004.damaged", "step-000004.old", "step-000004.part"] {
            std::fs::create_dir(stage.join(left)).unwrap();
            std::fs::write(stage.join(left).join(MODEL), "half").unwrap();
        }
        for path in remains(folder.path(), "questions").unwrap() {
            remove(&path).unwrap();
        }
        assert_eq!(names(folder.path()), [ONE, TWO]);
    }

    #[test]
    fn a_manifest_of_another_step_is_damage() {
        let (folder, stages) = run();
        let stage = stage_folder(folder.path(), "questions");
        std::fs::copy(
            stage.join(ONE).join(MANIFEST),
            stage.join(TWO).join(MANIFEST),
        )
        .unwrap();
        let (_, found) = resume(folder.path(), &stages, |_| {}).unwrap().unwrap();
        assert_eq!(found.step, 2);
    }

    #[test]
    fn one_without_all_of_its_files_is_damaged() {
        for left in 0..FILES.len() {
            let (folder, stages) = run();
            let mut files = FILES.to_vec();
            let file = files.remove(left);
            let path = stage_folder(folder.path(), "questions").join(TWO);
            manifest(&path, "questions", 4, &files);
            std::fs::remove_file(path.join(file)).unwrap();
            let (_, found) = resume(folder.path(), &stages, |_| {}).unwrap().unwrap();
            assert_eq!(found.step, 2, "{file}");
        }
    }

    #[test]
    fn where_all_are_damaged_nothing_is_moved() {
        let (folder, stages) = run();
        for (stage, name) in [("captions", ONE), ("questions", ONE), ("questions", TWO)] {
            let path = stage_folder(folder.path(), stage).join(name);
            std::fs::remove_file(path.join(MODEL)).unwrap();
        }
        let error = resume(folder.path(), &stages, |_| {})
            .unwrap_err()
            .to_string();
        let told = "step-000004: model.bpk is missing; start anew with --fresh";
        assert!(error.contains(told), "{error}");
        assert_eq!(names(folder.path()), [ONE, TWO]);
    }

    #[test]
    fn one_of_a_later_version_is_left_alone() {
        let (folder, stages) = run();
        let manifest = stage_folder(folder.path(), "questions")
            .join(TWO)
            .join(MANIFEST);
        std::fs::write(manifest, "{\"format\": 2}").unwrap();
        let error = resume(folder.path(), &stages, |_| {})
            .unwrap_err()
            .to_string();
        assert!(error.contains("has format 2"), "{error}");
        assert_eq!(names(folder.path()), [ONE, TWO]);
    }

    #[test]
    fn remains_of_a_crash_are_removed_and_nothing_else() {
        let (folder, _) = run();
        let stage = stage_folder(folder.path(), "questions");
        for name in ["step-000006.part", "step-000006.damaged"] {
            std::fs::create_dir(stage.join(name)).unwrap();
        }
        remove_partial(folder.path(), "questions").unwrap();
        assert_eq!(names(folder.path()), [ONE, TWO, "step-000006.damaged"]);
    }
}
