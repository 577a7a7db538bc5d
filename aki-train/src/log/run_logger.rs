//! From Burn's metrics to `metrics.jsonl` and TensorBoard.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use burn::train::Interrupter;
use burn::train::logger::MetricLogger;
use burn::train::metric::store::{EpochSummary, MetricsUpdate, Split as BurnSplit};
use burn::train::metric::{MetricDefinition, MetricId, NumericEntry};

use super::{EventWriter, JsonlWriter, Record, Split, StepLog, read, write_csv};
use crate::TrainError;
use crate::checkpoint::Checkpoints;
use crate::learner::ExactMatch;

/// Why logging stopped, if it did. Burn's loggers cannot fail, so it is left here and the run is
/// asked to stop.
pub(crate) type LogFault = Arc<Mutex<Option<TrainError>>>;

/// Writes a record for each training step and for each evaluation.
pub(crate) struct RunLogger {
    run_dir: PathBuf,
    stage: String,
    /// Samples trained on in a step.
    batch: usize,
    step: usize,
    steps: StepLog,
    /// What the device computes at best, in 10^12 floating-point operations a second, if it is known.
    tflops: Option<f64>,
    names: HashMap<MetricId, String>,
    /// Training seconds of the run before this logger.
    before: f64,
    begun: Instant,
    /// The evaluation's final values, until its end is announced.
    valid: HashMap<String, f64>,
    jsonl: JsonlWriter,
    events: EventWriter,
    interrupter: Interrupter,
    fault: LogFault,
    /// Told of validation losses, by which the best are kept.
    checkpoints: Checkpoints,
}

impl RunLogger {
    /// A logger for a stage of samples by `batch` that goes on after `step` steps. `steps` is what those
    /// tell beside Burn's metrics.
    pub(crate) fn new(
        run_dir: &Path,
        stage: &str,
        (step, batch): (usize, usize),
        (steps, tflops): (StepLog, Option<f64>),
        interrupter: Interrupter,
        fault: LogFault,
        checkpoints: Checkpoints,
    ) -> Result<Self, TrainError> {
        let path = run_dir.join("metrics.jsonl");
        let jsonl = JsonlWriter::append(&path)?;
        let (records, _) = read(&path)?;
        let events =
            EventWriter::create(run_dir).map_err(TrainError::io("create events in", run_dir))?;
        Ok(Self {
            run_dir: run_dir.to_owned(),
            stage: stage.to_owned(),
            batch,
            step,
            steps,
            tflops,
            names: HashMap::new(),
            before: records.last().map_or(0.0, |record| record.seconds),
            begun: Instant::now(),
            valid: HashMap::new(),
            jsonl,
            events,
            interrupter,
            fault,
            checkpoints,
        })
    }

    fn write(&mut self, record: &Record) -> Result<(), TrainError> {
        self.jsonl.write(record)?;
        let split = record.split.name();
        for (name, value) in record.numbers() {
            let Some(value) = value else { continue };
            let tag = format!("{}/{split}/{name}", record.stage);
            self.events
                .scalar(&tag, record.step as i64, value as f32)
                .map_err(self.failed())?;
        }
        // At once, so that a run that is killed has its events too.
        self.events.flush().map_err(self.failed())
    }

    /// The record of a training step that has just ended.
    fn trained(&mut self, loss: f64, lr: Option<f64>) -> Record {
        let record = Record {
            lr,
            ..Record::new(&self.stage, self.step, Split::Train, loss, self.seconds())
        };
        match self.steps.take() {
            Some(facts) => facts.added_to(record, self.batch, self.tflops),
            None => record,
        }
    }

    /// Writes the table anew, or stops the run.
    fn put_table(&mut self) {
        let records = read(&self.run_dir.join("metrics.jsonl")).map_err(TrainError::from);
        let written = records.and_then(|(records, _)| write_csv(&self.run_dir, &records));
        if let Err(error) = written {
            self.fail(error);
        }
    }

    /// Writes a record, or stops the run.
    fn put(&mut self, record: &Record) {
        if let Err(error) = self.write(record) {
            self.fail(error);
        }
    }

    fn fail(&self, error: TrainError) {
        let mut fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        fault.get_or_insert(error);
        self.interrupter.stop(Some("the logs cannot be written"));
    }

    fn failed(&self) -> impl FnOnce(std::io::Error) -> TrainError + use<> {
        TrainError::io("write events in", &self.run_dir)
    }

    fn seconds(&self) -> f64 {
        self.before + self.begun.elapsed().as_secs_f64()
    }
}

impl MetricLogger for RunLogger {
    fn log(&mut self, update: MetricsUpdate, _: usize, split: &BurnSplit) {
        let (mut now, mut last) = (HashMap::new(), HashMap::new());
        for metric in update.entries_numeric {
            let Some(name) = self.names.get(&metric.entry.metric_id).cloned() else {
                continue;
            };
            match metric.numeric_entry {
                Some(NumericEntry::Final(value)) => last.insert(name, value),
                Some(entry) => now.insert(name, entry.current()),
                None => None,
            };
        }
        match split {
            BurnSplit::Train => {
                // The update at an epoch's end has final values only and is no step.
                let Some(&loss) = now.get("Loss") else { return };
                self.step += 1;
                let record = self.trained(loss, now.get("Learning Rate").copied());
                self.steps.set_last(&record);
                self.put(&record);
            }
            BurnSplit::Valid => self.valid.extend(last),
            BurnSplit::Test(_) => {}
        }
    }

    /// Nothing: who asks is told by the answer that all that came before is written.
    fn read_numeric(
        &mut self,
        _: &str,
        _: usize,
        _: &BurnSplit,
    ) -> Result<Vec<NumericEntry>, String> {
        Ok(Vec::new())
    }

    fn log_metric_definition(&mut self, definition: MetricDefinition) {
        self.names
            .insert(definition.metric_id, definition.name.to_string());
    }

    fn log_epoch_summary(&mut self, summary: EpochSummary) {
        if summary.split != BurnSplit::Valid {
            return;
        }
        let Some(loss) = self.valid.remove("Loss") else {
            return;
        };
        let accuracy = self
            .valid
            .remove(ExactMatch::NAME)
            .map(|percent| percent / 100.0);
        self.put(&Record {
            accuracy,
            ..Record::new(&self.stage, self.step, Split::Valid, loss, self.seconds())
        });
        self.checkpoints.measured(self.step, loss);
        self.put_table();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use burn::train::metric::store::NumericMetricUpdate;
    use burn::train::metric::{MetricAttributes, MetricEntry, SerializedEntry};

    use super::*;
    use crate::checkpoint::Rank;
    use crate::config::RunConfig;
    use crate::log::StepFacts;

    /// Burn's word of a loss.
    fn loss(entry: NumericEntry) -> MetricsUpdate {
        let text = SerializedEntry::new(String::new(), String::new());
        let id = MetricId::new(Arc::new("loss".to_owned()));
        let update = NumericMetricUpdate::new(MetricEntry::new(id, text), Some(entry), None);
        MetricsUpdate::new(Vec::new(), vec![update])
    }

    /// The logs may be written long after a step, or soon after a measurement.
    #[test]
    fn speeds_do_not_depend_on_when_a_step_is_logged() {
        let folder = tempfile::tempdir().unwrap();
        let set = [format!("run_dir={:?}", folder.path())];
        let path = Path::new("../assets/configs/easy-vqa.toml");
        let config = RunConfig::load(path, &set).unwrap();
        let stage = &config.stage[0];
        let steps = StepLog::default();
        let mut logger = RunLogger::new(
            folder.path(),
            &stage.name,
            (0, 4),
            (steps.clone(), None),
            Interrupter::new(),
            LogFault::default(),
            Checkpoints::new(&config, stage, 0, &[], true, Rank::ALONE).unwrap(),
        )
        .unwrap();
        logger.log_metric_definition(MetricDefinition {
            metric_id: MetricId::new(Arc::new("loss".to_owned())),
            name: Arc::new("Loss".to_owned()),
            description: None,
            attributes: MetricAttributes::None,
        });
        for _ in 0..3 {
            steps.push(StepFacts {
                tokens: 100,
                time: Duration::from_millis(500),
                ..StepFacts::default()
            });
        }
        logger.log(loss(NumericEntry::Value(1.0)), 1, &BurnSplit::Train);
        logger.log(loss(NumericEntry::Value(1.0)), 1, &BurnSplit::Train);
        logger.log(loss(NumericEntry::Final(1.0)), 1, &BurnSplit::Valid);
        logger.log_epoch_summary(EpochSummary::new(1, BurnSplit::Valid));
        logger.log(loss(NumericEntry::Value(1.0)), 2, &BurnSplit::Train);

        let (records, _) = read(&folder.path().join("metrics.jsonl")).unwrap();
        let speeds: Vec<_> = records
            .iter()
            .map(|record| (record.samples_per_second, record.tokens_per_second))
            .collect();
        let (step, none) = ((Some(8.0), Some(200.0)), (None, None));
        assert_eq!(speeds, [step, step, none, step]);
    }
}
