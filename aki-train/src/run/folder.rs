//! The run folder: whose it is, and which run it holds.

use std::fs::File;
use std::path::Path;

use crate::TrainError;
use crate::config::RunConfig;
use crate::folder::write_file;

/// Creates the run folder and keeps others out of it.
pub(crate) fn claim(run_dir: &Path) -> Result<File, TrainError> {
    std::fs::create_dir_all(run_dir).map_err(TrainError::io("create", run_dir))?;
    let path = run_dir.join(".lock");
    let lock = File::create(&path).map_err(TrainError::io("create", &path))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(std::fs::TryLockError::WouldBlock) => Err(TrainError::InUse {
            path: run_dir.to_owned(),
        }),
        Err(std::fs::TryLockError::Error(source)) => Err(TrainError::io("lock", &path)(source)),
    }
}

/// Writes `config.toml` into a new run folder, or checks that it is that of the run already there.
pub(super) fn keep_config(config: &RunConfig) -> Result<(), TrainError> {
    let path = config.run_dir.join("config.toml");
    if !path.exists() {
        return write_file(&path, config.to_toml().as_bytes());
    }
    let keys = other_keys(&config.run_dir, config)?;
    if keys.is_empty() {
        return Ok(());
    }
    Err(TrainError::OtherRun {
        path: config.run_dir.clone(),
        keys,
    })
}

/// The settings that decide a result and differ between the run in a folder and `config`.
pub(crate) fn other_keys(run_dir: &Path, config: &RunConfig) -> Result<Vec<String>, TrainError> {
    let path = run_dir.join("config.toml");
    let old = std::fs::read_to_string(&path).map_err(TrainError::io("read", &path))?;
    let new = config.to_toml();
    if old == new {
        return Ok(Vec::new());
    }
    let parse = |text: &str| text.parse::<toml::Table>().unwrap_or_default();
    let mut keys = Vec::new();
    differences("", &parse(&old).into(), &parse(&new).into(), &mut keys);
    // None changes what is learned, and a run that stopped over its data is to go on.
    let free = [
        "run_dir",
        "data.workers",
        "data.max_bad_share",
        "training.max_bad_steps",
        "training.keep_last",
        "training.keep_best",
    ];
    keys.retain(|key| !free.contains(&key.as_str()) && !key.starts_with("data.remote"));
    Ok(keys)
}

/// The dotted keys whose values differ.
fn differences(key: &str, old: &toml::Value, new: &toml::Value, found: &mut Vec<String>) {
    let join = |name: &str| {
        if key.is_empty() {
            name.to_owned()
        } else {
            format!("{key}.{name}")
        }
    };
    match (old, new) {
        (toml::Value::Table(old), toml::Value::Table(new)) => {
            let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
            names.sort();
            names.dedup();
            for name in names {
                let absent = toml::Value::Boolean(false);
                let [old, new] = [old, new].map(|table| table.get(name).unwrap_or(&absent));
                differences(&join(name), old, new, found);
            }
        }
        (toml::Value::Array(old), toml::Value::Array(new)) if old.len() == new.len() => {
            for (index, (old, new)) in old.iter().zip(new).enumerate() {
                // Stages and sources go by their names, as for `--set`.
                let name = new.get("name").and_then(toml::Value::as_str);
                let name = name.map_or_else(|| index.to_string(), str::to_owned);
                differences(&join(&name), old, new, found);
            }
        }
        _ if old != new => found.push(key.to_owned()),
        _ => {}
    }
}
