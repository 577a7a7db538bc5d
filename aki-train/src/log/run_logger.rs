//! From Burn's metrics to `metrics.jsonl` and TensorBoard.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use burn::train::Interrupter;
use burn::train::logger::MetricLogger;
use burn::train::metric::store::{EpochSummary, MetricsUpdate, Split as BurnSplit};
use burn::train::metric::{MetricDefinition, MetricId, NumericEntry};

use super::{EventWriter, JsonlWriter, Record, Split, StepFacts, StepLog, read, write_csv};
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
    /// When the last training step was logged, for the next one's speed.
    last: Instant,
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
            last: Instant::now(),
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
        let elapsed = self.last.elapsed().as_secs_f64().max(1e-9);
        self.last = Instant::now();
        let record = Record {
            lr,
            samples_per_second: Some(self.batch as f64 / elapsed),
            ..Record::new(&self.stage, self.step, Split::Train, loss, self.seconds())
        };
        let Some(facts) = self.steps.take() else {
            return record;
        };
        let StepFacts {
            tokens,
            wait,
            norm,
            flops,
            memory,
        } = facts;
        let used = |tflops: f64| Some(flops? / elapsed / (tflops * 1e12));
        Record {
            tokens_per_second: Some(tokens as f64 / elapsed),
            mfu: self.tflops.and_then(used),
            data_wait: Some((wait.as_secs_f64() / elapsed).min(1.0)),
            grad_norm: norm,
            memory,
            ..record
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

    fn read_numeric(
        &mut self,
        _: &str,
        _: usize,
        _: &BurnSplit,
    ) -> Result<Vec<NumericEntry>, String> {
        Err("this logger only writes; read metrics.jsonl".to_owned())
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
        // The pause for the evaluation is no part of the next step's speed.
        self.last = Instant::now();
    }
}
