//! What answers depend on, so that none are mixed that should not be.

use std::fs::read_dir;
use std::path::Path;

use aki_data::benchmark::Questions;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::record::META;
use crate::TrainError;
use crate::checkpoint::FileSum;
use crate::folder::{LANGUAGE, Stored, VISION, find};

/// Endings of the files that a model is made of.
const OF_MODELS: [&str; 7] = ["bin", "jinja", "json", "model", "pt", "pth", "safetensors"];
/// Of those with its weights.
const WEIGHTS: [&str; 5] = [
    ".bin",
    ".pt",
    ".pth",
    ".safetensors",
    ".safetensors.index.json",
];

/// The file in a folder of answers that has the scores of all benchmarks.
pub const SCORES: &str = "scores.json";

/// What the answers of a file depend on; it stands beside them as `BENCHMARK.meta.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// The benchmark's name.
    pub benchmark: String,
    /// The [`fingerprint`] of the model.
    pub model: String,
    /// What numbers are computed in.
    pub dtype: String,
    /// Whose prompt the questions are put into.
    pub prompt: String,
    /// Most tokens of an answer; 0 where answers are not decoded.
    pub max_new_tokens: usize,
    /// By what the questions are known: [`data_of`].
    pub data: String,
}

impl Meta {
    /// In what two differ, of these members or of all, as `prompt: aki here, vlmevalkit there`.
    pub fn differences(&self, there: &Self, members: Option<&[&str]>) -> Vec<String> {
        let values = |meta: &Self| match serde_json::to_value(meta) {
            Ok(Value::Object(values)) => values,
            _ => serde_json::Map::new(),
        };
        let there = values(there);
        let short = |value: &Value| match value {
            Value::String(text) => text.chars().take(20).collect(),
            other => other.to_string(),
        };
        let mut differ = Vec::new();
        for (name, value) in values(self) {
            let meant = members.is_none_or(|members| members.contains(&name.as_str()));
            if meant && there[&name] != value {
                let (here, there) = (short(&value), short(&there[&name]));
                differ.push(format!("{name}: {here} here, {there} there"));
            }
        }
        differ
    }
}

/// A checksum of a model's files, weights included, wherever they lie. It reads them once, which takes less
/// than loading them did.
///
/// # Errors
///
/// [`TrainError`] if there is no model, or a file of it cannot be read.
pub fn fingerprint(path: &Path) -> Result<String, TrainError> {
    let folder = find(path)?;
    let mut hasher = blake3::Hasher::new();
    let mut add = |file: &FileSum| {
        hasher.update(format!("{} {}\n", file.name, file.blake3).as_bytes());
    };
    let stored = Stored::find(path)?;
    // Weights of the finished model are others, and come later.
    let is_checkpoint = matches!(stored, Stored::Checkpoint(_));
    let is_other = |name: &String| is_checkpoint && WEIGHTS.iter().any(|it| name.ends_with(it));
    for name in names(&folder)?.into_iter().filter(|it| !is_other(it)) {
        let read = TrainError::io("read", &folder.join(&name));
        add(&FileSum::of(&folder, &name).map_err(read)?);
    }
    if let Stored::Checkpoint(checkpoint) = stored {
        // Its manifest has the sums of its files.
        checkpoint.manifest()?.files.iter().for_each(add);
    }
    Ok(hasher.finalize().to_string())
}

/// The files of a model, those in the folders of its parts among them, sorted. What was written of it there is
/// none of them.
fn names(folder: &Path) -> Result<Vec<String>, TrainError> {
    let mut names = Vec::new();
    for part in ["", VISION, LANGUAGE] {
        let place = folder.join(part);
        if !place.is_dir() {
            continue;
        }
        for entry in read_dir(&place).map_err(TrainError::io("list", &place))? {
            let path = entry.map_err(TrainError::io("list", &place))?.path();
            let ending = path.extension().and_then(|ending| ending.to_str());
            let name = Path::new(part).join(path.file_name().unwrap_or_default());
            let name = name.to_string_lossy();
            if ending.is_some_and(|ending| OF_MODELS.contains(&ending)) && !is_of_eval(&name) {
                names.push(name.into_owned());
            }
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Whether answers and scores are written to a file of this name.
fn is_of_eval(name: &str) -> bool {
    name == SCORES || name.ends_with(META)
}

/// By what a benchmark's questions are known: all that was read of them, and the pictures, but those that have
/// files of their own.
pub fn data_of(questions: &Questions) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&questions.pictures_hash().to_le_bytes());
    for question in questions {
        let question = serde_json::to_string(question).unwrap_or_default();
        hasher.update(question.as_bytes());
    }
    hasher.finalize().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta() -> Meta {
        Meta {
            benchmark: "mme".to_owned(),
            model: "0123456789abcdef0123456789abcdef".to_owned(),
            dtype: "f32".to_owned(),
            prompt: "aki".to_owned(),
            max_new_tokens: 512,
            data: "1".to_owned(),
        }
    }

    #[test]
    fn what_differs_is_named() {
        let there = Meta {
            model: "f".repeat(64),
            max_new_tokens: 256,
            ..meta()
        };
        let expected = "model: 0123456789abcdef0123 here, ffffffffffffffffffff there";
        assert_eq!(
            meta().differences(&there, None),
            [expected, "max_new_tokens: 512 here, 256 there"]
        );
        let members = ["prompt", "data"];
        assert!(meta().differences(&there, Some(&members)).is_empty());
    }

    #[test]
    fn a_model_is_known_by_its_files() {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/aki-tiny");
        let folder = tempfile::tempdir().expect("a folder");
        let copy = |from: &Path, to: &Path| {
            std::fs::create_dir_all(to).expect("a folder");
            for entry in read_dir(from).expect("a folder").flatten() {
                if entry.path().is_file() {
                    std::fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
                }
            }
        };
        copy(&fixture, folder.path());
        for entry in read_dir(&fixture).expect("a folder").flatten() {
            if entry.path().is_dir() {
                copy(&entry.path(), &folder.path().join(entry.file_name()));
            }
        }
        let known = fingerprint(folder.path()).expect("a model");
        assert_eq!(known, fingerprint(&fixture).expect("a model"));
        for name in ["README.md", "scores.json", "mme.meta.json", "eval/mme.json"] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, "of a model").expect("a file");
        }
        assert_eq!(known, fingerprint(folder.path()).expect("a model"));
        std::fs::write(folder.path().join("config.json"), "{}").expect("a file");
        assert_ne!(known, fingerprint(folder.path()).expect("a model"));
    }
}
