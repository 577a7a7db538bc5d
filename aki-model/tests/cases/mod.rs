//! Attention cases with random inputs, and the measure of an engine's error, shared by the engines' tests.

use aki_model::attention::{AttentionLayout, reference};
use burn::tensor::activation::softmax;
use burn::tensor::{Device, FloatDType, Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Queries, keys, values and the weights of the output in the loss, as plain data.
pub struct Case {
    pub layout: AttentionLayout,
    /// q, k, v and the output's gradient.
    pub data: [TensorData; 4],
}

impl Case {
    pub fn new(layout: AttentionLayout, heads: usize, group: usize, dim: usize, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut random = |heads, len| {
            let shape = [layout.batch(), heads, len, dim];
            // Three uniform draws make a bell; a few large scores make softmax peak.
            let values: Vec<f32> = (0..shape.iter().product())
                .map(|_| (0..3).map(|_| rng.random_range(-1.2f32..1.2)).sum())
                .collect();
            TensorData::new(values, shape)
        };
        let (query_len, key_len) = (layout.query_len(), layout.key_len());
        let data = [
            random(heads, query_len),
            random(heads / group, key_len),
            random(heads / group, key_len),
            random(heads, query_len),
        ];
        Self { layout, data }
    }

    /// The output and the gradients of q, k and v under `engine`, which gets its inputs rounded to
    /// `inputs` and then in `dtype`.
    pub fn run(
        &self,
        device: &Device,
        inputs: FloatDType,
        dtype: FloatDType,
        engine: impl Fn(Tensor<4>, Tensor<4>, Tensor<4>, &AttentionLayout) -> Tensor<4>,
    ) -> [Vec<f64>; 4] {
        let device = device.clone().autodiff();
        let [q, k, v, weights] = self.data.clone().map(|data| {
            Tensor::<4>::from_data(data, &device)
                .cast(inputs)
                .cast(dtype)
                .detach()
        });
        let [q, k, v] = [q, k, v].map(Tensor::require_grad);
        let out = engine(q.clone(), k.clone(), v.clone(), &self.layout);
        let grads = (out.clone() * weights).sum().backward();
        let values = |tensor: Tensor<4>| {
            let data = tensor.into_data().convert::<f64>();
            data.try_to_vec().expect("f64 values")
        };
        let [dq, dk, dv] = [q, k, v].map(|x| values(x.grad(&grads).expect("a gradient")));
        [values(out), dq, dk, dv]
    }
}

/// The dense path as one would write it in the inputs' own dtype.
pub fn naive(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, layout: &AttentionLayout) -> Tensor<4> {
    let [_, heads, _, dim] = q.dims();
    let [k, v] = [k, v].map(|x| reference::repeat_heads(x, heads));
    let scale = 1.0 / (dim as f64).sqrt();
    let scores = q.mul_scalar(scale).matmul(k.transpose());
    let hidden = reference::hidden(layout, &scores.device()).expand(scores.shape());
    let weights = softmax(scores.mask_fill(hidden.clone(), -3e4), 3).mask_fill(hidden, 0.0);
    weights.matmul(v)
}

/// The largest difference, and the largest value of the truth.
pub fn error(found: &[f64], truth: &[f64]) -> (f64, f64) {
    assert_eq!(found.len(), truth.len());
    let largest = truth.iter().fold(0.0, |high: f64, x| high.max(x.abs()));
    let worst = found.iter().zip(truth).fold(0.0, |high: f64, (x, y)| {
        let error = (x - y).abs();
        if error.is_finite() {
            high.max(error)
        } else {
            f64::INFINITY
        }
    });
    (worst, largest)
}

/// Asserts that an engine's results err at most twice as much as the dense path in the same
/// `dtype`, whose unit roundoff the dense path may meet by luck. Inputs are of order 1,
/// and where their products cancel, some units of f32 of up to eight heads may stay.
pub fn assert_as_good(
    what: &str,
    found: &[Vec<f64>; 4],
    dense: &[Vec<f64>; 4],
    truth: &[Vec<f64>; 4],
    dtype: FloatDType,
) {
    let ulp = match dtype {
        FloatDType::F16 => 4.9e-4,
        FloatDType::BF16 => 3.9e-3,
        _ => f64::from(f32::EPSILON),
    };
    for (name, at) in [("out", 0), ("dq", 1), ("dk", 2), ("dv", 3)] {
        let (worst, largest) = error(&found[at], &truth[at]);
        let (allowed, _) = error(&dense[at], &truth[at]);
        assert!(
            worst <= 2.0 * allowed + ulp * largest + 32.0 * f64::from(f32::EPSILON),
            "{what}: {name} is off by {worst:e}, the dense path by {allowed:e} of {largest:e}"
        );
    }
}
