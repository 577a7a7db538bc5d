//! Cosine with warm-up, out of Burn's schedulers.

use burn::optim::lr_scheduler::LrSchedulerConfig;
use burn::optim::lr_scheduler::cosine::CosineAnnealingLrSchedulerConfig;
use burn::optim::lr_scheduler::linear::LinearLrSchedulerConfig;
use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::optim::lr_scheduler::sequential::SequentialLrSchedulerConfig;

use crate::TrainError;
use crate::config::OptimizerConfig;

/// From `min_lr` up to `lr` in a line, then down to `min_lr` along a cosine.
pub(crate) fn schedule(
    config: &OptimizerConfig,
    steps: usize,
) -> Result<ModuleLrScheduler, TrainError> {
    let OptimizerConfig {
        lr,
        min_lr,
        warmup_steps,
        ..
    } = *config;
    let descent =
        CosineAnnealingLrSchedulerConfig::new(lr, steps - warmup_steps).with_min_lr(min_lr);
    let schedule = if warmup_steps == 0 {
        descent.init()
    } else {
        let ascent = LinearLrSchedulerConfig::new(min_lr, lr, warmup_steps);
        let parts = vec![
            LrSchedulerConfig::Linear(ascent),
            LrSchedulerConfig::Cosine(descent),
        ];
        SequentialLrSchedulerConfig::new(parts, vec![warmup_steps]).init()
    };
    schedule.map_err(|reason| TrainError::Setting {
        key: "optimizer.lr".to_owned(),
        reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_starts_at_the_minimum_and_ends_there() {
        let config = OptimizerConfig {
            lr: 1e-3,
            min_lr: 1e-5,
            warmup_steps: 10,
            weight_decay: 0.0,
            clip_norm: 1.0,
        };
        let mut schedule = schedule(&config, 110).unwrap();
        let rates: Vec<f64> = (0..110).map(|_| schedule.step().base()).collect();
        let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
        assert!(near(rates[0], 1e-5), "{}", rates[0]);
        assert!(near(rates[5], 1e-5 + 0.5 * 9.9e-4), "{}", rates[5]);
        assert!(near(rates[10], 1e-3), "{}", rates[10]);
        assert!(near(rates[60], 1e-5 + 0.5 * 9.9e-4), "{}", rates[60]);
        assert!(rates[109] < 1.1e-5, "{}", rates[109]);
    }
}
