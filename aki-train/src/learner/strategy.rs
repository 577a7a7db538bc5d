//! Training by steps. Burn's own strategy checkpoints and stops between epochs only.

use std::path::{Path, PathBuf};

use aki_data::DataError;
use aki_data::mixture::BatchState;
use burn::data::dataloader::Progress;
use burn::data::dataset::DatasetError;
use burn::module::Module;
use burn::train::{
    EventProcessorTraining, InferenceStep, Interrupter, Learner, LearnerEvent,
    SupervisedLearningStrategy, SupervisedTrainingEventProcessor, TrainLoader, TrainingComponents,
    TrainingItem, ValidLoader,
};

use super::Trainee;
use crate::checkpoint::keep_data_state;
use crate::config::StageConfig;
use crate::log::{Record, Split};

/// A stage of `steps` optimizer steps. Burn's epochs are the spans between two evaluations.
pub(crate) struct StepStrategy {
    /// Steps already done, by the checkpoint that was resumed.
    start: usize,
    /// Whether the evaluation after those steps is still to be done.
    evaluate_first: bool,
    /// Steps in all.
    steps: usize,
    /// Items a step.
    batch: usize,
    /// What the items are.
    unit: &'static str,
    /// Steps between evaluations.
    evaluate_every: usize,
    /// Steps between checkpoints.
    checkpoint_every: usize,
    /// The run's folder and the stage's name, for the checkpoints.
    place: (PathBuf, String),
}

impl StepStrategy {
    /// The rest of a stage after `start` steps, of which `records` are the logs. A checkpoint is
    /// written before its step's evaluation, so a run may have been stopped between the two.
    /// `measured` says whether there is something to evaluate on.
    pub(crate) fn new(
        run_dir: &Path,
        stage: &StageConfig,
        start: usize,
        records: &[Record],
        measured: bool,
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
            batch,
            unit: stage.unit(),
            evaluate_every,
            checkpoint_every,
            place: (run_dir.to_owned(), stage.name.clone()),
        }
    }

    /// Writes where the data stand, before the checkpoint that they belong to.
    fn keep_data_state(&self, step: usize, behind: Option<&BatchState>, interrupter: &Interrupter) {
        if let Some(state) = behind {
            let (run_dir, stage) = &self.place;
            interrupter.fail_on_error(keep_data_state(run_dir, stage, step, state));
        }
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
        (end - (epoch - 1) * self.evaluate_every) * self.batch
    }
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
            ..
        } = components;
        let mut checkpointer = components.checkpointer;
        let rest = train.slice(self.start * self.batch, train.num_items());
        let mut batches = rest.iter();
        let mut step = self.start;
        let (mut behind, mut ended) = (None, false);
        if self.evaluate_first {
            let epoch = step.div_ceil(self.evaluate_every);
            let model = learner.model().valid();
            evaluate(&model, &valid, epoch, &mut event_processor, &interrupter);
        }

        while step < self.steps && !ended && !interrupter.should_stop() {
            let epoch = step / self.evaluate_every + 1;
            let total_items = self.epoch_items(epoch);
            interrupter.fail_on_error(event_processor.process_train(LearnerEvent::StartSplit {
                epoch_number: epoch,
                total_items,
            }));
            while step < self.steps && !interrupter.should_stop() {
                let mut batch = match batches.next() {
                    Some(Ok(batch)) => batch,
                    Some(Err(error)) => {
                        interrupter.fail(error);
                        break;
                    }
                    None => {
                        ended = true;
                        break;
                    }
                };
                behind = batch.behind.take();
                let output = learner.train_step(batch);
                learner.lr_step();
                learner.optimizer_step(output.grads);
                step += 1;

                let done = (step - (epoch - 1) * self.evaluate_every) * self.batch;
                let progress = Progress::new(done, total_items, Some(self.unit.to_owned()));
                let lr = Some(learner.lr_current());
                let item = TrainingItem::new(output.item, progress, Some(step), lr);
                interrupter.fail_on_error(
                    event_processor.process_train(LearnerEvent::ProcessedItem(item)),
                );
                if step.is_multiple_of(self.checkpoint_every)
                    && let Some(checkpointer) = &mut checkpointer
                {
                    self.keep_data_state(step, behind.as_ref(), &interrupter);
                    checkpointer.checkpoint(&learner, step, &event_store);
                }
                if step.is_multiple_of(self.evaluate_every) {
                    break;
                }
            }
            interrupter.fail_on_error(event_processor.process_train(LearnerEvent::EndSplit(epoch)));
            if !interrupter.should_stop() {
                evaluate(
                    &learner.model().valid(),
                    &valid,
                    epoch,
                    &mut event_processor,
                    &interrupter,
                );
                interrupter
                    .fail_on_error(event_processor.process_train(LearnerEvent::EndEpoch(epoch)));
            }
        }
        // After the last step, and wherever the user stopped; not after an error, and not where the
        // run began.
        if step > self.start
            && interrupter.error().is_none()
            && let Some(checkpointer) = &mut checkpointer
        {
            self.keep_data_state(step, behind.as_ref(), &interrupter);
            checkpointer.checkpoint(&learner, step, &event_store);
        }
        if ended {
            let reason = format!(
                "they ended after {step} of {} steps; standard input is read once, up \
                 to the end of its first archive; ask for fewer steps, or pipe one larger archive in",
                self.steps
            );
            interrupter.fail(DatasetError::new(DataError::Stream { reason }));
        }
        interrupter.fail_on_error(event_processor.flush());
        (learner.model(), event_processor)
    }
}

fn evaluate(
    model: &Trainee,
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
    let mut batches = valid.iter();
    let mut iteration = 0;
    while let Some(batch) = batches.next() {
        let batch = match batch {
            Ok(batch) => batch,
            Err(error) => return interrupter.fail(error),
        };
        iteration += 1;
        let output = InferenceStep::step(model, batch);
        let item = TrainingItem::new(output, batches.progress(), Some(iteration), None);
        interrupter.fail_on_error(processor.process_valid(LearnerEvent::ProcessedItem(item)));
    }
    interrupter.fail_on_error(processor.process_valid(LearnerEvent::EndSplit(epoch)));
}
