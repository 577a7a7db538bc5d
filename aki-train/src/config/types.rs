//! What a run file says. Every key is here. What most runs leave out may be left out, and is written
//! down where the run is kept: whatever decides a result stands in the file.

use std::path::{Path, PathBuf};

use aki_data::Tokenizer;
use aki_data::shards::RemoteConfig;
use aki_data::sources::SourceConfig;
use aki_model::AkiConfig;
use serde::{Deserialize, Serialize};

use super::StageConfig;
use super::source::{load, parse};
use super::training::TrainingConfig;
use crate::TrainError;
use crate::distributed::Ranks;
use crate::folder::find;
use crate::learner::StepConfig;

/// The share of broken samples that a run file allows if it says none.
pub(crate) const MAX_BAD_SHARE: f64 = 0.01;

/// A whole run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// Where everything the run writes goes; relative to the working folder.
    pub run_dir: PathBuf,
    /// Seed of the weights, the order of the samples and the augmentation.
    pub seed: u64,
    /// A model folder, a run's or a checkpoint's, with whose weights the first stage begins; relative
    /// to the run file. If left out they are drawn.
    pub start: Option<PathBuf>,
    /// Tokenizer and texts.
    pub text: TextConfig,
    /// What is read.
    pub data: DataConfig,
    /// Precision, memory, adapters and what is kept.
    #[serde(default)]
    pub training: TrainingConfig,
    /// The network.
    pub model: AkiConfig,
    /// The stages, in order. Each begins with the weights of the one before and an optimizer of its own:
    /// under bf16 and f16 it makes its f32 master of the weights in that precision, and what the master
    /// before it had beyond is lost (in bf16 the last 16 of 24 bits). Where that matters, make one stage
    /// of them, or train in f32.
    pub stage: Vec<StageConfig>,
    /// What is measured at the end.
    pub evaluation: EvaluationConfig,
}

/// Tokenizer and texts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextConfig {
    /// A `tokenizer.json`, or the folder of a model or a run; relative to the run file.
    pub tokenizer: PathBuf,
    /// The system line of questions.
    pub system: String,
}

/// What is read. Paths are relative to the run file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// WebDataset shards with captions and questions, held in memory whole, for stages that learn
    /// either.
    #[serde(default)]
    pub train: Vec<PathBuf>,
    /// Such shards that are never trained on.
    #[serde(default)]
    pub test: Vec<PathBuf>,
    /// Samples to measure on along the way: set aside of `train`, or the first of the sources that
    /// are `valid`.
    pub valid_samples: usize,
    /// Whether pictures are turned as their EXIF says. The original does not.
    pub exif_orientation: bool,
    /// Threads that read and decode pictures of the sources; as many as cores if left out. It
    /// changes no result.
    pub workers: Option<usize>,
    /// The share of broken samples, 0 to 1, above which a source, or the shards of `train` or `test`,
    /// stop the run; 0.01 if left out.
    pub max_bad_share: Option<f64>,
    /// How shards of remote stores are read, and what is done when they cannot be.
    pub remote: Option<RemoteConfig>,
    /// Sources of any size, read as they are needed, for stages that learn `sources`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub source: Vec<SourceConfig>,
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
        let mut config: Self = load(path, overrides, &Self::known())?;
        let file = std::fs::canonicalize(path).map_err(TrainError::io("find", path))?;
        let folder = file.parent().unwrap_or(Path::new("/"));
        let RunConfig {
            start, text, data, ..
        } = &mut config;
        for file in data
            .train
            .iter_mut()
            .chain(&mut data.test)
            .chain([&mut text.tokenizer])
            .chain(start)
        {
            *file = beside(folder, file);
        }
        for source in &mut data.source {
            source.resolve(|path| beside(folder, path));
        }
        config.validate()?;
        config.complete();
        Ok(config)
    }

    /// Reads the configuration that a run keeps in its folder, as it is.
    pub(crate) fn kept(path: &Path) -> Result<Self, TrainError> {
        let mut config: Self = load(path, &[], &Self::known())?;
        // An earlier program may have left out what this one writes down.
        config.complete();
        Ok(config)
    }

    /// Whether `text` is a run file that could be used, if the files it names are there.
    pub(super) fn check(text: &str) -> Result<(), TrainError> {
        let run: Self = parse(text, "the run file", &[], &Self::known())?;
        run.validate()
    }

    /// Writes down what the sources left out, so that the run that is kept is whole.
    fn complete(&mut self) {
        let data = &mut self.data;
        data.max_bad_share.get_or_insert(MAX_BAD_SHARE);
        data.source.iter_mut().for_each(SourceConfig::complete);
    }

    /// The stages that are not left out.
    pub fn active(&self) -> impl DoubleEndedIterator<Item = &StageConfig> {
        self.stage.iter().filter(|stage| stage.steps > 0)
    }

    /// How the steps of a stage are carried out.
    pub fn step(&self, stage: &StageConfig) -> StepConfig {
        StepConfig {
            clip_norm: stage.optimizer.clip_norm,
            micro_batches: stage
                .batch
                .div_ceil(stage.micro_batch.unwrap_or(stage.batch)),
            threads: stage.threads,
            recompute: self.training.recompute,
            ema: self.training.ema,
            ranks: Ranks::ALONE,
            shares: false,
        }
    }

    /// The run file's text.
    ///
    /// # Panics
    ///
    /// Never: every field has a form in TOML.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("a run is plain tables and values")
    }
}

impl TextConfig {
    /// Reads the tokenizer.
    ///
    /// # Errors
    ///
    /// [`TrainError::Data`] if it cannot be used, [`TrainError::Model`] if the folder holds none.
    pub fn open_tokenizer(&self) -> Result<Tokenizer, TrainError> {
        Ok(match self.tokenizer.is_dir() {
            true => Tokenizer::open(&find(&self.tokenizer)?)?,
            false => Tokenizer::from_file(&self.tokenizer)?,
        })
    }
}

/// A path of a run file in `folder`; `~` is left to be told.
fn beside(folder: &Path, path: &Path) -> PathBuf {
    match path.starts_with("~") {
        true => path.to_owned(),
        false => tidy(&folder.join(path)),
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
    use aki_data::Augmentation;
    use aki_model::attention::Policy;

    use super::*;
    use crate::config::{OptimizerConfig, Precision};

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

    #[test]
    fn the_instruction_tuning_of_the_original_is_a_run() {
        let path = Path::new("../assets/configs/sft.toml");
        let run = RunConfig::load(path, &[]).unwrap();
        assert_eq!(run.data.source.len(), 11);
        let weight: f64 = run.data.source.iter().map(SourceConfig::weight).sum();
        assert!((weight - 1.0).abs() < 1e-9, "{weight}");
        assert_eq!(run.stage[0].augmentation, Augmentation::Reference);
        assert_eq!(run.model, AkiConfig::preset("aki-4b").unwrap());
        // 32 a step, as on eight GPUs of 4.
        assert_eq!(
            (run.stage[0].batch, run.stage[0].micro_batch),
            (32, Some(4))
        );
        assert_eq!(run.training.precision, Precision::Bf16);
        let set = ["model.language.rope_scaling.original=1".to_owned()];
        let error = RunConfig::load(path, &set).unwrap_err().to_string();
        assert!(error.contains("model.language.rope_scaling"), "{error}");
    }

    #[test]
    fn the_other_runs_of_aki_4b_are_runs() {
        let load = |name: &str| {
            let path = Path::new("../assets/configs").join(name);
            RunConfig::load(&path, &[]).unwrap()
        };
        let (sft, lora) = (load("sft.toml"), load("sft-lora.toml"));
        assert_eq!(lora.data, sft.data);
        assert_eq!(lora.model, sft.model);
        assert_eq!(lora.training.lora.as_ref().unwrap().rank, 64);
        let mut stage = lora.stage[0].clone();
        stage.micro_batch = sft.stage[0].micro_batch;
        stage.optimizer.lr = sft.stage[0].optimizer.lr;
        assert_eq!(stage, sft.stage[0]);

        let pretrain = load("pretrain.toml");
        assert_eq!(pretrain.model, sft.model);
        let stage = &pretrain.stage[0];
        assert_eq!(stage.attention, Policy::Causal);
        assert_eq!(stage.steps * stage.batch, 16_000);
        assert!(
            pretrain
                .data
                .source
                .iter()
                .all(SourceConfig::is_pretraining)
        );
        let OptimizerConfig {
            lr,
            min_lr,
            warmup_steps,
            weight_decay,
            ..
        } = stage.optimizer;
        assert_eq!((lr, min_lr), (1e-4, 1e-5));
        assert_eq!((warmup_steps, weight_decay), (2000, 0.01));
    }
}
