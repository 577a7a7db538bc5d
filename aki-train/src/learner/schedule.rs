//! The learning rate at each step.

use std::f64::consts::PI;

use burn::optim::LearningRate as Rate;
use burn::optim::lr_scheduler::{LrScheduler, LrSchedulerRecord};

use crate::config::{OptimizerConfig, Schedule};

/// From `min_lr` up to `lr` in a line, then as the schedule says: down to `min_lr` along a cosine or in
/// a line, or along at `lr`. The steps of the descent are those after the warm-up, and `min_lr` is what
/// the step after the last would have, as in PyTorch. Burn's own schedulers can be had as
/// wholes alone, so not for a group of parameters.
#[derive(Clone, Debug)]
pub(crate) struct LearningRate {
    lr: f64,
    min_lr: f64,
    warmup: usize,
    /// Steps in all.
    steps: usize,
    schedule: Schedule,
    factor: f64,
    step: usize,
}

impl LearningRate {
    /// The rate of a stage of that many steps.
    pub(crate) fn new(config: &OptimizerConfig, steps: usize) -> Self {
        Self {
            lr: config.lr,
            min_lr: config.min_lr,
            warmup: config.warmup_steps,
            steps,
            schedule: config.schedule,
            factor: 1.0,
            step: 0,
        }
    }

    /// The same, multiplied by `factor` throughout.
    pub(crate) fn times(mut self, factor: f64) -> Self {
        self.factor = factor;
        self
    }

    /// The rate at a step, counted from 0.
    fn at(&self, step: usize) -> f64 {
        let (lr, range) = (self.lr, self.lr - self.min_lr);
        if step < self.warmup {
            return lr - range / self.warmup as f64 * (self.warmup - step) as f64;
        }
        let done = (step - self.warmup) as f64 / (self.steps - self.warmup).max(1) as f64;
        match self.schedule {
            Schedule::Cosine => self.min_lr + 0.5 * range * (1.0 + (done * PI).cos()),
            Schedule::Linear => lr - range * done,
            Schedule::Constant => lr,
        }
    }
}

impl LrScheduler for LearningRate {
    fn step(&mut self) -> Rate {
        let rate = self.at(self.step) * self.factor;
        self.step += 1;
        rate
    }

    fn to_record(&self) -> LrSchedulerRecord {
        LrSchedulerRecord::new().with_scalar("step", self.step)
    }

    fn load_record(&mut self, record: LrSchedulerRecord) {
        if let Some(step) = record.scalar("step") {
            self.step = step;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(schedule: Schedule, warmup_steps: usize) -> OptimizerConfig {
        OptimizerConfig {
            lr: 1e-3,
            min_lr: 1e-5,
            warmup_steps,
            schedule,
            weight_decay: 0.0,
            no_decay: Vec::new(),
            clip_norm: 1.0,
            rates: Vec::new(),
        }
    }

    fn rates(schedule: Schedule, warmup_steps: usize) -> Vec<f64> {
        let mut rate = LearningRate::new(&config(schedule, warmup_steps), 110);
        (0..110).map(|_| rate.step()).collect()
    }

    #[test]
    fn they_are_pytorchs() {
        let fixture = include_str!("../../../tests/fixtures/optimizer/schedules.json");
        let fixture: serde_json::Value = serde_json::from_str(fixture).unwrap();
        let kinds = [
            ("cosine", Schedule::Cosine),
            ("linear", Schedule::Linear),
            ("constant", Schedule::Constant),
        ];
        for (name, schedule) in kinds {
            for warmup in [0, 10] {
                let name = format!("{name}_{warmup}");
                let expected: Vec<f64> = serde_json::from_value(fixture[&name].clone()).unwrap();
                let rates = rates(schedule, warmup);
                assert_eq!(rates.len(), expected.len());
                for (step, (rate, expected)) in rates.iter().zip(expected).enumerate() {
                    let error = (rate - expected).abs() / expected;
                    assert!(error < 1e-9, "{name} at {step}: {rate} is not {expected}");
                }
            }
        }
    }

    #[test]
    fn a_factor_is_of_the_whole_and_a_record_goes_on() {
        let config = config(Schedule::Cosine, 3);
        let whole = || LearningRate::new(&config, 9);
        let mut tenth = whole().times(0.1);
        let first: Vec<f64> = (0..4).map(|_| tenth.step()).collect();
        let mut resumed = whole().times(0.1);
        resumed.load_record(tenth.to_record());
        let rest = (4..9).map(|_| resumed.step());
        let rates: Vec<f64> = first.into_iter().chain(rest).collect();
        let mut all = whole();
        let expected: Vec<f64> = (0..9).map(|_| all.step() * 0.1).collect();
        assert_eq!(rates, expected);
    }
}
