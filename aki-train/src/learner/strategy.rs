//! Training by steps. Burn's own strategy checkpoints and stops between epochs only.

use burn::data::dataloader::Progress;
use burn::module::Module;
use burn::train::{
    EventProcessorTraining, InferenceStep, Learner, LearnerEvent, SupervisedLearningStrategy,
    SupervisedTrainingEventProcessor, TrainLoader, TrainingComponents, TrainingItem, ValidLoader,
};

use super::Trainee;
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
    /// Items (pictures) a step.
    batch: usize,
    /// Steps between evaluations.
    evaluate_every: usize,
    /// Steps between checkpoints.
    checkpoint_every: usize,
}

impl StepStrategy {
    /// The rest of a stage after `start` steps, of which `records` are the logs. A checkpoint is
    /// written before its step's evaluation, so a run may have been stopped between the two.
    pub(crate) fn new(stage: &StageConfig, start: usize, records: &[Record]) -> Self {
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
        let evaluate_first = due && !evaluated;
        Self {
            start,
            evaluate_first,
            steps,
            batch,
            evaluate_every,
            checkpoint_every,
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
        if self.evaluate_first {
            let epoch = step.div_ceil(self.evaluate_every);
            let model = learner.model().valid();
            evaluate(&model, &valid, epoch, &mut event_processor, &interrupter);
        }

        while step < self.steps && !interrupter.should_stop() {
            let epoch = step / self.evaluate_every + 1;
            let total_items = self.epoch_items(epoch);
            interrupter.fail_on_error(event_processor.process_train(LearnerEvent::StartSplit {
                epoch_number: epoch,
                total_items,
            }));
            while step < self.steps && !interrupter.should_stop() {
                let batch = match batches.next() {
                    Some(Ok(batch)) => batch,
                    Some(Err(error)) => {
                        interrupter.fail(error);
                        break;
                    }
                    None => {
                        interrupter.stop(Some("the data ended before the stage"));
                        break;
                    }
                };
                let output = learner.train_step(batch);
                learner.lr_step();
                learner.optimizer_step(output.grads);
                step += 1;

                let done = (step - (epoch - 1) * self.evaluate_every) * self.batch;
                let progress = Progress::new(done, total_items, Some("pictures".to_owned()));
                let lr = Some(learner.lr_current());
                let item = TrainingItem::new(output.item, progress, Some(step), lr);
                interrupter.fail_on_error(
                    event_processor.process_train(LearnerEvent::ProcessedItem(item)),
                );
                if step.is_multiple_of(self.checkpoint_every)
                    && let Some(checkpointer) = &mut checkpointer
                {
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
        // After the last step, and wherever the user stopped; not after an error.
        if interrupter.error().is_none()
            && let Some(checkpointer) = &mut checkpointer
        {
            checkpointer.checkpoint(&learner, step, &event_store);
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
    interrupter: &burn::train::Interrupter,
) {
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
