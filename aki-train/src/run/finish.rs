//! The end of a run: the model written, measured and shown.

use std::path::Path;

use aki_data::{PictureOrder, Sample, Target};
use aki_model::Aki;
use aki_model::generate::{GenerateOptions, Sampler, Sampling, generate};
use aki_model::weights::{self, WeightsError};
use burn::module::Module;

use super::{Outcome, Run};
use crate::TrainError;
use crate::config::{RunConfig, StageConfig};
use crate::evaluation::{Accuracy, evaluate, majority};
use crate::folder::{FolderConfig, ModelFolder, write_file};
use crate::log::read;
use crate::report::{Example, Report, StageResult};

/// What is told where a model's files cannot be written.
fn unwritten(folder: &Path, error: TrainError) -> TrainError {
    match error {
        TrainError::Weights(WeightsError::Io { source, .. }) | TrainError::Io { source, .. } => {
            TrainError::ModelUnwritten {
                path: folder.to_owned(),
                reason: source.to_string(),
            }
        }
        other => other,
    }
}

impl Run<'_> {
    /// Writes the model, and its adapters by themselves if it has any, measures it and writes the report.
    pub(super) fn finish(&self, aki: Aki) -> Result<Outcome, TrainError> {
        let RunConfig { run_dir, .. } = self.config;
        let folder = run_dir.join("model");
        if aki.language().has_adapters() {
            let folder = run_dir.join("adapter");
            weights::save_adapters(aki.language(), "lang_model.", &folder)
                .map_err(|error| unwritten(&folder, error.into()))?;
        }
        // What is measured is what is used from now on.
        let aki = &aki.merged();
        ModelFolder::finish(&folder, aki).map_err(|error| unwritten(&folder, error))?;
        let interrupted = || {
            Ok(Outcome::Interrupted {
                stage: "evaluation".to_owned(),
            })
        };
        let Some(trained) = self.measure("measuring", aki)? else {
            return interrupted();
        };
        let untrained = match trained.all().asked {
            // A second network is not made for nothing.
            0 => Accuracy::default(),
            _ => match self.measure_untrained()? {
                Some(untrained) => untrained,
                None => return interrupted(),
            },
        };
        let (records, _) = read(&run_dir.join("metrics.jsonl"))?;
        let stages = self.config.active().map(|stage| {
            let attention = match stage.order {
                PictureOrder::ImageText => stage.attention.name().to_owned(),
                order @ PictureOrder::TextImage => {
                    format!("{}, {}", stage.attention.name(), order.name())
                }
            };
            StageResult::from_records(&stage.name, stage.steps, attention, &records)
        });
        let report = Report {
            device: self.options.device_name.clone(),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            parameters: aki.num_params(),
            seconds: records.last().map_or(0.0, |record| record.seconds),
            stages: stages.collect(),
            trained,
            untrained,
            majority: majority(&self.train, &self.test, |turn| &turn.kind),
            examples: self.examples(&folder)?,
        };
        report.write(run_dir, &records)?;
        Ok(Outcome::Complete {
            report: Box::new(report),
            fresh: true,
        })
    }

    /// Of what the run began with; nothing was asked if that is gone.
    fn measure_untrained(&self) -> Result<Option<Accuracy>, TrainError> {
        match self.fresh_model() {
            Ok(fresh) => self.measure("untrained", &fresh),
            Err(error) if self.config.start.is_some() => {
                (self.options.notice)(&format!(
                    "what the run began with is not measured, since it cannot be read any more: {error}"
                ));
                Ok(Some(Accuracy::default()))
            }
            Err(error) => Err(error),
        }
    }

    fn measure(&self, what: &str, aki: &Aki) -> Result<Option<Accuracy>, TrainError> {
        let mut stages = self.config.stage.iter().rev();
        let asks = |target: &Target| matches!(target, Target::Questions { .. });
        let Some((stage, target)) =
            stages.find_map(|stage| Some((stage, stage.data_target().filter(asks)?)))
        else {
            return Ok(Some(Accuracy::default()));
        };
        let accepted = self.test.iter().filter(|sample| target.accepts(sample));
        let samples: Vec<&Sample> = accepted.collect();
        let (batch, items) = (self.config.evaluation.batch, samples.len());
        let FolderConfig {
            attention, order, ..
        } = self.folder_config();
        let stage = &StageConfig {
            attention,
            order,
            ..stage.clone()
        };
        let loader = self.loader(stage, target, samples, None, batch);
        let interrupter = &self.options.interrupter;
        let evaluation = evaluate(what, aki, &loader, items, interrupter);
        Ok(evaluation?.map(|evaluation| evaluation.accuracy))
    }

    /// Asks the model on disk about some test pictures, which also shows that it can be read back.
    fn examples(&self, folder: &Path) -> Result<Vec<Example>, TrainError> {
        if self.config.evaluation.examples == 0 || self.test.is_empty() {
            return Ok(Vec::new());
        }
        let model = ModelFolder::load(folder, None, &self.options.device)?;
        let pictures = self.config.run_dir.join("examples");
        std::fs::create_dir_all(&pictures).map_err(TrainError::io("create", &pictures))?;
        let asked: Vec<&Sample> = self
            .test
            .iter()
            .filter(|sample| !sample.turns.is_empty())
            .collect();
        let wanted = self.config.evaluation.examples.min(asked.len());
        let mut examples = Vec::new();
        for number in 0..wanted {
            // Spread over the test set; of each picture another question.
            let sample = asked[number * asked.len() / wanted];
            let turn = &sample.turns[number % sample.turns.len()];
            let picture = model.decode(&sample.picture, &sample.key)?;
            // Named by number: a key may hold slashes, and two shards may hold one key.
            let png = sample.picture.starts_with(b"\x89PNG");
            let name = format!("{}.{}", number + 1, if png { "png" } else { "jpg" });
            let file = pictures.join(&name);
            write_file(&file, &sample.picture)?;
            let prompt = model.prompt(&turn.question, &[&picture])?;
            let options = GenerateOptions {
                stop: vec![self.tokenizer.special().eos],
                max_new_tokens: 16,
                prompt_logits: false,
            };
            let mut sampler = [Sampler::new(Sampling::default())];
            let generation = generate(&model.aki, &[prompt], &mut sampler, &options, |_, _| true);
            let ids = &generation.answers[0].token_ids;
            examples.push(Example {
                picture: Path::new("examples").join(name),
                question: turn.question.clone(),
                answer: self.tokenizer.decode(ids)?.trim().to_owned(),
                truth: turn.answer.clone(),
            });
        }
        Ok(examples)
    }
}
