//! Training by steps. Burn's own strategy checkpoints and stops between epochs only.

use std::sync::PoisonError;
use std::time::Instant;

use aki_data::DataError;
use burn::data::dataloader::Progress;
use burn::data::dataset::DatasetError;
use burn::module::Module;
use burn::train::metric::store::{Aggregate, EventStoreClient, Split as BurnSplit};
use burn::train::{
    EventProcessorTraining, InferenceStep, Interrupter, Learner, LearnerEvent,
    SupervisedLearningStrategy, SupervisedTrainingEventProcessor, TrainLoader, TrainingComponents,
    TrainingItem, ValidLoader,
};
use serde::{Deserialize, Serialize};

use super::{Meter, StepOutput, Trainee};
use crate::TrainError;
use crate::checkpoint::Checkpoints;
use crate::config::{Precision, StageConfig};
use crate::data::PolicyBatch;
use crate::distributed::Ranks;
use crate::log::{LogFault, Record, Split};
use crate::optimizer::LossScale;

/// A stage of `steps` optimizer steps. Burn's epochs are the spans between two evaluations.
pub(crate) struct StepStrategy {
    /// Steps already done, by the checkpoint that was resumed.
    start: usize,
    /// Whether the evaluation after those steps is still to be done.
    evaluate_first: bool,
    /// Steps in all.
    steps: usize,
    /// Those who take the steps together.
    ranks: Ranks,
    /// Items a step, of this rank.
    batch: usize,
    /// What the items are.
    unit: &'static str,
    /// Steps between evaluations.
    evaluate_every: usize,
    /// Steps between checkpoints.
    checkpoint_every: usize,
    /// The stage's checkpoints.
    checkpoints: Checkpoints,
    /// The stage's name.
    stage: String,
    watch: Watch,
    past: Past,
}

/// What is told of steps, and done about those without a finite gradient: weights stay as they are.
pub(crate) struct Watch {
    /// How many in a row stop the run.
    pub(crate) max_bad_steps: usize,
    /// Is told of each.
    pub(crate) notice: fn(&str),
    /// Why it was stopped.
    pub(crate) fault: LogFault,
    /// What the logs are told of each step.
    pub(crate) meter: Meter,
}

/// What the strategy has to know of the steps before, beside their number.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Past {
    /// Steps in a row, the last included, that had no finite gradient.
    bad: usize,
    /// In f16 only.
    loss_scale: Option<LossScale>,
}

impl Past {
    /// That of a stage that begins.
    pub(crate) fn none(precision: Precision) -> Self {
        let scaled = precision == Precision::F16;
        Self {
            bad: 0,
            loss_scale: scaled.then(LossScale::default),
        }
    }

    /// What the next step's loss is multiplied with.
    fn scale(&self) -> f64 {
        self.loss_scale.map_or(1.0, |it| it.scale())
    }

    /// Takes note of a step. Returns whether it went wrong: in f16, gradients that are too large are
    /// no fault as long as a smaller scale can help.
    fn note(&mut self, output: &StepOutput) -> bool {
        let finite = output.norm.is_finite();
        let helped = self.scale() > 1.0 && output.faulty.is_empty();
        if let Some(scale) = &mut self.loss_scale {
            scale.update(finite);
        }
        let wrong = !finite && !helped;
        self.bad = if wrong { self.bad + 1 } else { 0 };
        wrong
    }
}

impl StepStrategy {
    /// The rest of a stage after `start` steps, of which `records` are the logs. A checkpoint is
    /// written before its step's evaluation, so a run may have been stopped between the two.
    /// `measured` says whether there is something to evaluate on.
    pub(crate) fn new(
        stage: &StageConfig,
        start: usize,
        records: &[Record],
        measured: bool,
        watch: Watch,
        past: Past,
        checkpoints: Checkpoints,
    ) -> Self {
        let StageConfig {
            steps,
            batch,
            evaluate_every,
            checkpoint_every,
            ..
        } = *stage;
        let due = start > 0 && (start == steps || start.is_multiple_of(evaluate_every));
        let evaluated = records.iter().any(|record| {
            record.split == Split::Valid && record.stage == stage.name && record.step == start
        });
        let evaluate_first = measured && due && !evaluated;
        Self {
            start,
            evaluate_first,
            steps,
            ranks: Ranks::ALONE,
            batch,
            unit: stage.unit(),
            evaluate_every,
            checkpoint_every,
            stage: stage.name.clone(),
            checkpoints,
            watch,
            past,
        }
    }

    /// The same, of several ranks.
    #[must_use]
    pub(crate) fn shared_by(mut self, ranks: Ranks) -> Self {
        self.ranks = ranks;
        self
    }

    /// Tells that a step changed nothing, the `bad`th in a row; stops the run if there were too many.
    fn tell_bad(&self, step: usize, bad: usize, keys: &[String], interrupter: &Interrupter) {
        let fault = match keys {
            [] => "its gradient is not finite".to_owned(),
            _ => format!("the loss of {} is not finite", keys.join(", ")),
        };
        let stage = &self.stage;
        (self.watch.notice)(&format!(
            "step {step} of stage {stage} is passed over: {fault}"
        ));
        if bad >= self.watch.max_bad_steps {
            let (stage, steps) = (stage.clone(), bad);
            let error = TrainError::Diverged { stage, step, steps };
            // An error of the learner's too, so that it writes no checkpoint.
            interrupter.fail(DatasetError::new(std::io::Error::other(error.to_string())));
            let mut fault = self
                .watch
                .fault
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            fault.get_or_insert(error);
        }
    }

    /// What all ranks know before a step, for which this one has `batch`. Whoever has none or is asked
    /// to stop has all of them stop there.
    fn agree(&self, batch: Option<&PolicyBatch>, interrupter: &Interrupter) -> Agreed {
        let labels = batch.map_or(0, PolicyBatch::labels);
        let flag = |set: bool| f64::from(u8::from(set));
        let mut sums = [
            labels as f64,
            flag(batch.is_none()),
            flag(interrupter.should_stop()),
            batch.map_or(0, |it| it.batch.tokens()) as f64,
        ];
        self.ranks.sum_f64(&mut sums);
        let [labels, ended, stop, tokens] = sums;
        Agreed {
            labels: labels as usize,
            tokens: tokens as usize,
            ended: ended > 0.0,
            stop: stop > 0.0,
        }
    }

    /// What is said if the data end after `step` steps.
    fn ended_too_soon(&self, step: usize) -> DatasetError {
        let reason = format!(
            "they ended after {step} of {} steps; standard input is read once, up \
             to the end of its first archive; ask for fewer steps, or pipe one larger archive in",
            self.steps
        );
        DatasetError::new(DataError::Stream { reason })
    }

    /// Whether nothing is left to do.
    pub(crate) fn is_done(&self) -> bool {
        self.start >= self.steps && !self.evaluate_first
    }

    /// Evaluations of the stage, the one after its last step included.
    pub(crate) fn epochs(&self) -> usize {
        self.steps.div_ceil(self.evaluate_every)
    }

    /// Items trained on in an epoch.
    fn epoch_items(&self, epoch: usize) -> usize {
        let end = (epoch * self.evaluate_every).min(self.steps);
        (end - (epoch - 1) * self.evaluate_every) * self.step_items()
    }

    /// Items of all ranks in a step.
    fn step_items(&self) -> usize {
        self.batch * self.ranks.world_size()
    }
}

/// Burn's way from a step to its metrics.
type Events = SupervisedTrainingEventProcessor<Trainee>;

/// What all ranks know before a step.
struct Agreed {
    /// Labels of all.
    labels: usize,
    /// Tokens of all.
    tokens: usize,
    /// Whether one has no batch.
    ended: bool,
    /// Whether one was asked to stop.
    stop: bool,
}

impl SupervisedLearningStrategy<Trainee> for StepStrategy {
    fn fit(
        &self,
        components: TrainingComponents<Trainee>,
        mut learner: Learner<Trainee>,
        train: TrainLoader<Trainee>,
        valid: ValidLoader<Trainee>,
        _: usize,
    ) -> (Trainee, SupervisedTrainingEventProcessor<Trainee>) {
        let TrainingComponents {
            interrupter,
            mut event_processor,
            event_store,
            mut checkpointer,
            ..
        } = components;
        let (ranks, mut step) = (self.ranks, self.start);
        let mut keep = |learner: &_, step, behind: &Option<_>, past: &_, events: &mut Events| {
            log_all(events, &event_store, &interrupter);
            if self.checkpoints.begin(step, behind.as_ref(), Some(past))
                && let Some(checkpointer) = &mut checkpointer
            {
                checkpointer.checkpoint(learner, step, &event_store);
            }
            if self.checkpoints.failed() {
                interrupter.fail(unwritten());
            }
        };
        let measure = |learner: &_, epoch, events: &mut Events| {
            ranks.while_first(|| evaluate(learner, &valid, epoch, events, &interrupter));
        };
        let rest = train.slice(self.start * self.batch, train.num_items());
        let mut batches = rest.iter();
        let (mut behind, mut ended, mut stopped, mut past) = (None, false, false, self.past);
        if self.evaluate_first {
            let epoch = step.div_ceil(self.evaluate_every);
            measure(&learner, epoch, &mut event_processor);
        }

        // Whoever fails alone goes on without asking the others, and ends them.
        let failed = || interrupter.error().is_some();
        while step < self.steps && !ended && !stopped && !failed() {
            let epoch = step / self.evaluate_every + 1;
            let total_items = self.epoch_items(epoch);
            interrupter.fail_on_error(event_processor.process_train(LearnerEvent::StartSplit {
                epoch_number: epoch,
                total_items,
            }));
            while step < self.steps && !failed() {
                let asked = Instant::now();
                let batch = match batches.next().transpose() {
                    Ok(batch) => batch,
                    Err(error) => {
                        interrupter.fail(error);
                        break;
                    }
                };
                let waited = asked.elapsed();
                let agreed = self.agree(batch.as_ref(), &interrupter);
                (ended, stopped) = (agreed.ended, agreed.stop);
                let Some(mut batch) = batch.filter(|_| !ended && !stopped) else {
                    break;
                };
                batch.labels_of_all = Some(agreed.labels);
                batch.loss_scale = past.scale();
                behind = batch.behind.take();
                step += 1;
                let facts = self.watch.meter.facts(&batch, agreed.tokens, waited);
                let output = carry_out(&mut learner, batch);
                if past.note(&output) {
                    self.tell_bad(step, past.bad, &output.faulty, &interrupter);
                }
                self.watch.meter.tell(facts, asked.elapsed(), output.norm);

                let done = (step - (epoch - 1) * self.evaluate_every) * self.step_items();
                let progress = Progress::new(done, total_items, Some(self.unit.to_owned()));
                let lr = Some(learner.lr_current());
                let item = TrainingItem::new(output, progress, Some(step), lr);
                interrupter.fail_on_error(
                    event_processor.process_train(LearnerEvent::ProcessedItem(item)),
                );
                if step.is_multiple_of(self.checkpoint_every) && !failed() {
                    keep(&learner, step, &behind, &past, &mut event_processor);
                }
                if step.is_multiple_of(self.evaluate_every) {
                    break;
                }
            }
            interrupter.fail_on_error(event_processor.process_train(LearnerEvent::EndSplit(epoch)));
            if failed() {
                break;
            }
            stopped = stopped || ranks.any(interrupter.should_stop());
            if !stopped {
                measure(&learner, epoch, &mut event_processor);
                // One that is asked to stop meanwhile leaves it; it is made up for by whoever resumes.
                stopped = ranks.any(interrupter.should_stop());
            }
            if !stopped {
                interrupter
                    .fail_on_error(event_processor.process_train(LearnerEvent::EndEpoch(epoch)));
            }
        }
        // After the last step, and wherever the user stopped; not after an error, and not where the
        // run began.
        if step > self.start && !failed() {
            keep(&learner, step, &behind, &past, &mut event_processor);
        }
        if ended {
            interrupter.fail(self.ended_too_soon(step));
        }
        stop_as_others(stopped, &interrupter);
        interrupter.fail_on_error(event_processor.flush());
        (learner.model(), event_processor)
    }
}

/// Waits until the logs have all that was told so far: a checkpoint says that these steps were done.
fn log_all(events: &mut Events, store: &EventStoreClient, interrupter: &Interrupter) {
    interrupter.fail_on_error(events.flush());
    // The loggers are on a thread of their own, which answers in its turn.
    let _none = store.find_metric("", 0, Aggregate::Mean, &BurnSplit::Train);
}

/// What ends a run, and with it the other ranks, whose checkpoint cannot be written; why is told by others.
fn unwritten() -> DatasetError {
    DatasetError::new(std::io::Error::other("a checkpoint cannot be written"))
}

/// A step, which changes the weights if its gradient is finite, and the learning rate in any case.
fn carry_out(learner: &mut Learner<Trainee>, batch: PolicyBatch) -> StepOutput {
    let output = learner.train_step(batch);
    learner.lr_step();
    if output.item.norm.is_finite() {
        learner.optimizer_step(output.grads);
    }
    output.item
}

/// Has this rank's run end as interrupted, if only another was asked to stop.
fn stop_as_others(stopped: bool, interrupter: &Interrupter) {
    if stopped && !interrupter.should_stop() {
        interrupter.stop(Some("another rank was asked to stop"));
    }
}

fn evaluate(
    learner: &Learner<Trainee>,
    valid: &ValidLoader<Trainee>,
    epoch: usize,
    processor: &mut SupervisedTrainingEventProcessor<Trainee>,
    interrupter: &Interrupter,
) {
    if valid.num_items() == 0 {
        return;
    }
    interrupter.fail_on_error(processor.process_valid(LearnerEvent::StartSplit {
        epoch_number: epoch,
        total_items: valid.num_items(),
    }));
    let model = learner.model().valid().measured();
    let mut batches = valid.iter();
    let mut iteration = 0;
    while let Some(batch) = batches.next() {
        let batch = match batch {
            Ok(batch) => batch,
            Err(error) => return interrupter.fail(error),
        };
        if interrupter.should_stop() {
            return;
        }
        iteration += 1;
        let output = InferenceStep::step(&model, batch);
        let item = TrainingItem::new(output, batches.progress(), Some(iteration), None);
        interrupter.fail_on_error(processor.process_valid(LearnerEvent::ProcessedItem(item)));
    }
    interrupter.fail_on_error(processor.process_valid(LearnerEvent::EndSplit(epoch)));
}
