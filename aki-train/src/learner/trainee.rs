//! The network as Burn's learner wants it: what a training and a validation step are.

use aki_model::Aki;
use burn::module::Module;
use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::optim::{GradientsAccumulator, GradientsParams, ModuleOptimizer};
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
    threads: usize,
}

/// What a step gives to the metrics.
pub struct StepOutput {
    /// Cross entropy of each label, `[labels]`.
    losses: Tensor<1>,
    /// For each row, whether the answer is exactly right; measured in validation only.
    exact: Vec<bool>,
}

impl Trainee {
    /// A network whose gradients are scaled down to a global norm of at most `clip_norm`, and whose
    /// training steps are split over `threads`.
    pub fn new(aki: Aki, clip_norm: f64, threads: usize) -> Self {
        Self {
            aki,
            clip_norm,
            threads,
        }
    }

    /// The network.
    pub fn into_aki(self) -> Aki {
        self.aki
    }

    /// The gradients of a part of a step's batch, as its share of the mean over `labels` labels.
    fn part(self, input: &PolicyBatch, labels: usize) -> (GradientsParams, Tensor<1>) {
        let scores = score(&self.aki, input).tokens;
        let grads = scores.total.div_scalar(labels as f64).backward();
        (GradientsParams::from_grads(grads, &self), scores.losses)
    }
}

/// Runs `work` where parallel loops find one thread: how they share out their work then does not
/// depend on the machine's cores. (It is neither faster nor slower.)
fn alone<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    match rayon::ThreadPoolBuilder::new().num_threads(1).build() {
        Ok(pool) => pool.install(work),
        // The system gives no more threads; the result is the same.
        Err(_) => work(),
    }
}

impl TrainStep for Trainee {
    type Input = PolicyBatch;
    type Output = StepOutput;

    fn step(&self, input: PolicyBatch) -> TrainOutput<StepOutput> {
        let labels = input.labels();
        let parts = input.split(self.threads);
        let device = self.devices().swap_remove(0);
        // Burn's CPU backend leaves all but large matrix products to one core, so each part gets a
        // thread (a step of the built-in run: 0.45 s in one, 0.28 s in two, on two cores) with a
        // fork of the network, whose autodiff graph is its own.
        let results: Vec<_> = std::thread::scope(|scope| {
            let workers: Vec<_> = parts
                .iter()
                .map(|part| {
                    let replica = self.clone().fork(&device);
                    scope.spawn(move || alone(|| replica.part(part, labels)))
                })
                .collect();
            let join = |worker: std::thread::ScopedJoinHandle<'_, _>| match worker.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            };
            workers.into_iter().map(join).collect()
        });
        // In the order of the parts, so that the sums do not depend on who was faster.
        let mut sum = GradientsAccumulator::new();
        let mut losses = Vec::new();
        for (grads, part) in results {
            sum.accumulate(self, grads);
            losses.push(part);
        }
        let item = StepOutput {
            losses: Tensor::cat(losses, 0),
            exact: Vec::new(),
        };
        TrainOutput {
            grads: sum.grads(),
            item,
        }
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
            losses: scores.tokens.losses,
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
