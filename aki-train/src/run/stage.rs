//! One stage of a run, through Burn's learner.

use std::sync::{Arc, PoisonError};

use aki_data::{Batcher, Order, Sample};
use aki_model::Aki;
use burn::module::Module;
use burn::optim::AdamWConfig;
use burn::train::metric::{LearningRateMetric, LossMetric};
use burn::train::{Learner, SupervisedTraining, TrainingStrategy};

use super::{Run, RunOptions};
use crate::TrainError;
use crate::checkpoint::{self, Checkpoint, FileWriter, KeepTwo};
use crate::config::{RunConfig, StageConfig};
use crate::data::{SampleLoader, SampleOrder};
use crate::learner::{ExactMatch, StepStrategy, Trainee, schedule};
use crate::log::{LogFault, ProgressRenderer, RunLogger, truncate_after};

impl Run<'_> {
    /// Samples that have what a stage learns.
    fn fitting(
        samples: &Arc<Vec<Sample>>,
        batcher: &Batcher,
    ) -> Result<Arc<Vec<Sample>>, TrainError> {
        let fitting: Vec<Sample> = samples
            .iter()
            .filter(|sample| batcher.target.accepts(sample))
            .cloned()
            .collect();
        if fitting.is_empty() {
            let reason = format!("no sample has what the target {:?} needs", batcher.target);
            return Err(TrainError::Setting {
                key: "data.train".to_owned(),
                reason,
            });
        }
        Ok(Arc::new(fitting))
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
        truncate_after(&run_dir.join("metrics.jsonl"), &names, &stage.name, start)?;
        if start >= stage.steps {
            return Ok(Some(learner.model().valid().into_aki()));
        }

        let batcher = self.batcher(stage, true);
        let samples = Self::fitting(&self.train, &batcher)?;
        let order = SampleOrder::Shuffled(Order::new(*seed, samples.len()));
        let items = stage.steps * stage.batch;
        let train = SampleLoader::new(samples, order, batcher, stage.attention, stage.batch, items);
        let batcher = self.batcher(stage, false);
        let samples = Self::fitting(&self.valid, &batcher)?;
        let items = samples.len();
        let valid = SampleLoader::new(
            samples,
            SampleOrder::File,
            batcher,
            stage.attention,
            evaluation.batch,
            items,
        );

        let strategy = StepStrategy {
            start,
            steps: stage.steps,
            batch: stage.batch,
            evaluate_every: stage.evaluate_every,
            checkpoint_every: stage.checkpoint_every,
        };
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
