//! One stage of a run, through Burn's learner.

use std::sync::{Arc, PoisonError};

use aki_data::mixture::Counts;
use aki_data::sources::Source;
use aki_data::{Order, Sample, Target};
use aki_model::Aki;
use burn::data::dataloader::DataLoader;
use burn::module::Module;
use burn::optim::AdamWConfig;
use burn::train::metric::{LearningRateMetric, LossMetric};
use burn::train::{Learner, SupervisedTraining, TrainingStrategy};

use super::{Run, RunOptions};
use crate::TrainError;
use crate::checkpoint::{self, Checkpoint, FileWriter, KeepTwo};
use crate::config::{RunConfig, StageConfig};
use crate::data::{Loader, MixedRows, PolicyBatch, ValidSamples};
use crate::learner::{ExactMatch, StepStrategy, Trainee, schedule};
use crate::log::{LogFault, ProgressRenderer, RunLogger, read, truncate_after};

/// Batches to train or to measure on.
type Batches = Arc<dyn DataLoader<PolicyBatch>>;

impl Run<'_> {
    /// The samples that have what a stage learns: those to train on, or those set aside.
    pub(super) fn fitting(
        &self,
        stage: &StageConfig,
        target: Target,
        training: bool,
    ) -> Result<Vec<&Sample>, TrainError> {
        let (key, samples) = if training {
            ("data.train", &self.train)
        } else {
            ("data.valid_samples", &self.valid)
        };
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
            stage: stages,
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
        let measured = stage.data_target().is_some()
            || self.sources.iter().any(|source| source.config.is_valid());
        let strategy = StepStrategy::new(run_dir, stage, start, &records, measured);
        if strategy.is_done() {
            return Ok(Some(learner.model().valid().into_aki()));
        }

        let (train, valid, counts) = if let Some(target) = stage.data_target() {
            let (train, valid) = self.labelled(stage, target)?;
            (train, valid, None)
        } else {
            let (train, valid) = self.mixed(stage, checkpoint)?;
            let rows = Loader::new(train.clone(), stage.steps * stage.batch);
            (Arc::new(rows) as Batches, valid, Some(train))
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
                stage,
                stage.steps * stage.batch,
                start * stage.batch,
                start / stage.evaluate_every * stage.evaluate_every * stage.batch,
                valid.num_items() > 0,
            )),
        };
        let [model, optimizer, schedule] = FileWriter::all(run_dir, &stage.name);
        let kept = checkpoint::list(run_dir, &stage.name)?;
        let kept = KeepTwo(kept.into_iter().map(|checkpoint| checkpoint.step).collect());
        let result = SupervisedTraining::new(run_dir, train, valid)
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

        if let Some(counts) = counts.map(|mixture| mixture.counts())
            && counts.samples > 0
        {
            (self.options.notice)(&told(stage, counts));
        }
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

    /// What a stage trains and is measured on, of the samples in memory.
    fn labelled(
        &self,
        stage: &StageConfig,
        target: Target,
    ) -> Result<(Batches, Batches), TrainError> {
        let policy = stage.attention;
        let samples = self.fitting(stage, target, true)?;
        let order = Some(Order::new(self.config.seed, samples.len()));
        let train = self.loader(stage, target, policy, samples, order, stage.batch);
        let samples = self.fitting(stage, target, false)?;
        let batch = self.config.evaluation.batch;
        let valid = self.loader(stage, target, policy, samples, None, batch);
        Ok((Arc::new(train), Arc::new(valid)))
    }

    /// What a stage trains and is measured on, of the sources.
    fn mixed(
        &self,
        stage: &StageConfig,
        checkpoint: Option<&Checkpoint>,
    ) -> Result<(MixedRows, Batches), TrainError> {
        let (config, notice) = (self.config, self.options.notice);
        let preparer = config.preparer(stage, self.tokenizer.clone());
        let learned = |source: &&Source| stage.learns(&source.config);
        let learned = self.sources.iter().filter(learned).cloned().collect();
        let train = config.mixture(stage, learned, preparer.clone(), notice);
        let mut train = train.logged(config.run_dir.join("skipped.jsonl"));
        if let Some(checkpoint) = checkpoint {
            let state = checkpoint.load_data_state()?;
            train = train.resumed(checkpoint.step * stage.batch, state);
        }
        let valid = self
            .sources
            .iter()
            .filter(|source| source.config.is_valid());
        let valid: Vec<Source> = valid.cloned().collect();
        let share = config.batching(stage).max_bad_share;
        if valid.is_empty() || config.data.valid_samples == 0 {
            notice(
                "nothing is measured on the way: no source is `valid`, or data.valid_samples is 0",
            );
        }
        let valid = ValidSamples::new(
            &valid,
            config.data.valid_samples,
            preparer,
            stage.attention,
            config.evaluation.batch,
            share,
            notice,
        )?;
        let count = valid.len();
        Ok((train, Arc::new(Loader::new(valid, count))))
    }
}

/// What came of a stage's samples, since it was begun or resumed.
fn told(stage: &StageConfig, counts: Counts) -> String {
    let Counts {
        samples,
        cut,
        skipped,
        tokens,
        places,
    } = counts;
    let padding = 100.0 * (1.0 - tokens as f64 / places.max(1) as f64);
    format!(
        "stage {}: {samples} samples, {cut} of them cut, {skipped} skipped; {padding:.1} % padding",
        stage.name
    )
}
