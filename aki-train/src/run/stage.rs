//! One stage of a run, through Burn's learner.

use std::sync::{Arc, PoisonError};

use aki_data::mixture::Counts;
use aki_data::sources::Source;
use aki_data::{Order, Sample, Target};
use aki_model::Aki;
use burn::data::dataloader::DataLoader;
use burn::module::Module;
use burn::train::metric::{LearningRateMetric, LossMetric};
use burn::train::{Learner, SupervisedTraining, TrainingStrategy};

use super::{Run, RunOptions};
use crate::TrainError;
use crate::checkpoint::{self, Always, Checkpoint, Checkpoints, Rank};
use crate::config::{RunConfig, StageConfig};
use crate::data::{Loader, MixedRows, PolicyBatch, ValidSamples};
use crate::distributed::{Ranks, begin_alike};
use crate::learner::{
    ExactMatch, GradientNorm, Meter, Past, StepConfig, StepStrategy, Trainee, Watch,
};
use crate::log::{
    LogFault, ProgressRenderer, RunLogger, Silent, StepLog, read, truncate_after, write_csv,
};
use crate::optimizer::Groups;
use crate::plan::StepFlops;

/// Batches to train or to measure on.
type Batches = Arc<dyn DataLoader<PolicyBatch>>;

/// What a stage's logs begin with.
struct Journal {
    start: usize,
    /// Whether there is something to measure on.
    measured: bool,
    steps: StepLog,
    fault: LogFault,
    checkpoints: Checkpoints,
}

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
            interrupter, ranks, ..
        } = self.options;
        let learner = self.learner(stage, aki, checkpoint)?;
        let start = checkpoint.map_or(0, |checkpoint| checkpoint.step);
        let names: Vec<String> = stages.iter().map(|stage| stage.name.clone()).collect();
        let records = ranks.first(|| {
            let metrics = run_dir.join("metrics.jsonl");
            truncate_after(&metrics, &names, &stage.name, start)?;
            checkpoint::remove_partial(run_dir, &stage.name)?;
            Ok(read(&metrics)?.0)
        })?;
        let measured = self.config.data.valid_samples > 0
            && (stage.data_target().is_some()
                || self.sources.iter().any(|source| source.config.is_valid()));
        let steps = StepLog::default();
        let fault = LogFault::default();
        let watch = Watch {
            max_bad_steps: self.config.training.max_bad_steps,
            notice: self.options.notice,
            fault: fault.clone(),
            meter: self.meter(stage, steps.clone()),
        };
        let checkpoints =
            Checkpoints::new(self.config, stage, start, &records, measured, self.rank())?;
        let past = checkpoint.map(Checkpoint::load_state).transpose()?;
        let none = || Past::none(self.config.training.precision);
        let past = past.unwrap_or_else(none);
        let kept = checkpoints.clone();
        let strategy = StepStrategy::new(stage, start, &records, measured, watch, past, kept);
        let strategy = strategy.shared_by(*ranks);
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
        let measured = valid.num_items() > 0;
        let [model, optimizer, schedule] = checkpoints.writers();
        let training = SupervisedTraining::new(run_dir, train, valid)
            .num_epochs(strategy.epochs())
            .with_training_strategy(TrainingStrategy::Custom(Arc::new(strategy)))
            .with_application_logger(None)
            .with_custom_checkpointers(model, optimizer, schedule)
            .with_checkpointing_strategy(Always)
            .with_interrupter(interrupter.clone())
            .label(&stage.name);
        let training = match ranks.is_first() {
            true => {
                let journal = Journal {
                    start,
                    measured,
                    steps,
                    fault: fault.clone(),
                    checkpoints: checkpoints.clone(),
                };
                self.watched(training, stage, journal)?
            }
            false => training
                .with_metric_logger(Silent)
                .renderer(Box::new(Silent)),
        };
        let result = training.launch(learner);

        if ranks.is_first() {
            let (records, _) = read(&run_dir.join("metrics.jsonl"))?;
            write_csv(run_dir, &records)?;
        }
        let fault = fault.lock().unwrap_or_else(PoisonError::into_inner).take();
        let data = || Some(TrainError::Data(counts.as_ref()?.fault()?));
        let learners = || Some(TrainError::Learner(result.error.as_ref()?.to_string()));
        let fault = fault
            .or_else(|| checkpoints.fault())
            .or_else(data)
            .or_else(learners);
        if let Some(counts) = counts.map(|mixture| mixture.counts()) {
            // Where this rank failed, the others do not get here.
            let counts = match fault {
                Some(_) => counts,
                None => of_all(*ranks, counts),
            };
            if counts.samples > 0 {
                (self.options.notice)(&told(stage, counts));
            }
        }
        if let Some(fault) = fault {
            return Err(fault);
        }
        let interrupted = ranks.any(result.interrupted.is_some());
        Ok((!interrupted).then(|| result.model.into_aki()))
    }

    /// Training that is written down and shown.
    fn watched(
        &self,
        training: SupervisedTraining<Trainee>,
        stage: &StageConfig,
        journal: Journal,
    ) -> Result<SupervisedTraining<Trainee>, TrainError> {
        let Journal {
            start,
            measured,
            steps,
            fault,
            checkpoints,
        } = journal;
        let RunOptions {
            interrupter,
            renderer,
            ranks,
            ..
        } = self.options;
        let batch = stage.batch * ranks.world_size();
        let logger = RunLogger::new(
            &self.config.run_dir,
            &stage.name,
            (start, batch),
            (steps.clone(), self.options.tflops),
            interrupter.clone(),
            fault,
            checkpoints,
        )?;
        let renderer = match renderer {
            Some(make) => make(interrupter.clone()),
            None => Box::new(ProgressRenderer::new(stage, batch, start, measured, steps)),
        };
        Ok(training
            .with_metric_logger(logger)
            .renderer(renderer)
            .metric_train_numeric(LossMetric::new())
            .metric_valid_numeric(LossMetric::new())
            .metric_train_numeric(LearningRateMetric::new())
            .metric_train_numeric(GradientNorm::new())
            .metric_valid_numeric(ExactMatch::new()))
    }

    /// Which of a checkpoint's files this process writes.
    fn rank(&self) -> Rank {
        let ranks = self.options.ranks;
        Rank {
            rank: ranks.rank(),
            world: ranks.world_size(),
            sharded: self.shares(),
        }
    }

    /// Whether each rank keeps a share of the optimizer's state.
    fn shares(&self) -> bool {
        self.options.ranks.are_several() && self.config.training.shard_optimizer
    }

    /// A stage's network, optimizer and schedule, as it begins or as they stood.
    fn learner(
        &self,
        stage: &StageConfig,
        aki: Aki,
        checkpoint: Option<&Checkpoint>,
    ) -> Result<Learner<Trainee>, TrainError> {
        let aki = match checkpoint {
            // It has what all of them go on with.
            Some(_) => aki,
            None => begin_alike(self.options.ranks, aki)?,
        };
        let groups = Groups::new(stage, &aki)?;
        let step = StepConfig {
            ranks: self.options.ranks,
            shares: self.shares(),
            ..self.config.step(stage)
        };
        let aki = groups.freeze(aki);
        let trainee = match checkpoint {
            Some(checkpoint) => checkpoint.load_trainee(aki, step)?,
            None => Trainee::new(aki, step),
        };
        let optimizer = groups.optimizer(self.config.training.moments);
        let mut learner = Learner::new(trainee.train(), optimizer, groups.schedule());
        if let Some(checkpoint) = checkpoint {
            checkpoint.load_learner(&mut learner, self.rank())?;
        }
        Ok(learner)
    }

    /// The way of what a stage's steps tell, from its strategy to its logs.
    fn meter(&self, stage: &StageConfig, steps: StepLog) -> Meter {
        let RunOptions { device, tflops, .. } = self.options;
        let flops = tflops.map(|_| StepFlops::new(self.config, stage));
        Meter::new(steps, device.clone(), flops)
    }

    /// What a stage trains and is measured on, of the samples in memory.
    fn labelled(
        &self,
        stage: &StageConfig,
        target: Target,
    ) -> Result<(Batches, Batches), TrainError> {
        let samples = self.fitting(stage, target, true)?;
        let order = Some(Order::new(self.config.seed, samples.len()));
        let train = self.loader(stage, target, samples, order, stage.batch);
        let samples = self.fitting(stage, target, false)?;
        let batch = self.config.evaluation.batch;
        let valid = self.loader(stage, target, samples, None, batch);
        Ok((Arc::new(train), Arc::new(valid)))
    }

    /// What a stage trains and is measured on, of the sources.
    fn mixed(
        &self,
        stage: &StageConfig,
        checkpoint: Option<&Checkpoint>,
    ) -> Result<(MixedRows, Batches), TrainError> {
        let (config, notice) = (self.config, self.options.notice);
        let preparer = config.preparer(stage, self.tokenizer.clone(), self.norm);
        let learned = |source: &&Source| stage.learns(&source.config);
        let learned = self.sources.iter().filter(learned).cloned().collect();
        let train = config.mixture(stage, learned, preparer.clone(), notice);
        let ranks = self.options.ranks;
        let log = config.run_dir.join(ranks.file("skipped", "jsonl"));
        let mut train = train.shared_out(ranks).logged(log);
        if let Some(checkpoint) = checkpoint {
            let state = checkpoint.load_data_state(self.rank())?;
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
            match ranks.is_first() {
                true => config.data.valid_samples,
                // Rank 0 measures.
                false => 0,
            },
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

/// What came of the samples of all ranks.
fn of_all(ranks: Ranks, counts: Counts) -> Counts {
    let Counts {
        samples,
        cut,
        skipped,
        tokens,
        places,
    } = counts;
    let mut sums = [samples, cut, skipped, tokens, places].map(|count| count as f64);
    ranks.sum_f64(&mut sums);
    let [samples, cut, skipped, tokens, places] = sums.map(|sum| sum as u64);
    Counts {
        samples,
        cut,
        skipped,
        tokens,
        places,
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
