//! The network as Burn's learner wants it: what a training and a validation step are.

use aki_model::{Aki, is_cpu};
use burn::module::Module;
use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::store::{ModuleRecord, RecordError};
use burn::tensor::{ExecutionError, Tensor};
use burn::train::metric::{Adaptor, LossInput};
use burn::train::{InferenceStep, ItemLazy, TrainOutput, TrainStep};

use super::gradients::{GradientSum, clip_factor, global_norm, scaled};
use super::metric::{ExactMatchInput, GradientNormInput};
use crate::data::PolicyBatch;
use crate::distributed::{Ranks, Shares, sum_gradients};
use crate::optimizer::Average;
use crate::score::{Scores, score, score_trailing};

/// How a step is carried out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepConfig {
    /// Highest global norm of the gradients; larger ones are scaled down.
    pub clip_norm: f64,
    /// Micro-batches that go through the network behind each other.
    pub micro_batches: usize,
    /// Threads that each of them is shared out to.
    pub threads: usize,
    /// Whether decoder blocks run again in the backward pass.
    pub recompute: bool,
    /// Decay of an average of the weights that stands in for them.
    pub ema: Option<f64>,
    /// Those who take the step together.
    pub ranks: Ranks,
    /// Whether each of them keeps a share of the optimizer's state.
    pub shares: bool,
}

impl Default for StepConfig {
    /// A whole batch at once, in one thread, with gradients of any norm.
    fn default() -> Self {
        Self {
            clip_norm: f64::MAX,
            micro_batches: 1,
            threads: 1,
            recompute: false,
            ema: None,
            ranks: Ranks::ALONE,
            shares: false,
        }
    }
}

/// An [`Aki`] in training.
#[derive(Module, Debug)]
pub struct Trainee {
    aki: Aki,
    /// Its parameters have the ids of the network's, so whatever visits gradients visits `aki` alone.
    average: Option<Average>,
    #[module(skip)]
    config: StepConfig,
}

/// What a step gives to the metrics.
pub struct StepOutput {
    /// Cross entropy of each label, `[labels]`.
    losses: Tensor<1>,
    /// For each row, whether the answer is exactly right; measured in validation only.
    exact: Vec<bool>,
    /// Global norm of the gradients before clipping; measured in training only.
    pub(super) norm: f64,
    /// If the norm is not finite, the samples whose losses are not.
    pub(super) faulty: Vec<String>,
}

/// What comes of a part of a step's batch.
struct Part {
    grads: GradientsParams,
    losses: Tensor<1>,
    document_labels: Vec<usize>,
}

impl Trainee {
    /// A network to be trained in such steps.
    pub fn new(aki: Aki, config: StepConfig) -> Self {
        Self {
            average: config.ema.map(|_| Average::new(&aki)),
            aki,
            config,
        }
    }

    /// One that was saved, read into a network without weights, of which nothing is drawn.
    ///
    /// # Errors
    ///
    /// [`RecordError`] if the record is of another network.
    pub fn load(aki: Aki, config: StepConfig, record: ModuleRecord) -> Result<Self, RecordError> {
        let average = config.ema.map(|_| Average::undrawn(&aki));
        let blank = Self {
            aki,
            average,
            config,
        };
        let Self {
            aki,
            average,
            config,
        } = blank.try_load_record(record)?;
        Ok(Self {
            average: average.map(|average| average.told(&aki)),
            aki,
            config,
        })
    }

    /// The network that came of it: the average of the weights if there is one, in their type.
    pub fn into_aki(self) -> Aki {
        match self.average {
            Some(average) => average.into_type_of(&self.aki),
            None => self.aki,
        }
    }

    /// What is to be measured: the network that would come of it now.
    pub(super) fn measured(self) -> Self {
        let config = self.config;
        Self {
            aki: self.into_aki(),
            average: None,
            config,
        }
    }

    /// The gradients of a part of a step's batch, of the sum of its losses times `scale`.
    fn part(self, input: &PolicyBatch, scale: f64) -> Part {
        let mut sum = GradientSum::default();
        let mut add = |grads| sum.add(&self.aki, GradientsParams::from_grads(grads, &self.aki));
        let scores = if self.config.recompute {
            let (scores, trail, layout) = score_trailing(&self.aki, input, scale);
            let grads = scores.tokens.total.clone().backward();
            trail.backward(self.aki.language(), &layout, grads, add);
            scores
        } else {
            let scores = score(&self.aki, input, scale);
            add(scores.tokens.total.clone().backward());
            scores
        };
        let Scores {
            tokens,
            document_labels,
            ..
        } = scores;
        Part {
            grads: sum.take(),
            losses: tokens.losses,
            document_labels,
        }
    }

    /// Sum of the losses of a batch's labels, computed as a step does, with what its backward pass
    /// would need: a step's forward pass alone, to be timed.
    pub fn forward_pass(&self, input: PolicyBatch) -> f64 {
        let StepConfig {
            micro_batches,
            threads,
            ..
        } = self.config;
        let inputs = input.split(micro_batches * threads);
        let total = |replica: Self, part: &PolicyBatch| score(&replica.aki, part, 1.0).tokens.total;
        let totals = inputs
            .chunks(threads)
            .flat_map(|inputs| self.shared_out(inputs, total));
        totals
            .map(|total| f64::from(total.into_scalar::<f32>()))
            .sum()
    }

    /// Does `work` with each part of a micro-batch, on the CPU each in a thread.
    fn shared_out<T: Send>(
        &self,
        inputs: &[PolicyBatch],
        work: impl Fn(Self, &PolicyBatch) -> T + Sync,
    ) -> Vec<T> {
        let device = self.devices().swap_remove(0);
        let replicas = inputs.iter().map(|part| (self.clone().fork(&device), part));
        // On a card the thread decides the stream, and each stream keeps memory of its own.
        if !is_cpu(&device) {
            return replicas
                .map(|(replica, part)| work(replica, part))
                .collect();
        }
        // Burn's CPU backend leaves all but large matrix products to one core, so each part gets a
        // thread (a step of the built-in run: 0.45 s in one, 0.28 s in two, on two cores) with a
        // fork of the network, whose autodiff graph is its own.
        let work = &work;
        std::thread::scope(|scope| {
            let workers: Vec<_> = replicas
                .map(|(replica, part)| scope.spawn(move || alone(|| work(replica, part))))
                .collect();
            let join = |worker: std::thread::ScopedJoinHandle<'_, _>| match worker.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            };
            workers.into_iter().map(join).collect()
        })
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
        let StepConfig {
            clip_norm,
            micro_batches,
            threads,
            ranks,
            ..
        } = self.config;
        let loss_scale = input.loss_scale;
        // Each label counts the same, in whichever part of the batch, and on whichever rank, it is.
        let labels = input.labels_of_all.unwrap_or_else(|| input.labels());
        let scale = loss_scale / labels as f64;
        let inputs = input.split(micro_batches * threads);
        // In the order of the parts, so that the sums do not depend on who was faster.
        let mut sum = GradientSum::default();
        let (mut losses, mut document_labels) = (Vec::new(), Vec::new());
        for inputs in inputs.chunks(threads) {
            for part in self.shared_out(inputs, |replica, part| replica.part(part, scale)) {
                sum.add(&self.aki, part.grads);
                losses.push(part.losses);
                document_labels.extend(part.document_labels);
            }
        }
        let mut grads = sum_gradients(ranks, &self.aki, sum.take());
        let losses = Tensor::cat(losses, 0);
        // All ranks do the same about it, whatever their processors.
        let norm = ranks.of_first(global_norm(&self.aki, &mut grads) / loss_scale);
        let (grads, faulty) = if norm.is_finite() {
            let factor = clip_factor(norm, clip_norm) / loss_scale;
            (scaled(&self.aki, grads, factor), Vec::new())
        } else {
            let own = faulty(&inputs, &losses, &document_labels);
            (grads, ranks.all(&own).concat())
        };
        let losses = match ranks.are_several() {
            true => mean_of_all(ranks, losses, labels),
            false => losses,
        };
        let item = StepOutput {
            losses,
            exact: Vec::new(),
            norm,
            faulty,
        };
        TrainOutput { grads, item }
    }

    fn optimize(
        mut self,
        optim: &mut ModuleOptimizer,
        lr: ModuleLearningRate,
        grads: GradientsParams,
    ) -> Self {
        let average = self.average.take();
        let mut stepped = if self.config.shares {
            let shares = Shares::new(self.config.ranks, &self);
            let own = shares.own(&self, grads);
            shares.exchange(optim.step(lr, self, own))
        } else {
            optim.step(lr, self, grads)
        };
        if let (Some(average), Some(decay)) = (average, stepped.config.ema) {
            stepped.average = Some(average.after(&stepped.aki, decay));
        }
        stepped
    }
}

/// The mean of the losses of all ranks, for the metrics.
fn mean_of_all(ranks: Ranks, losses: Tensor<1>, labels: usize) -> Tensor<1> {
    let device = losses.device();
    let own = losses.into_data();
    let mut sum = [own.iter::<f64>().sum()];
    ranks.sum_f64(&mut sum);
    Tensor::from_floats([(sum[0] / labels as f64) as f32], &device)
}

/// The keys of the samples whose losses are not finite.
fn faulty(inputs: &[PolicyBatch], losses: &Tensor<1>, document_labels: &[usize]) -> Vec<String> {
    let losses = losses.to_data();
    let mut losses = losses.iter::<f32>();
    let documents = inputs.iter().flat_map(|input| &input.batch.documents);
    let mut keys = Vec::new();
    for (document, &count) in documents.zip(document_labels) {
        let bad = losses.by_ref().take(count).filter(|loss| !loss.is_finite());
        if bad.count() > 0 {
            keys.push(document.key.clone());
        }
    }
    keys
}

impl InferenceStep for Trainee {
    type Input = PolicyBatch;
    type Output = StepOutput;

    fn step(&self, input: PolicyBatch) -> StepOutput {
        let scores = score(&self.aki, &input, 1.0);
        StepOutput {
            exact: scores.exact(),
            losses: scores.tokens.losses,
            norm: 0.0,
            faulty: Vec::new(),
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

impl Adaptor<GradientNormInput> for StepOutput {
    fn adapt(&self) -> GradientNormInput {
        GradientNormInput(self.norm)
    }
}
