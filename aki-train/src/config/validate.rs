//! Whether the values of a run file make sense, together and each by itself.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use aki_data::sources::SourceConfig;
use aki_model::attention::Policy;

use super::stage::{OptimizerConfig, RateConfig, Schedule, StageConfig, StageTarget};
use super::types::{DataConfig, RunConfig};
use crate::TrainError;

impl RunConfig {
    /// All paths of the run file but the run's own folder.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        let Self {
            start, text, data, ..
        } = self;
        let files = data.train.iter().chain(&data.test).chain(start);
        let files = files.chain([&text.tokenizer]).map(PathBuf::as_path);
        files.chain(data.source.iter().flat_map(SourceConfig::paths))
    }

    /// # Errors
    ///
    /// [`TrainError`] naming the first key that is wrong.
    pub(crate) fn validate(&self) -> Result<(), TrainError> {
        let fault = |key: &str, reason: &str| setting(key, reason.to_owned());
        if let Some(path) = self.paths().find(|path| path.starts_with("~")) {
            let reason = "~ is not expanded here; write the whole path";
            return fault(&path.display().to_string(), reason);
        }
        if self.run_dir.as_os_str().is_empty() {
            return fault("run_dir", "is empty; name a folder of the run's own");
        }
        self.validate_sources()?;
        if let Some((name, what)) = self.training.fault() {
            return fault(&format!("training.{name}"), what);
        }
        self.validate_adapters()?;
        if self.evaluation.batch == 0 {
            return fault("evaluation.batch", "must be at least 1");
        }
        if self.stage.is_empty() {
            return fault("stage", "a run needs at least one [[stage]]");
        }
        for (index, stage) in self.stage.iter().enumerate() {
            let key = |key: &str| format!("stage.{}.{key}", stage.name);
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            if stage.name.is_empty() || !stage.name.chars().all(plain) {
                return fault(
                    "stage.name",
                    "use letters, digits, - and _; it names a folder",
                );
            }
            if self.stage[..index]
                .iter()
                .any(|other| other.name == stage.name)
            {
                return fault(&key("name"), "two stages have this name");
            }
            let latents = self.model.media_len();
            match stage.attention {
                Policy::Bidirectional => {
                    return fault(
                        &key("attention"),
                        "cannot be bidirectional: each token would see the one it has to predict",
                    );
                }
                Policy::Cca if self.model.resampler.is_none() => {
                    return fault(
                        &key("attention"),
                        "cca needs a resampler: its rings would cut a projector's tokens, which stand line by \
                         line, anywhere",
                    );
                }
                Policy::Cca if latents.isqrt().pow(2) != latents => {
                    return fault(
                        &key("attention"),
                        "cca needs a square number of media tokens (model.resampler.num_latents)",
                    );
                }
                _ => {}
            }
            self.validate_target(stage)?;
            let positive = [
                ("batch", stage.batch),
                ("micro_batch", stage.micro_batch.unwrap_or(1)),
                ("threads", stage.threads),
                ("evaluate_every", stage.evaluate_every),
                ("checkpoint_every", stage.checkpoint_every),
            ];
            for (name, value) in positive {
                if value == 0 {
                    return fault(&key(name), "must be at least 1");
                }
            }
            if stage.steps.checked_mul(stage.batch).is_none() || stage.batch > 1 << 20 {
                return fault(&key("batch"), "is more than any memory holds");
            }
            if let Some((name, what)) = stage.augmentation.fault() {
                return fault(&key(&format!("augmentation.{name}")), what);
            }
            validate_optimizer(stage)?;
        }
        Ok(())
    }

    fn validate_adapters(&self) -> Result<(), TrainError> {
        let Some(lora) = &self.training.lora else {
            return Ok(());
        };
        // What adapters want is asked of the matrices' sizes.
        self.model.validate_shape().map_err(TrainError::Network)?;
        let checked = lora.adapters().validate(&self.model.language);
        checked.or_else(|(key, reason)| setting(&format!("training.lora.{key}"), reason))
    }

    fn validate_sources(&self) -> Result<(), TrainError> {
        let DataConfig {
            workers,
            max_bad_share,
            remote,
            source: sources,
            ..
        } = &self.data;
        let mut names = HashSet::new();
        for source in sources {
            source.check()?;
            if !names.insert(source.name()) {
                let reason = format!("two are called {:?}; give them names", source.name());
                return setting("data.source", reason);
            }
        }
        let learned = self.stage.iter().any(|stage| stage.data_target().is_none());
        let keys = [
            ("source", !sources.is_empty()),
            ("workers", workers.is_some()),
            ("remote", remote.is_some()),
        ];
        if let Some((key, _)) = keys.iter().find(|(_, there)| *there && !learned) {
            let reason = "no stage has target = \"sources\", which alone has a use for it";
            return setting(&format!("data.{key}"), reason.to_owned());
        }
        if workers.is_some_and(|workers| !(1..=1024).contains(&workers)) {
            return setting("data.workers", "must be 1 to 1024".to_owned());
        }
        if !(0.0..=1.0).contains(&max_bad_share.unwrap_or(0.0)) {
            return setting("data.max_bad_share", "is a share, from 0 to 1".to_owned());
        }
        Ok(())
    }

    /// Whether a stage has what its target needs, and nothing that it has no use for.
    fn validate_target(&self, stage: &StageConfig) -> Result<(), TrainError> {
        let fault =
            |key: &str, reason: String| setting(&format!("stage.{}.{key}", stage.name), reason);
        if stage.target != StageTarget::Sources {
            if self.data.train.is_empty() {
                return setting("data.train", "name at least one shard".to_owned());
            }
            if stage.target == StageTarget::Questions && stage.questions_per_picture.is_none() {
                return fault(
                    "questions_per_picture",
                    "is missing; 0 takes all".to_owned(),
                );
            }
            let of_sources = [
                ("sources", stage.sources.is_some()),
                ("max_text_len", stage.max_text_len.is_some()),
                ("packing", stage.packing.is_some()),
            ];
            return match of_sources.iter().find(|(_, there)| *there) {
                Some((key, _)) => fault(key, "is for target = \"sources\"".to_owned()),
                None => Ok(()),
            };
        }
        if stage.questions_per_picture.is_some() {
            let reason = "is for target = \"questions\"; sources give one text a sample";
            return fault("questions_per_picture", reason.to_owned());
        }
        let trained = self.data.source.iter().filter(|source| !source.is_valid());
        let trained: Vec<String> = trained.map(SourceConfig::name).collect();
        if trained.is_empty() {
            let reason = "the stage learns from sources, and there is none to train on";
            return setting("data.source", reason.to_owned());
        }
        let mut wanted = stage.sources.iter().flatten();
        if let Some(name) = wanted.find(|name| !trained.contains(name)) {
            let mut sources = self.data.source.iter();
            let reason = if sources.any(|source| source.name() == *name) {
                format!("source {name:?} is `valid`, so it is measured on and not trained on")
            } else {
                let there = trained.join(", ");
                format!("there is no source {name:?} to train on; there are {there}")
            };
            return fault("sources", reason);
        }
        if stage.sources.as_ref().is_some_and(Vec::is_empty) {
            return fault(
                "sources",
                "name at least one, or leave the key out".to_owned(),
            );
        }
        let least = self.model.media_len() + 2;
        if stage.packing.is_some_and(|packing| packing < least) {
            return fault(
                "packing",
                format!("must hold a picture and a text: at least {least}"),
            );
        }
        if stage.max_text_len.is_some_and(|limit| limit < 2) {
            return fault("max_text_len", "must be at least 2".to_owned());
        }
        Ok(())
    }
}

fn validate_optimizer(stage: &StageConfig) -> Result<(), TrainError> {
    let fault = |key: &str, reason: &str| {
        let key = format!("stage.{}.optimizer.{key}", stage.name);
        setting(&key, reason.to_owned())
    };
    let OptimizerConfig {
        lr,
        min_lr,
        warmup_steps,
        schedule,
        weight_decay,
        clip_norm,
        no_decay,
        rates,
    } = &stage.optimizer;
    let (lr, min_lr) = (*lr, *min_lr);
    if !(lr > 0.0 && lr <= 1.0 && min_lr > 0.0 && min_lr <= lr) {
        return fault("lr", "needs 0 < min_lr <= lr <= 1");
    }
    if stage.steps > 0 && *warmup_steps >= stage.steps {
        return fault("warmup_steps", "must be less than the stage's steps");
    }
    if *schedule == Schedule::Constant && *warmup_steps == 0 && min_lr < lr {
        let reason = "has no use where the schedule is constant from the first step; make it lr";
        return fault("min_lr", reason);
    }
    if !(*weight_decay >= 0.0 && weight_decay.is_finite()) {
        return fault("weight_decay", "must be 0 or more");
    }
    if *weight_decay == 0.0 && !no_decay.is_empty() {
        return fault("no_decay", "has no use where weight_decay is 0");
    }
    if clip_norm.is_nan() || *clip_norm <= 0.0 {
        return fault("clip_norm", "must be more than 0");
    }
    for RateConfig { params, factor } in rates {
        if params.is_empty() {
            return fault("rates", "each needs a pattern in params");
        }
        if !(*factor > 0.0 && lr * factor <= 1.0) {
            let reason = "each needs factor > 0 and factor lr <= 1; what is not to be trained \
                          goes into freeze";
            return fault("rates", reason);
        }
    }
    Ok(())
}

/// What is wrong with a value of the run file.
fn setting(key: &str, reason: String) -> Result<(), TrainError> {
    Err(TrainError::Setting {
        key: key.to_owned(),
        reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_optimizer_at_fault_is_told_by_its_key() {
        let path = Path::new("../assets/configs/easy-vqa.toml");
        let run = RunConfig::load(path, &[]).unwrap();
        let fault = |change: fn(&mut OptimizerConfig)| {
            let mut stage = run.stage[0].clone();
            change(&mut stage.optimizer);
            match validate_optimizer(&stage) {
                Err(TrainError::Setting { key, .. }) => {
                    let key = key.strip_prefix("stage.captions.optimizer.");
                    key.unwrap().to_owned()
                }
                other => panic!("{other:?}"),
            }
        };
        let rate = |factor: f64, params: &[&str]| RateConfig {
            params: params.iter().map(|&it| it.to_owned()).collect(),
            factor,
        };
        assert_eq!(fault(|it| it.min_lr = 0.0), "lr");
        assert_eq!(fault(|it| it.lr = f64::NAN), "lr");
        assert_eq!(fault(|it| it.warmup_steps = usize::MAX), "warmup_steps");
        assert_eq!(fault(|it| it.weight_decay = -1.0), "weight_decay");
        assert_eq!(fault(|it| it.clip_norm = 0.0), "clip_norm");
        let constant = |it: &mut OptimizerConfig| {
            (it.schedule, it.warmup_steps) = (Schedule::Constant, 0);
        };
        assert_eq!(fault(constant), "min_lr");
        let useless = |it: &mut OptimizerConfig| {
            (it.weight_decay, it.no_decay) = (0.0, vec!["*".to_owned()]);
        };
        assert_eq!(fault(useless), "no_decay");
        for rate in [
            rate(0.5, &[]),
            rate(0.0, &["*"]),
            rate(-1.0, &["*"]),
            rate(f64::NAN, &["*"]),
            rate(f64::INFINITY, &["*"]),
            rate(1e9, &["*"]),
        ] {
            let mut stage = run.stage[0].clone();
            stage.optimizer.rates = vec![rate];
            let error = validate_optimizer(&stage).unwrap_err().to_string();
            assert!(
                error.starts_with("stage.captions.optimizer.rates: each"),
                "{error}"
            );
        }
        let mut stage = run.stage[0].clone();
        stage.optimizer.rates = vec![rate(2.0, &["*"])];
        stage.optimizer.no_decay = vec!["*.bias".to_owned()];
        validate_optimizer(&stage).unwrap();
    }
}
