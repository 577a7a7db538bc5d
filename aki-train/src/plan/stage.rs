//! A stage's plan: weights, memory, tokens and operations.

use burn::tensor::Device;
use serde::Serialize;

use super::batch::StageBatch;
use super::memory::Memory;
use super::parameters::{PartWeights, Weights};
use super::{Machine, advice};
use crate::TrainError;
use crate::config::{RunConfig, StageConfig};
use crate::optimizer::Groups;
use crate::run::undrawn;
use advice::Advice;

/// Tokens of the longest row that is planned for.
const LONGEST: usize = 1 << 20;

/// What a stage of a run takes.
#[derive(Clone, Debug, Serialize)]
pub struct StagePlan {
    /// Its name.
    pub name: String,
    /// Weights by part.
    pub parameters: Vec<PartWeights>,
    /// Optimizer steps.
    pub steps: usize,
    /// Rows of a step, on a rank.
    pub rows: usize,
    /// Rows that go through the network at a time.
    pub micro_rows: usize,
    /// Tokens a row, at most.
    pub row_tokens: usize,
    /// Pictures of a step, on a rank.
    pub pictures: usize,
    /// Tokens of a step, on all ranks.
    pub step_tokens: u64,
    /// Tokens of the stage.
    pub tokens: u64,
    /// Floating-point operations of a step on a rank, recomputation left out.
    pub step_flops: f64,
    /// Those that recomputation adds.
    pub recomputed_flops: f64,
    /// Seconds of a step, if the machine's speed is known.
    pub step_seconds: Option<f64>,
    /// Seconds of the stage.
    pub seconds: Option<f64>,
    /// Memory of a rank.
    pub memory: Memory,
    /// Whether it fits, if the machine's memory is known.
    pub fits: Option<bool>,
    /// What makes it smaller, if it does not fit.
    pub advice: Option<Advice>,
    /// What the run file does not say and was taken for granted.
    pub assumed: Vec<String>,
}

impl StagePlan {
    pub(super) fn of(
        config: &RunConfig,
        index: usize,
        machine: &Machine,
    ) -> Result<Self, TrainError> {
        let stage = &config.stage[index];
        let words = config.model.language.vocab_size;
        // Only to hear whether the stage's patterns fit; nothing is drawn.
        Groups::new(stage, &undrawn(config, words, &Device::default()))?;
        let weights = Weights::of(config, stage);
        let batch = StageBatch::of(config, stage, machine.text);
        if batch.step.len > LONGEST {
            return Err(TrainError::Setting {
                key: format!("stage.{}", stage.name),
                reason: format!(
                    "its rows have {} tokens, more than the {LONGEST} that any network takes; lower \
                     max_text_len or packing",
                    batch.step.len
                ),
            });
        }
        let memory = Memory::of(config, stage, &weights, &batch, machine.ranks);
        let work = batch.step.work(stage.attention, config.model.media_len());
        let flops = config.model.flops(&work, weights.adapters);
        let step_flops = flops.training(&weights.for_flops);
        let recomputed_flops = match config.training.recompute {
            true => flops.recomputed(),
            false => 0.0,
        };
        let step_seconds = machine
            .flops
            .map(|peak| (step_flops + recomputed_flops) / (peak * machine.utilisation));
        let step_tokens = (batch.step.tokens() as u64).saturating_mul(machine.ranks as u64);
        let fits = machine.memory.map(|_| machine.fits(memory.peak));
        Ok(Self {
            name: stage.name.clone(),
            steps: stage.steps,
            rows: batch.step.rows,
            micro_rows: batch.micro.rows,
            row_tokens: batch.step.len,
            pictures: batch.step.pictures,
            step_tokens,
            tokens: step_tokens.saturating_mul(stage.steps as u64),
            step_flops,
            recomputed_flops,
            step_seconds,
            seconds: step_seconds.map(|seconds| seconds * stage.steps as f64),
            advice: (fits == Some(false)).then(|| Advice::of(config, index, machine, memory.peak)),
            fits,
            memory,
            parameters: weights.parts,
            assumed: batch.assumed,
        })
    }
}

/// Bytes of a stage at its peak; nothing if no weight is trained.
pub(super) fn peak(config: &RunConfig, stage: &StageConfig, machine: &Machine) -> Option<u64> {
    let weights = Weights::of(config, stage);
    let batch = StageBatch::of(config, stage, machine.text);
    let memory = Memory::of(config, stage, &weights, &batch, machine.ranks);
    (weights.trained() > 0).then_some(memory.peak)
}
