//! One stage of a run, through Burn's learner.

use std::sync::{Arc, PoisonError};

use aki_data::{Order, Sample};
use aki_model::Aki;
use burn::module::Module;
use burn::optim::AdamWConfig;
use burn::train::metric::{LearningRateMetric, LossMetric};
use burn::train::{Learner, SupervisedTraining, TrainingStrategy};

use super::{Run, RunOptions};
use crate::TrainError;
use crate::checkpoint::{self, Checkpoint, FileWriter, KeepTwo};
use crate::config::{RunConfig, StageConfig};
use crate::learner::{ExactMatch, StepStrategy, Trainee, schedule};
use crate::log::{LogFault, ProgressRenderer, RunLogger, read, truncate_after};

impl Run<'_> {
    /// The samples that have what a stage learns: those to train on, or those set aside.
    pub(super) fn fitting(
        &self,
        stage: &StageConfig,
        training: bool,
    ) -> Result<Vec<&Sample>, TrainError> {
        let (key, samples) = if training {
            ("data.train", &self.train)
        } else {
            ("data.valid_samples", &self.valid)
        };
        let target = stage.data_target();
        let accepted = samples.iter().filter(|sample| target.accepts(sample));
        let fitting: Vec<&Sample> = accepted.collect();
        if fitting.is_empty() {
            let count = samples.len();
            let reason = format!("none of these {count} samples has {:?}", stage.target);
            let key = key.to_owned();
            return Err(TrainError::Setting {
                key,
                reason: reason.to_lowercase(),
            });
        }
        Ok(fitting)
    }

    /// Trains a stage to its end, or until the user stops it.
    pub(super) fn stage(
        &self,
        stage: &StageConfig,
        aki: Aki,
        checkpoint: Option<&Checkpoint>,
    ) -> Result<Option<Aki>, TrainError> {
        let RunConfig {
            run_dir,
            seed,
            stage: stages,
            evaluation,
            ..
        } = self.config;
        let RunOptions {
            interrupter,
            renderer,
            ..
        } = self.options;
        let optimizer = AdamWConfig::new()
            .with_epsilon(1e-8)
            .with_weight_decay(stage.optimizer.weight_decay as f32)
            .init();
        let trainee = Trainee::new(aki, stage.optimizer.clip_norm, stage.threads).train();
        let schedule = schedule(&stage.optimizer, stage.steps)?;
        let mut learner = Learner::new(trainee, optimizer, schedule);
        if let Some(checkpoint) = checkpoint {
            checkpoint.load_learner(&mut learner)?;
        }
        let start = checkpoint.map_or(0, |checkpoint| checkpoint.step);
        let names: Vec<String> = stages.iter().map(|stage| stage.name.clone()).collect();
        let metrics = run_dir.join("metrics.jsonl");
        truncate_after(&metrics, &names, &stage.name, start)?;
        checkpoint::remove_partial(run_dir, &stage.name)?;
        let (records, _) = read(&metrics)?;
        let strategy = StepStrategy::new(stage, start, &records);
        if strategy.is_done() {
            return Ok(Some(learner.model().valid().into_aki()));
        }

        let samples = self.fitting(stage, true)?;
        let order = Order::new(*seed, samples.len());
        let items = stage.steps * stage.batch;
        let train = self.loader(
            stage,
            stage.attention,
            samples,
            Some(order),
            stage.batch,
            items,
        );
        let samples = self.fitting(stage, false)?;
        let items = samples.len();
        let valid = self.loader(
            stage,
            stage.attention,
            samples,
            None,
            evaluation.batch,
            items,
        );
        let fault = LogFault::default();
        let logger = RunLogger::new(
            run_dir,
            &stage.name,
            start,
            stage.batch,
            interrupter.clone(),
            fault.clone(),
        )?;
        let renderer = match renderer {
            Some(make) => make(interrupter.clone()),
            None => Box::new(ProgressRenderer::new(
                &stage.name,
                stage.steps * stage.batch,
                start * stage.batch,
                start / stage.evaluate_every * stage.evaluate_every * stage.batch,
            )),
        };
        let [model, optimizer, schedule] = FileWriter::all(run_dir, &stage.name);
        let kept = checkpoint::list(run_dir, &stage.name)?;
        let kept = KeepTwo(kept.into_iter().map(|checkpoint| checkpoint.step).collect());
        let result = SupervisedTraining::new(run_dir, Arc::new(train), Arc::new(valid))
            .num_epochs(strategy.epochs())
            .with_training_strategy(TrainingStrategy::Custom(Arc::new(strategy)))
            .with_metric_logger(logger)
            .with_application_logger(None)
            .with_custom_checkpointers(model, optimizer, schedule)
            .with_checkpointing_strategy(kept)
            .with_interrupter(interrupter.clone())
            .renderer(renderer)
            .label(&stage.name)
            .metric_train_numeric(LossMetric::new())
            .metric_valid_numeric(LossMetric::new())
            .metric_train_numeric(LearningRateMetric::new())
            .metric_valid_numeric(ExactMatch::new())
            .launch(learner);

        if let Some(fault) = fault.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(fault);
        }
        if let Some(error) = result.error {
            return Err(TrainError::Learner(error.to_string()));
        }
        Ok(result
            .interrupted
            .is_none()
            .then(|| result.model.into_aki()))
    }
}
