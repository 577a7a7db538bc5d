//! What a run takes, before anything is rented: memory by part, steps, tokens, operations and time.
//!
//! Nothing is read but the run file. Weights are counted from the network's shape, activations operation
//! by operation; `tests/plan_memory.rs` holds the estimate to what training small networks takes.
//!
//! | bytes a weight | f32 | bf16, f16 |
//! |---|---|---|
//! | weights | 4 | 2 |
//! | master | | 4 |
//! | moments | 8, 4 in bf16, 2.03 in 8 bits | the same |
//! | gradients, as the backward pass gives them | 4 | 2 |
//! | gradients that the optimizer takes | 4 | 2; 4 in f16, of several threads and of several ranks |
//! | sums in their place, if a step is made of micro-batches | 4 | 4 |
//! | average, if one is kept | 4 | 4 |
//!
//! A frozen weight has the first line alone.

mod activations;
mod advice;
mod batch;
mod flops;
mod memory;
mod parameters;
mod stage;

use serde::Serialize;

use crate::TrainError;
use crate::config::RunConfig;
pub use advice::{Advice, Change};
pub use flops::StepFlops;
pub use memory::{Memory, MemoryPart, Moment};
pub use parameters::PartWeights;
pub use stage::StagePlan;

/// How far the estimate is off at most on the small networks that it was measured on.
pub const MEASURED_WITHIN: f64 = 0.1;

/// The share of a card's memory that is left for the driver, the kernels and gaps between tensors.
pub const RESERVE: f64 = 0.05;

/// What a run is planned for.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// Bytes of memory of a rank's card.
    pub memory: Option<u64>,
    /// Floating-point operations a second, at best.
    pub flops: Option<f64>,
    /// The share of them that training reaches.
    pub utilisation: f64,
    /// Processes, each with a card of its own.
    pub ranks: usize,
    /// Tokens of text to a picture, where a stage does not limit them.
    pub text: usize,
}

impl Machine {
    /// Whether so many bytes have room, with the reserve; anything has where the memory is not known.
    pub fn fits(&self, bytes: u64) -> bool {
        self.memory
            .is_none_or(|memory| bytes as f64 <= memory as f64 * (1.0 - RESERVE))
    }
}

/// What a run takes.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// Each stage that is not left out.
    pub stages: Vec<StagePlan>,
    /// Seconds of all stages, if the machine's speed is known.
    pub seconds: Option<f64>,
    /// Whether all stages fit, if the machine's memory is known.
    pub fits: Option<bool>,
    /// How far off memory was at most on small networks.
    pub measured_within: f64,
}

/// Plans a run. Its data need not be there.
///
/// # Errors
///
/// [`TrainError::Network`] if the network's numbers cannot be, [`TrainError::Setting`] if nothing is
/// trained, a stage's patterns fit nothing, or its rows are longer than any network takes.
pub fn plan(config: &RunConfig, machine: &Machine) -> Result<Plan, TrainError> {
    config.model.validate_shape().map_err(TrainError::Network)?;
    let active = (0..config.stage.len()).filter(|&index| config.stage[index].steps > 0);
    let stages: Vec<StagePlan> = active
        .map(|index| StagePlan::of(config, index, machine))
        .collect::<Result<_, _>>()?;
    if stages.is_empty() {
        return Err(TrainError::Setting {
            key: "stage".to_owned(),
            reason: "all have steps = 0, so there is nothing to plan".to_owned(),
        });
    }
    Ok(Plan {
        seconds: stages.iter().map(|stage| stage.seconds).sum(),
        fits: machine
            .memory
            .map(|_| stages.iter().all(|stage| stage.fits == Some(true))),
        stages,
        measured_within: MEASURED_WITHIN,
    })
}
