//! The network as Burn's learner wants it: what a training and a validation step are.

use aki_model::Aki;
use burn::module::Module;
use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{ExecutionError, Tensor};
use burn::train::metric::{Adaptor, LossInput};
use burn::train::{InferenceStep, ItemLazy, TrainOutput, TrainStep};

use super::clip::clip_global_norm;
use super::metric::ExactMatchInput;
use crate::data::PolicyBatch;
use crate::score::score;

/// An [`Aki`] in training.
#[derive(Module, Debug)]
pub struct Trainee {
    aki: Aki,
    clip_norm: f64,
}

/// What a step gives to the metrics.
pub struct StepOutput {
    /// Cross entropy of each label, `[labels]`.
    losses: Tensor<1>,
    /// For each row, whether the answer is exactly right; measured in validation only.
    exact: Vec<bool>,
}

impl Trainee {
    /// A network whose gradients are scaled down to a global norm of at most `clip_norm`.
    pub fn new(aki: Aki, clip_norm: f64) -> Self {
        Self { aki, clip_norm }
    }

    /// The network.
    pub fn into_aki(self) -> Aki {
        self.aki
    }
}

impl TrainStep for Trainee {
    type Input = PolicyBatch;
    type Output = StepOutput;

    fn step(&self, input: PolicyBatch) -> TrainOutput<StepOutput> {
        let losses = score(&self.aki, &input).losses;
        let grads = losses.clone().mean().backward();
        let output = StepOutput {
            losses: losses.inner(),
            exact: Vec::new(),
        };
        TrainOutput::new(self, grads, output)
    }

    fn optimize(
        self,
        optim: &mut ModuleOptimizer,
        lr: ModuleLearningRate,
        grads: GradientsParams,
    ) -> Self {
        let grads = clip_global_norm(&self, grads, self.clip_norm);
        optim.step(lr, self, grads)
    }
}

impl InferenceStep for Trainee {
    type Input = PolicyBatch;
    type Output = StepOutput;

    fn step(&self, input: PolicyBatch) -> StepOutput {
        let scores = score(&self.aki, &input);
        StepOutput {
            exact: scores.exact(),
            losses: scores.losses,
        }
    }
}

impl ItemLazy for StepOutput {
    fn sync(self) -> Result<Self, ExecutionError> {
        Ok(self)
    }
}

impl Adaptor<LossInput> for StepOutput {
    fn adapt(&self) -> LossInput {
        LossInput::new(self.losses.clone())
    }
}

impl Adaptor<ExactMatchInput> for StepOutput {
    fn adapt(&self) -> ExactMatchInput {
        ExactMatchInput(self.exact.clone())
    }
}
