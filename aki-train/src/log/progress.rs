//! A progress bar for each stage: loss, accuracy, speed, what a step takes, time left.

use std::collections::HashMap;
use std::io::Write;

use burn::train::logger::{EvaluationProgressLogger, TrainingProgressLogger};
use burn::train::metric::{MetricDefinition, MetricId, NumericEntry};
use burn::train::renderer::{
    EvaluationName, MetricState, MetricsRenderer, MetricsRendererEvaluation,
    MetricsRendererTraining,
};
use indicatif::{ProgressBar, ProgressStyle};

use super::{Record, StepLog};
use crate::config::StageConfig;

/// Burn's renderer for a terminal that scrolls. Where there is no terminal, a line an evaluation.
pub(crate) struct ProgressRenderer {
    bar: ProgressBar,
    stage: String,
    names: HashMap<MetricId, String>,
    /// Of the last step; none where a resumed run begins with an evaluation.
    loss: Option<f64>,
    valid: HashMap<String, f64>,
    /// Items done in the epochs before this one. (Burn counts anew in each.)
    base: u64,
    /// What the items are.
    unit: &'static str,
    /// Whether there is something to measure on.
    measured: bool,
    training: bool,
    /// Where the last step's record is found.
    steps: StepLog,
}

impl ProgressRenderer {
    /// A bar over a stage of steps with `batch` items each, of which `start` were done before.
    pub(crate) fn new(
        stage: &StageConfig,
        batch: usize,
        start: usize,
        measured: bool,
        steps: StepLog,
    ) -> Self {
        let (items, done) = (stage.steps * batch, start * batch);
        let base = start / stage.evaluate_every * stage.evaluate_every * batch;
        let bar = ProgressBar::new(items as u64);
        let unit = stage.unit();
        let template = format!(
            "{{prefix:>10}} {{wide_bar:.cyan/dim}} {{pos}}/{{len}} {unit}  {{msg}}  {{per_sec:.dim}} {{eta:>4}} left"
        );
        let style = ProgressStyle::with_template(&template).expect("the template is well-formed");
        bar.set_style(style.with_key(
            "per_sec",
            |state: &indicatif::ProgressState, text: &mut dyn std::fmt::Write| {
                write!(text, "{:.0}/s", state.per_sec()).ok();
            },
        ));
        bar.set_prefix(stage.name.clone());
        bar.set_position(done as u64);
        bar.reset_eta();
        Self {
            bar,
            stage: stage.name.clone(),
            names: HashMap::new(),
            loss: None,
            valid: HashMap::new(),
            base: base as u64,
            unit,
            measured,
            training: true,
            steps,
        }
    }

    fn number(&self, state: MetricState) -> Option<(String, NumericEntry)> {
        match state {
            MetricState::Numeric(entry, Some(value)) => {
                Some((self.names.get(&entry.metric_id)?.clone(), value))
            }
            _ => None,
        }
    }

    fn message(&self) -> String {
        let loss = self.loss.map(|loss| format!("loss {loss:.3}"));
        let mut words = Vec::from_iter(loss);
        if let Some(accuracy) = self.valid.get("Accuracy") {
            words.push(format!("valid {accuracy:.1} %"));
        }
        if let Some(record) = self.steps.last() {
            words.extend(of_the_step(&record));
        }
        words.join("  ")
    }
}

/// What a step took, in words.
fn of_the_step(record: &Record) -> impl Iterator<Item = String> {
    let percent = |share: f64| format!("{:.0} %", 100.0 * share);
    let words = [
        record.grad_norm.map(|norm| format!("norm {norm:.2}")),
        record
            .tokens_per_second
            .map(|speed| format!("{speed:.0} tokens/s")),
        record.mfu.map(|mfu| format!("MFU {}", percent(mfu))),
        record
            .memory
            .map(|bytes| format!("{:.1} GB", bytes as f64 / 1e9)),
        record
            .data_wait
            .map(|share| format!("waits {}", percent(share))),
    ];
    words.into_iter().flatten()
}

impl MetricsRendererTraining for ProgressRenderer {
    fn update_train(&mut self, state: MetricState) {
        if let Some((
            name,
            NumericEntry::Value(value)
            | NumericEntry::Aggregated {
                aggregated_value: value,
                ..
            },
        )) = self.number(state)
            && name == "Loss"
        {
            self.loss = Some(value);
            self.bar.set_message(self.message());
        }
    }

    fn update_valid(&mut self, state: MetricState) {
        if let Some((name, NumericEntry::Final(value))) = self.number(state) {
            self.valid.insert(name, value);
        }
    }
}

impl TrainingProgressLogger for ProgressRenderer {
    fn start(&mut self, _: usize, _: usize, _: Option<usize>, _: Option<&str>) {
        self.bar.tick();
    }

    fn update_epoch(&mut self, _: usize) {}

    fn start_split(&mut self, split: &str, _: usize) {
        self.training = split == "train";
        if !self.training {
            self.valid.clear();
            self.bar.set_message("measuring");
        }
    }

    fn update_split(&mut self, items: usize) {
        if self.training {
            self.bar.set_position(self.base + items as u64);
        }
    }

    fn end_split(&mut self) {
        if self.training {
            self.base = self.bar.position();
        } else {
            self.bar.set_message(self.message());
        }
        // After the measurement, or where there is none after the training.
        if !self.bar.is_hidden() || self.training == self.measured {
            return;
        }
        let loss = self
            .loss
            .map_or_else(String::new, |loss| format!(", loss {loss:.3}"));
        let measured = match (self.valid.get("Loss"), self.valid.get("Accuracy")) {
            (Some(loss), Some(accuracy)) => {
                format!(", valid loss {loss:.3}, valid accuracy {accuracy:.1} %")
            }
            _ => String::new(),
        };
        let (done, all) = (self.bar.position(), self.bar.length().unwrap_or(0));
        let (stage, unit) = (&self.stage, self.unit);
        // A terminal that has gone ends no run.
        let line = format_args!("{stage}: {done} of {all} {unit}{loss}{measured}");
        let _ = writeln!(std::io::stderr(), "{line}");
    }

    fn end(&mut self) {
        self.bar.abandon();
    }

    fn log_event_training(&mut self, _: String) {}
}

impl MetricsRendererEvaluation for ProgressRenderer {
    fn update_test(&mut self, _: EvaluationName, _: MetricState) {}
}

impl EvaluationProgressLogger for ProgressRenderer {
    fn start_global_progress(&mut self, _: usize) {}
    fn start_test(&mut self, _: &str, _: usize) {}
    fn update_test_progress(&mut self, _: usize) {}
    fn end_test(&mut self) {}
    fn end_global_progress(&mut self) {}
    fn log_event_evaluation(&mut self, _: String) {}
}

impl MetricsRenderer for ProgressRenderer {
    fn manual_close(&mut self) {}

    fn register_metric(&mut self, definition: MetricDefinition) {
        self.names
            .insert(definition.metric_id, definition.name.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Split;

    #[test]
    fn a_step_is_told_in_a_few_words() {
        let record = Record {
            grad_norm: Some(0.814),
            tokens_per_second: Some(1234.5),
            mfu: Some(0.41),
            memory: Some(1_300_000_000),
            data_wait: Some(0.014),
            ..Record::new("a", 1, Split::Train, 1.0, 0.0)
        };
        let words: Vec<String> = of_the_step(&record).collect();
        assert_eq!(
            words,
            [
                "norm 0.81",
                "1234 tokens/s",
                "MFU 41 %",
                "1.3 GB",
                "waits 1 %"
            ]
        );
        let nothing = Record::new("a", 1, Split::Train, 1.0, 0.0);
        assert_eq!(of_the_step(&nothing).count(), 0);
    }
}
