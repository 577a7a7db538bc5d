//! What a study's models learn.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use aki_data::scenes::{Scenes, Split, TOKENIZER, write_scenes};
use serde::Serialize;

use super::rows::unknown;
use crate::TrainError;
use crate::config::RunConfig;
use crate::folder::write_file;

/// Scenes to learn from and to be asked about.
const SCENES: [(&str, Split, usize); 2] =
    [("train", Split::Train, 10_000), ("test", Split::Test, 1000)];
/// Questions of a scene.
const QUESTIONS: usize = 4;
/// Their seed; those of a study's runs draw weights and order.
const SEED: u64 = 1;

/// What a study's models learn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DataSet {
    /// One shape a picture, which comes with aki.
    EasyVqa,
    /// Several shapes on a grid ([`aki_data::scenes`]), written into the study's folder.
    Scenes,
}

impl DataSet {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::EasyVqa, Self::Scenes];

    /// Its name on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::EasyVqa => "easy-vqa",
            Self::Scenes => "scenes",
        }
    }

    /// Writes what is not there yet into a study's folder.
    ///
    /// # Errors
    ///
    /// [`TrainError`] if it cannot be written.
    pub(super) fn prepare(self, out: &Path, notice: fn(&str)) -> Result<(), TrainError> {
        let folder = out.join(self.name());
        // The tokenizer is the last file written.
        let mut files = SCENES.iter().map(|(name, ..)| shard(&folder, name));
        let is_there = folder.join("tokenizer.json").exists() && files.all(|file| file.exists());
        if self == Self::EasyVqa || is_there {
            return Ok(());
        }
        for (name, split, samples) in SCENES {
            notice(&format!("writing {samples} scenes to {name}"));
            let part = folder.join(name);
            // What a killed study left.
            if part.exists() {
                std::fs::remove_dir_all(&part).map_err(TrainError::io("remove", &part))?;
            }
            let scenes = Scenes {
                seed: SEED,
                split,
                questions: QUESTIONS,
            };
            write_scenes(&scenes, samples, &part, &mut |_| {})?;
        }
        write_file(&folder.join("tokenizer.json"), TOKENIZER)
    }

    /// Makes a run one on these data; of easy-VQA it is one.
    pub(super) fn lay_into(self, config: &mut RunConfig, out: &Path) {
        if self == Self::EasyVqa {
            return;
        }
        let folder = out.join(self.name());
        let [train, test] = SCENES.map(|(name, ..)| vec![shard(&folder, name)]);
        (config.data.train, config.data.test) = (train, test);
        config.text.tokenizer = folder.join("tokenizer.json");
    }
}

/// The shard of a part of the scenes, which fit into one.
fn shard(folder: &Path, part: &str) -> PathBuf {
    folder.join(part).join("00000.tar")
}

impl FromStr for DataSet {
    type Err = TrainError;

    fn from_str(name: &str) -> Result<Self, TrainError> {
        let found = Self::ALL.into_iter().find(|data| data.name() == name);
        found.ok_or_else(|| unknown("data set", name, &Self::ALL.map(Self::name)))
    }
}

impl fmt::Display for DataSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
