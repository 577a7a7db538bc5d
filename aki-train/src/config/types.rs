//! What a run file says. Every key is here; there are no defaults, so that a run file is complete.

use std::path::{Path, PathBuf};

use aki_data::{Augmentation, Target};
use aki_model::AkiConfig;
use aki_model::attention::Policy;
use aki_model::projector::ProjectorConfig;
use serde::{Deserialize, Serialize};

use super::source::load;
use crate::TrainError;

/// A whole run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// Where everything the run writes goes; relative to the working folder.
    pub run_dir: PathBuf,
    /// Seed of the weights, the order of the samples and the augmentation.
    pub seed: u64,
    /// Tokenizer and texts.
    pub text: TextConfig,
    /// What is read.
    pub data: DataConfig,
    /// The network.
    pub model: AkiConfig,
    /// The stages, in order; each begins with the weights of the one before.
    pub stage: Vec<StageConfig>,
    /// What is measured at the end.
    pub evaluation: EvaluationConfig,
}

/// Tokenizer and texts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextConfig {
    /// A `tokenizer.json`; relative to the run file.
    pub tokenizer: PathBuf,
    /// The system line of questions.
    pub system: String,
}

/// What is read. Paths are relative to the run file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// WebDataset shards to train on.
    pub train: Vec<PathBuf>,
    /// WebDataset shards that are never trained on.
    pub test: Vec<PathBuf>,
    /// Training samples (pictures) set aside to measure on the way.
    pub valid_samples: usize,
    /// Whether pictures are turned as their EXIF says. The original does not.
    pub exif_orientation: bool,
}

/// One stage of training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageConfig {
    /// The stage's name in logs, folders and `--set stage.NAME.key=value`.
    pub name: String,
    /// What is learned from a sample.
    pub target: StageTarget,
    /// Who may look at whom.
    pub attention: Policy,
    /// Optimizer steps; 0 leaves the stage out.
    pub steps: usize,
    /// Pictures a step.
    pub batch: usize,
    /// Questions drawn of each picture; 0 takes all. Captions have no use for it.
    pub questions_per_picture: usize,
    /// Threads that a step's pictures are shared out to, for the CPU; 1 on a GPU. It decides the
    /// order of sums, so another number gives other last bits.
    pub threads: usize,
    /// Steps between measurements on the samples set aside.
    pub evaluate_every: usize,
    /// Steps between checkpoints. There is always one at the end of a stage.
    pub checkpoint_every: usize,
    /// Random changes of the pictures.
    pub augmentation: Augmentation,
    /// How weights change.
    pub optimizer: OptimizerConfig,
}

/// What a stage learns from a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StageTarget {
    /// The picture's caption.
    Captions,
    /// Answers to the questions about the picture.
    Questions,
}

/// `AdamW` with betas 0.9 and 0.999, epsilon 1e-8, and a cosine schedule with warm-up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizerConfig {
    /// Highest learning rate.
    pub lr: f64,
    /// Learning rate at the first step and at the last.
    pub min_lr: f64,
    /// Steps from `min_lr` to `lr`.
    pub warmup_steps: usize,
    /// Decoupled weight decay, on all parameters as in the original.
    pub weight_decay: f64,
    /// Highest global norm of the gradients; larger ones are scaled down.
    pub clip_norm: f64,
}

/// What is measured at the end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationConfig {
    /// Test samples (pictures) to measure on; 0 takes all.
    pub samples: usize,
    /// Pictures a step.
    pub batch: usize,
    /// Pictures shown in the report, with question, answer and truth.
    pub examples: usize,
}

impl RunConfig {
    /// Reads a run file, lays `--set` overrides over it, makes its paths absolute and checks it.
    ///
    /// # Errors
    ///
    /// [`TrainError`] if the file cannot be read, has unknown keys, or a value makes no sense.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self, TrainError> {
        let mut config: Self = load(path, overrides, &Self::example())?;
        let file = std::fs::canonicalize(path).map_err(TrainError::io("find", path))?;
        let folder = file.parent().unwrap_or(Path::new("/"));
        let RunConfig { text, data, .. } = &mut config;
        for file in data
            .train
            .iter_mut()
            .chain(&mut data.test)
            .chain([&mut text.tokenizer])
        {
            *file = tidy(&folder.join(&*file));
        }
        config.validate()?;
        Ok(config)
    }

    fn validate(&self) -> Result<(), TrainError> {
        let fault = |key: &str, reason: &str| {
            Err(TrainError::Setting {
                key: key.to_owned(),
                reason: reason.to_owned(),
            })
        };
        if self.data.train.is_empty() {
            return fault("data.train", "name at least one shard");
        }
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
                Policy::Cca if latents.isqrt().pow(2) != latents => {
                    return fault(
                        &key("attention"),
                        "cca needs a square number of media tokens (model.resampler.num_latents)",
                    );
                }
                _ => {}
            }
            let positive = [
                ("batch", stage.batch),
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
            if !(0.0..=1.0).contains(&stage.augmentation.flip) {
                return fault(&key("augmentation.flip"), "is a probability, from 0 to 1");
            }
            let OptimizerConfig {
                lr,
                min_lr,
                warmup_steps,
                weight_decay,
                clip_norm,
            } = stage.optimizer;
            if !(lr > 0.0 && lr <= 1.0 && min_lr > 0.0 && min_lr <= lr) {
                return fault(&key("optimizer.lr"), "needs 0 < min_lr <= lr <= 1");
            }
            if stage.steps > 0 && warmup_steps >= stage.steps {
                return fault(
                    &key("optimizer.warmup_steps"),
                    "must be less than the stage's steps",
                );
            }
            if !(weight_decay >= 0.0 && weight_decay.is_finite()) {
                return fault(&key("optimizer.weight_decay"), "must be 0 or more");
            }
            if clip_norm.is_nan() || clip_norm <= 0.0 {
                return fault(&key("optimizer.clip_norm"), "must be more than 0");
            }
        }
        Ok(())
    }

    /// The run file's text.
    ///
    /// # Panics
    ///
    /// Never: every field has a form in TOML.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("a run is plain tables and values")
    }

    /// A run with every key, from which the known keys are learned.
    fn example() -> Self {
        let mut example: Self =
            toml::from_str(include_str!("../../../assets/configs/easy-vqa.toml"))
                .expect("the built-in run is whole");
        // What most networks leave out.
        let AkiConfig {
            vision,
            projector,
            language,
            ..
        } = &mut example.model;
        vision.hidden_act = Some(vision.activation());
        *projector = Some(ProjectorConfig { hidden_size: 1 });
        language.head_dim = Some(2);
        language.max_position_embeddings = Some(1);
        example
    }
}

impl StageConfig {
    /// The data crate's name for what this stage learns.
    pub fn data_target(&self) -> Target {
        match self.target {
            StageTarget::Captions => Target::Captions,
            StageTarget::Questions => Target::Questions {
                per_picture: (self.questions_per_picture > 0).then_some(self.questions_per_picture),
            },
        }
    }
}

/// Removes `.` and `..` without asking the file system, so that a missing file keeps its name.
fn tidy(path: &Path) -> PathBuf {
    let mut tidied = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => {
                tidied.pop();
            }
            std::path::Component::CurDir => {}
            other => tidied.push(other),
        }
    }
    tidied
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_most_networks_leave_out_are_known() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("run.toml");
        let text = include_str!("../../../assets/configs/easy-vqa.toml")
            .replace("[model.vision]", "[model.vision]\nhidden_act = \"gelu\"")
            .replace(
                "[model.language]",
                "[model.language]\nmodel_type = \"llama\"\nhead_dim = 16\nmax_position_embeddings = 99",
            );
        let (head, tail) = text.split_once("[model.resampler]").unwrap();
        let (_, tail) = tail.split_once("[model.language]").unwrap();
        let text = format!("{head}[model.projector]\nhidden_size = 64\n[model.language]{tail}");
        std::fs::write(&file, text).unwrap();
        let model = RunConfig::load(&file, &[]).unwrap().model;
        assert_eq!(model.media_len(), 64);
        assert_eq!(model.language.head_dim(), 16);
    }
}
