//! `AdamW` with arithmetic in f32, whatever weights and moments are held in.

use aki_model::is_cpu;
use burn::optim::{LearningRate, Optimizer, RecordState, StateSink, StateSource};
use burn::tensor::{DType, Device, FloatDType, Tensor};

use super::cpu;
use super::moments::{Moment, Order};
use crate::config::Moments;

const BETAS: [f64; 2] = [0.9, 0.999];
const EPSILON: f64 = 1e-8;

/// `w <- (1 - lr decay) w - lr / (1 - beta1^t) m / (sqrt(v) / sqrt(1 - beta2^t) + epsilon)`, as
/// `torch.optim.AdamW` has it. Burn's own steps in the weights' type, in which a bf16 weight of 1
/// stays where it is at rates below 1/256; here weights of half precision have a master in f32.
///
/// The arithmetic stands here in Burn's operations, for all backends, and in [`cpu`] as one pass,
/// with the same bits, several times as fast.
#[derive(Clone)]
pub(crate) struct AdamW {
    weight_decay: f64,
    moments: Moments,
}

/// What is remembered of a parameter.
#[derive(Clone)]
pub(crate) struct AdamWState<const D: usize> {
    steps: usize,
    /// The weights in f32, if they themselves are held in less.
    master: Option<Tensor<D>>,
    moments: [Moment<D>; 2],
}

/// The numbers of a step that are the same for all weights.
#[derive(Clone, Copy)]
pub(super) struct Scalars {
    /// Steps, this one included.
    pub(super) steps: usize,
    /// What is left of a weight by decay.
    pub(super) kept: f32,
    /// What is left of each moment, and what is added of the new.
    pub(super) betas: [[f32; 2]; 2],
    /// What the square root of the second moment is multiplied by.
    pub(super) root: f32,
    pub(super) epsilon: f32,
    /// What the quotient is multiplied by.
    pub(super) rate: f32,
}

impl AdamW {
    pub(crate) fn new(weight_decay: f64, moments: Moments) -> Self {
        Self {
            weight_decay,
            moments,
        }
    }

    fn scalars(&self, lr: f64, steps: usize) -> Scalars {
        let left = BETAS.map(|beta| 1.0 - beta.powf(steps as f64));
        Scalars {
            steps,
            kept: (1.0 - lr * self.weight_decay) as f32,
            betas: BETAS.map(|beta| [beta as f32, (1.0 - beta) as f32]),
            root: left[1].sqrt().recip() as f32,
            epsilon: EPSILON as f32,
            rate: (lr / left[0]) as f32,
        }
    }
}

impl Optimizer for AdamW {
    type State<const D: usize> = AdamWState<D>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        weight: Tensor<D>,
        grad: Tensor<D>,
        state: Option<AdamWState<D>>,
    ) -> (Tensor<D>, Option<AdamWState<D>>) {
        let (held, shape, device) = (weight.dtype(), weight.dims(), weight.device());
        let state = state.unwrap_or_else(|| AdamWState {
            steps: 0,
            master: None,
            moments: [Order::First, Order::Second]
                .map(|order| Moment::zeros(shape, self.moments, order, &device)),
        });
        let master = state.master.unwrap_or_else(|| weight.cast(FloatDType::F32));
        let grad = grad.cast(FloatDType::F32);
        let scalars = self.scalars(lr, state.steps + 1);
        let alike = state.moments.iter().all(|it| it.is_held(self.moments));
        let (master, moments) = if alike && is_cpu(&device) {
            cpu::step(scalars, self.moments, master, grad, state.moments)
        } else {
            step(scalars, self.moments, master, grad, state.moments)
        };
        let state = AdamWState {
            steps: scalars.steps,
            master: (held != DType::F32).then(|| master.clone()),
            moments,
        };
        (master.cast(held), Some(state))
    }

    fn to_device<const D: usize>(state: AdamWState<D>, device: &Device) -> AdamWState<D> {
        AdamWState {
            steps: state.steps,
            master: state.master.map(|master| master.to_device(device)),
            moments: state.moments.map(|moment| moment.moved(device)),
        }
    }
}

/// A step by Burn's operations.
fn step<const D: usize>(
    scalars: Scalars,
    held: Moments,
    weight: Tensor<D>,
    grad: Tensor<D>,
    moments: [Moment<D>; 2],
) -> (Tensor<D>, [Moment<D>; 2]) {
    let (shape, [first, second]) = (weight.dims(), moments);
    let [of_first, of_second] = scalars.betas;
    let first = first.values(Order::First, shape).mul_scalar(of_first[0])
        + grad.clone().mul_scalar(of_first[1]);
    let second = second.values(Order::Second, shape).mul_scalar(of_second[0])
        + grad.square().mul_scalar(of_second[1]);
    let scale = second.clone().sqrt().mul_scalar(scalars.root);
    let change = first.clone() / scale.add_scalar(scalars.epsilon);
    let weight = weight.mul_scalar(scalars.kept) - change.mul_scalar(scalars.rate);
    let moments = [
        Moment::new(first, held, Order::First, scalars.steps),
        Moment::new(second, held, Order::Second, scalars.steps),
    ];
    (weight, moments)
}

// Burn's derive would give what is read the device's default type.
impl<const D: usize> RecordState for AdamWState<D> {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        out.push_scalar(prefix, "steps", self.steps.into());
        if let Some(master) = &self.master {
            out.push_tensor(prefix, "master", master.to_data());
        }
        let [first, second] = &self.moments;
        first.flatten(prefix, "first", out);
        second.flatten(prefix, "second", out);
    }

    fn state_unflatten(prefix: &str, source: &mut StateSource, device: &Device) -> Option<Self> {
        let steps = source.take_scalar(prefix, "steps")?;
        let master = source.take_tensor(prefix, "master");
        Some(Self {
            steps: steps.try_into().ok()?,
            master: master.map(|data| Tensor::from_data(data, (device, DType::F32))),
            moments: [
                Moment::unflatten(prefix, "first", source, device)?,
                Moment::unflatten(prefix, "second", source, device)?,
            ],
        })
    }
}

/// What a record lacks of the state of a weight held in `dtype`, where `there` says which of its names are
/// there.
pub(crate) fn lacks(dtype: DType, there: impl Fn(&str) -> bool) -> Option<&'static str> {
    if !there("steps") {
        return Some("steps");
    }
    if dtype != DType::F32 && !there("master") {
        return Some("master");
    }
    let held = |name: &&str| {
        let part = |part: &str| there(&format!("{name}.{part}"));
        there(name) || (part("codes") && part("scales"))
    };
    ["first", "second"].into_iter().find(|name| !held(name))
}

#[cfg(test)]
mod tests {
    use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
    use burn::nn::{Linear, LinearConfig};
    use burn::optim::{GradientsParams, ModuleOptimizer};
    use burn::tensor::TensorData;
    use burn::tensor::activation::tanh;
    use serde::Deserialize;

    use super::*;

    const ALL: [Moments; 3] = [Moments::F32, Moments::Bf16, Moments::EightBit];

    #[derive(Deserialize)]
    struct Fixture {
        decays: Vec<f64>,
        tensors: Vec<Vec<f32>>,
        steps: Vec<FixtureStep>,
    }

    #[derive(Deserialize)]
    struct FixtureStep {
        lr: f64,
        gradients: Vec<Vec<f32>>,
        tensors: Vec<Vec<f32>>,
    }

    fn row(values: &[f32]) -> Tensor<1> {
        Tensor::from_data(values, (&Device::flex(), DType::F32))
    }

    /// `tests/reference/adamw.py`
    #[test]
    fn steps_are_torchs() {
        let fixture = include_str!("../../../tests/fixtures/optimizer/adamw.json");
        let fixture: Fixture = serde_json::from_str(fixture).unwrap();
        for (at, start) in fixture.tensors.iter().enumerate() {
            let adamw = AdamW::new(fixture.decays[at], Moments::F32);
            let (mut weight, mut state) = (row(start), None);
            for (number, step) in fixture.steps.iter().enumerate() {
                let grad = row(&step.gradients[at]);
                (weight, state) = adamw.step(step.lr, weight, grad, state);
                let found: Vec<f32> = weight.to_data().iter().collect();
                for (found, expected) in found.iter().zip(&step.tensors[at]) {
                    let error = (found - expected).abs();
                    assert!(error < 1e-6, "step {number}: {found} is not {expected}");
                }
            }
        }
    }

    /// Everything that a moment holds.
    fn held(moment: &Moment<1>) -> Vec<TensorData> {
        match moment.clone() {
            Moment::Plain(values) => vec![values.into_data()],
            Moment::Blocks { codes, scales } => vec![codes.into_data(), scales.into_data()],
        }
    }

    #[test]
    fn the_cpus_way_gives_the_bits_of_burns() {
        let device = Device::flex();
        let len = 1000;
        for moments in ALL {
            let adamw = AdamW::new(0.1, moments);
            let zeros = [Order::First, Order::Second]
                .map(|order| Moment::<1>::zeros([len], moments, order, &device));
            let start = row(&noise(1, len));
            let mut fast = (start.clone(), zeros.clone());
            let mut slow = (start, zeros);
            for steps in 1..60 {
                let grad = row(&noise(steps as u32 + 2, len));
                // From small to large within a block, some 0.
                let size = (0..len).map(|at| 10_f32.powi(-(at as i32 % 9)) * (at % 13) as f32);
                let grad = grad * row(&size.collect::<Vec<_>>());
                let scalars = adamw.scalars(1e-3, steps);
                fast = cpu::step(scalars, moments, fast.0, grad.clone(), fast.1);
                slow = step(scalars, moments, slow.0, grad, slow.1);
                let told = format!("{moments:?}, step {steps}");
                assert_eq!(fast.0.to_data(), slow.0.to_data(), "{told}");
                for (fast, slow) in fast.1.iter().zip(&slow.1) {
                    assert_eq!(held(fast), held(slow), "{told}");
                }
            }
        }
    }

    #[derive(Module, Debug)]
    struct Net {
        up: Linear,
        down: Linear,
    }

    /// Numbers from -1 to 1 that look drawn.
    fn noise(seed: u32, len: usize) -> Vec<f32> {
        let mut state = seed.wrapping_mul(2_654_435_761) ^ 0x9e37_79b9;
        let draw = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as f32 / u32::MAX as f32 * 2.0 - 1.0
        };
        std::iter::repeat_with(draw).take(len).collect()
    }

    struct Fill {
        seed: u32,
        dtype: DType,
    }

    impl ModuleMapper for Fill {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            self.seed += 1;
            let (shape, device) = (param.shape(), param.device());
            let values = noise(self.seed, shape.num_elements());
            let values = TensorData::new(values, shape).convert_dtype(self.dtype);
            param.map(|_| Tensor::from_data(values, (&device, self.dtype)).mul_scalar(0.3))
        }
    }

    impl Net {
        fn new(dtype: DType) -> Self {
            let device = Device::flex().autodiff();
            let linear = |from, to| LinearConfig::new(from, to).init(&device);
            let net = Self {
                up: linear(13, 40),
                down: linear(40, 7),
            };
            net.map(&mut Fill { seed: 0, dtype }).set_require_grad(true)
        }

        fn forward(&self, x: Tensor<2>) -> Tensor<2> {
            self.down.forward(tanh(self.up.forward(x)))
        }

        /// The loss, and the net after a step.
        fn step(self, optimizer: &mut ModuleOptimizer, lr: f64, seed: u32) -> (f32, Self) {
            let device = Device::flex().autodiff();
            let dtype = self.up.weight.dtype();
            let data = |seed, shape: [usize; 2]| {
                let data = TensorData::new(noise(seed, shape.iter().product()), shape);
                Tensor::<2>::from_data(data.convert_dtype(dtype), (&device, dtype))
            };
            let x = data(seed, [16, 13]);
            // Something to be learned, and something that cannot be.
            let from = x.clone().slice([0..16, 0..7]);
            let truth = (from * 2.0).sin() + data(seed + 1, [16, 7]) * 0.3;
            let loss = (self.forward(x) - truth).square().mean();
            let grads = GradientsParams::from_grads(loss.backward(), &self);
            let loss = loss.into_data().iter::<f32>().next().unwrap();
            (loss, optimizer.step(lr, self, grads))
        }
    }

    /// All bits of all weights.
    #[derive(Default)]
    struct Bits(Vec<TensorData>);

    impl ModuleVisitor for Bits {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.push(param.val().into_data());
        }
    }

    fn bits(net: &Net) -> Vec<TensorData> {
        let mut bits = Bits::default();
        net.visit(&mut bits);
        bits.0
    }

    #[test]
    fn half_precision_moves_where_a_step_is_less_than_its_last_bit() {
        for dtype in [DType::BF16, DType::F16] {
            let one = Tensor::<1>::ones([4], (&Device::flex(), dtype));
            let adamw = AdamW::new(0.0, Moments::F32);
            let (mut weight, mut state) = (one.clone(), None);
            for _ in 0..100 {
                (weight, state) = adamw.step(1e-4, weight, one.clone(), state);
                assert_eq!(weight.dtype(), dtype);
            }
            let moved: Vec<f32> = weight.into_data().iter().collect();
            for weight in moved {
                // 100 steps of 1e-4; bf16 has 1 - 1/256 and 1 - 1/128 there.
                assert!((weight - 0.99).abs() < 2.1e-3, "{weight}");
            }
            let master: Vec<f32> = state.unwrap().master.unwrap().into_data().iter().collect();
            assert!((master[0] - 0.99).abs() < 1e-5, "{}", master[0]);
        }
    }

    #[test]
    fn what_is_saved_and_loaded_goes_on_with_the_same_bits() {
        for dtype in [DType::F32, DType::BF16] {
            for moments in ALL {
                let adamw = || ModuleOptimizer::from(AdamW::new(0.01, moments));
                let (mut net, mut optimizer) = (Net::new(dtype), adamw());
                for step in 0..5 {
                    (_, net) = net.step(&mut optimizer, 1e-3, step);
                }
                let saved = optimizer.into_bytes().unwrap();
                let mut resumed = (net.clone(), adamw().from_bytes(saved).unwrap());
                for step in 5..10 {
                    (_, net) = net.step(&mut optimizer, 1e-3, step);
                    (_, resumed.0) = resumed.0.step(&mut resumed.1, 1e-3, step);
                }
                assert_eq!(bits(&net), bits(&resumed.0), "{dtype:?} {moments:?}");
                assert_eq!(net.up.weight.dtype(), dtype);
            }
        }
    }

    #[test]
    fn small_moments_learn_as_large_ones_do() {
        let losses = ALL.map(|moments| {
            let mut optimizer = ModuleOptimizer::from(AdamW::new(0.01, moments));
            let mut net = Net::new(DType::F32);
            let mut losses = Vec::new();
            for step in 0..500 {
                let loss;
                (loss, net) = net.step(&mut optimizer, 1e-2, 2 * step);
                losses.push(loss);
            }
            losses[400..].iter().sum::<f32>() / 100.0
        });
        let worst = losses.map(|loss| (loss / losses[0] - 1.0).abs());
        assert!(worst.iter().all(|&worst| worst < 0.01), "{losses:?}");
    }
}
