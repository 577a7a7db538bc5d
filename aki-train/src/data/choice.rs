//! Which stage and which data of a run are to be looked at.

use aki_data::sources::SourceConfig;

use crate::TrainError;
use crate::config::{RunConfig, StageConfig, StageTarget, nearest};

impl RunConfig {
    /// The stage of this name. Without a name the one that learns from sources; if none does, the
    /// last.
    ///
    /// # Errors
    ///
    /// [`TrainError::Request`] if there is no such stage, or several could be meant.
    pub fn stage_to_look_at(&self, name: Option<&str>) -> Result<&StageConfig, TrainError> {
        let names = || self.stage.iter().map(|stage| stage.name.as_str());
        if let Some(name) = name {
            let found = self.stage.iter().find(|stage| stage.name == name);
            return found.ok_or_else(|| unknown("stage", name, names()));
        }
        let of_sources = |stage: &&StageConfig| stage.target == StageTarget::Sources;
        let learning: Vec<_> = self.stage.iter().filter(of_sources).collect();
        match learning[..] {
            [stage] => Ok(stage),
            [] => self.stage.last().ok_or_else(|| {
                let reason = "this run has no stage";
                TrainError::Request(reason.to_owned())
            }),
            [..] => {
                let names: Vec<_> = learning.iter().map(|stage| stage.name.as_str()).collect();
                Err(TrainError::Request(format!(
                    "several stages learn from sources, and texts may differ in length; choose one \
                     with --stage: {}",
                    names.join(", ")
                )))
            }
        }
    }

    /// The names of the data a stage may be shown, in the order of the run file: its sources, or
    /// `train` and `test`. All if none is `wanted`.
    ///
    /// # Errors
    ///
    /// [`TrainError::Request`] if one that is wanted is not there.
    pub fn names_to_look_at(
        &self,
        stage: &StageConfig,
        wanted: &[String],
    ) -> Result<Vec<String>, TrainError> {
        let mut names: Vec<String> = if stage.target == StageTarget::Sources {
            self.data.source.iter().map(SourceConfig::name).collect()
        } else {
            let whole = [("train", &self.data.train), ("test", &self.data.test)];
            let there = whole.into_iter().filter(|(_, shards)| !shards.is_empty());
            there.map(|(name, _)| name.to_owned()).collect()
        };
        if let Some(name) = wanted.iter().find(|name| !names.contains(name)) {
            return Err(unknown("source", name, names.iter().map(String::as_str)));
        }
        if !wanted.is_empty() {
            names.retain(|name| wanted.contains(name));
        }
        Ok(names)
    }
}

fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str> + Clone) -> TrainError {
    let meant = nearest(name, known.clone());
    let meant = meant.map_or_else(String::new, |meant| format!("; did you mean {meant:?}?"));
    let known: Vec<_> = known.collect();
    TrainError::Request(format!(
        "there is no {what} {name:?}{meant} (there are: {})",
        known.join(", ")
    ))
}
