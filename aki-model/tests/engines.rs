//! Every engine of the CPU against the oracle in f64, forward and backward.

mod cases;

use aki_model::attention::{
    AttentionLayout, Document, Engine, Kernels, Policy, mma_attention, mma_attention_with,
    reference,
};
use burn::tensor::{DType, Device, FloatDType, Tensor, TensorData};
use cases::{Case, assert_as_good, naive};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const POLICIES: [Policy; 5] = [
    Policy::Causal,
    Policy::Bidirectional,
    Policy::Prefix,
    Policy::Mma,
    Policy::Cca,
];

/// Two rows of packed documents with several media, questions of any length and padding.
fn random_layout(policy: Policy, len: usize, seed: u64) -> AttentionLayout {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut row = || {
        let (mut documents, mut at) = (Vec::new(), rng.random_range(0..=len / 8));
        while at < len {
            let end = (at + rng.random_range(1..=len.max(2) / 2 + 1)).min(len);
            let (mut media, mut token) = (Vec::new(), at);
            loop {
                token += rng.random_range(0..6);
                let side: usize = rng.random_range(1..=1 + len.isqrt() / 3);
                if token + side * side > end {
                    break;
                }
                media.push(token..token + side * side);
                token += side * side;
            }
            let question_end = rng.random_bool(0.8).then(|| rng.random_range(at..=end));
            documents.push(Document {
                tokens: at..end,
                media,
                question_end,
            });
            at = end + rng.random_range(0..=len / 16);
        }
        documents
    };
    let rows = [row(), row()];
    AttentionLayout::from_spans(policy, len, &rows).expect("the documents fit")
}

fn fused(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, layout: &AttentionLayout) -> Tensor<4> {
    mma_attention_with(Engine::Fused(Kernels::Auto), q, k, v, layout)
}

fn check(what: &str, case: &Case, dtype: FloatDType) {
    let device = Device::flex();
    let truth = case.run(&device, dtype, FloatDType::F64, reference::attention);
    let dense = case.run(&device, dtype, dtype, naive);
    let found = case.run(&device, dtype, dtype, fused);
    assert_as_good(what, &found, &dense, &truth, dtype);
}

const LENGTHS: [usize; 6] = [1, 3, 97, 200, 656, 1025];
const HEAD_DIMS: [usize; 8] = [16, 59, 64, 72, 80, 96, 111, 128];
const GROUPS: [usize; 3] = [1, 2, 8];

/// Each length with each head size; group sizes and policies take turns.
#[test]
fn f32_is_as_good_as_the_dense_path() {
    for (i, len) in LENGTHS.into_iter().enumerate() {
        for (j, dim) in HEAD_DIMS.into_iter().enumerate() {
            let group = GROUPS[(i + j) % 3];
            let policy = POLICIES[(i * HEAD_DIMS.len() + j) % POLICIES.len()];
            let seed = (i * 100 + j) as u64;
            let layout = random_layout(policy, len, seed);
            let case = Case::new(layout, group.max(2), group, dim, seed);
            let what = format!("{policy:?}, {len} tokens, heads of {dim}, group {group}");
            check(&what, &case, FloatDType::F32);
        }
    }
}

#[test]
fn halves_are_as_good_as_the_dense_path() {
    for (at, policy) in POLICIES.into_iter().enumerate() {
        for dtype in [FloatDType::F16, FloatDType::BF16] {
            for (len, dim, group) in [(3, 59, 1), (97, 72, 2), (200, 96, 8)] {
                let layout = random_layout(policy, len, at as u64);
                let case = Case::new(layout, group.max(2), group, dim, at as u64);
                check(&format!("{policy:?} {dtype:?} {len} {dim}"), &case, dtype);
            }
        }
    }
}

/// A chunk of the queries against all keys: prefill behind a cache, and decoding one token.
#[test]
fn fewer_queries_than_keys() {
    for (at, policy) in POLICIES.into_iter().enumerate() {
        for (from, to) in [(96, 97), (40, 97), (0, 17), (50, 50)] {
            let layout = random_layout(policy, 97, at as u64).queries(from..to);
            let case = Case::new(layout, 4, 2, 24, at as u64);
            let what = format!("{policy:?}, queries {from}..{to}");
            check(&what, &case, FloatDType::F32);
        }
    }
    let case = Case::new(AttentionLayout::everything(2, 1, 300), 4, 4, 24, 9);
    check("one token", &case, FloatDType::F32);
}

/// One query a row, which the engine treats in its own way: over a cache with room to spare and rows
/// that begin late, and as part of a prompt, where other rules hide keys.
#[test]
fn one_query() {
    for (at, dim) in HEAD_DIMS.into_iter().chain([1, 17, 256]).enumerate() {
        let cache = AttentionLayout::decode(&[5..40, 0..301, 700..701], &[3, 4, 5], 701);
        let of_prompt = random_layout(POLICIES[at % 5], 97, at as u64).queries(50..51);
        for (layout, dtype) in [
            (cache.clone(), FloatDType::F32),
            (cache.clone(), FloatDType::F16),
            (cache, FloatDType::BF16),
            (of_prompt.clone(), FloatDType::F32),
            (of_prompt, FloatDType::BF16),
        ] {
            let group = GROUPS[at % 3];
            let case = Case::new(layout, group.max(2), group, dim, at as u64);
            check(&format!("{dtype:?}, heads of {dim}"), &case, dtype);
        }
    }
}

/// Inputs as networks make them: parts of one product, heads swapped forward.
#[test]
fn strided_inputs() {
    let device = Device::flex();
    let (batch, len, heads, dim) = (2, 70, 4, 24);
    let layout = random_layout(Policy::Mma, len, 1);
    let values: Vec<f32> = (0..batch * len * 3 * heads * dim)
        .map(|i| (i as f32 * 0.37).sin())
        .collect();
    let data = TensorData::new(values, [batch, len, 3 * heads * dim]);
    let qkv = Tensor::<3>::from_data(data, &device);
    let part = |at: usize| {
        qkv.clone()
            .slice([0..batch, 0..len, at * heads * dim..(at + 1) * heads * dim])
            .reshape([batch, len, heads, dim])
            .swap_dims(1, 2)
    };
    let found = fused(part(0), part(1), part(2), &layout);
    let expected = reference::attention(part(0), part(1), part(2), &layout);
    let difference = (found - expected).abs().max().into_scalar::<f32>();
    assert!(difference < 1e-5, "{difference}");
    // Channels that are not neighbours, and one key for all (a stride of 0).
    let turned = |at: usize| part(at).swap_dims(2, 3).reshape([batch, heads, len, dim]);
    let spread = part(1)
        .slice([0..batch, 0..heads, 0..1, 0..dim])
        .expand([batch, heads, len, dim]);
    let found = fused(turned(0), spread.clone(), part(2).flip([2]), &layout);
    let expected = reference::attention(turned(0), spread, part(2).flip([2]), &layout);
    let difference = (found - expected).abs().max().into_scalar::<f32>();
    assert!(difference < 1e-5, "{difference}");
}

/// The same bits whatever the number of threads, forward and backward.
#[test]
fn threads_do_not_change_a_bit() {
    let case = Case::new(random_layout(Policy::Mma, 300, 5), 8, 2, 64, 5);
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        let run = || case.run(&Device::flex(), FloatDType::F32, FloatDType::F32, fused);
        pool.build().unwrap().install(run)
    };
    let alone = on(1);
    for threads in [2, 3, 8] {
        assert_eq!(on(threads), alone, "{threads} threads");
    }
}

/// The derivative of a scalar loss along random directions, by central differences in f32.
#[test]
fn gradients_are_the_slopes() {
    let document = Document {
        tokens: 0..9,
        media: vec![1..4, 5..6],
        question_end: Some(8),
    };
    let layout = AttentionLayout::from_spans(Policy::Mma, 10, &[vec![document]]).unwrap();
    let case = Case::new(layout, 2, 2, 5, 3);
    let device = Device::flex();
    let loss = |data: &[TensorData; 4]| {
        let [q, k, v, weights] = data
            .clone()
            .map(|data| Tensor::<4>::from_data(data, &device));
        let products = fused(q, k, v, &case.layout) * weights;
        let products: Vec<f32> = products.into_data().try_to_vec().unwrap();
        products.into_iter().map(f64::from).sum::<f64>()
    };
    let [_, gradients @ ..] = case.run(&device, FloatDType::F32, FloatDType::F32, fused);
    for (input, gradient) in gradients.iter().enumerate() {
        for (at, slope) in gradient.iter().enumerate() {
            let moved = |by: f32| {
                let mut data = case.data.clone();
                let shape = data[input].shape().clone();
                let mut values: Vec<f32> = data[input].clone().try_to_vec().unwrap();
                values[at] += by;
                data[input] = TensorData::new(values, shape);
                loss(&data)
            };
            let step = 1e-2;
            let difference = (moved(step) - moved(-step)) / f64::from(2.0 * step);
            assert!(
                (difference - slope).abs() < 2e-3,
                "input {input}, value {at}: slope {difference}, gradient {slope}"
            );
        }
    }
}

/// A value that is not a number is not hidden by the softmax of the rows that see it.
#[test]
fn nan_shows() {
    let device = Device::flex();
    let layout = AttentionLayout::from_spans(
        Policy::Causal,
        4,
        &[vec![Document {
            tokens: 0..4,
            ..Document::default()
        }]],
    )
    .unwrap();
    let ones = || Tensor::<4>::ones([1, 1, 4, 3], &device);
    let k = ones().slice_fill([0..1, 0..1, 2..3, 0..1], f32::NAN);
    let out = fused(ones(), k, ones(), &layout);
    let out: Vec<f32> = out.into_data().try_to_vec().unwrap();
    assert!(out[..6].iter().all(|x| (x - 1.0).abs() < 1e-6));
    assert!(out[6..].iter().all(|x| x.is_nan()));
}

/// Rows that see nothing are exactly 0, and nothing flows to or from them.
#[test]
fn padding_is_exactly_zero() {
    let (len, dim) = (150, 24);
    let documents = vec![Document {
        tokens: 20..131,
        media: vec![30..46],
        question_end: Some(90),
    }];
    for policy in POLICIES {
        let layout =
            AttentionLayout::from_spans(policy, len, std::slice::from_ref(&documents)).unwrap();
        let case = Case::new(layout, 2, 2, dim, 1);
        for values in case.run(&Device::flex(), FloatDType::F32, FloatDType::F32, fused) {
            for (row, values) in values.chunks(dim).enumerate() {
                let zero = values.iter().all(|x| *x == 0.0);
                let padding = !(20..131).contains(&(row % len));
                assert!(zero || !padding, "{policy:?} {row}");
                // The first token may see itself alone, and then its query has no gradient.
                assert!(!zero || padding || row % len == 20, "{policy:?} {row}");
            }
        }
    }
}

/// One tensor as queries and keys, and inputs of which only some are trained.
#[test]
fn gradients_meet_and_stop_where_they_should() {
    let device = Device::flex().autodiff();
    let layout = random_layout(Policy::Mma, 40, 2);
    let case = Case::new(layout, 2, 1, 16, 2);
    let tensor = |at: usize| Tensor::<4>::from_data(case.data[at].clone(), &device);
    let gradients = |q: &Tensor<4>, k: &Tensor<4>| {
        // The values are not trained.
        let out = fused(q.clone(), k.clone(), tensor(2), &case.layout);
        let grads = (out * tensor(3)).sum().backward();
        [q, k].map(|x| x.grad(&grads).expect("a gradient"))
    };
    let both = tensor(0).require_grad();
    let [together, _] = gradients(&both, &both);
    let [of_q, of_k] = gradients(&tensor(0).require_grad(), &tensor(0).require_grad());
    let difference = (of_q + of_k - together.clone()).abs().max();
    assert!(difference.into_scalar::<f32>() < 1e-5);
    assert!(together.abs().max().into_scalar::<f32>() > 0.1);
}

/// Without rows, keys or queries there is nothing to compute and nothing to stumble over.
#[test]
fn empty_sizes() {
    let device = Device::flex();
    for (batch, query_len, key_len) in [(0, 3, 3), (1, 0, 3), (1, 3, 0)] {
        let layout = AttentionLayout::everything(batch, query_len, key_len);
        let zeros = |len: usize| Tensor::<4>::zeros([batch, 2, len, 4], &device);
        let (q, k) = (zeros(query_len), zeros(key_len));
        let out = fused(q, k.clone(), k, &layout);
        assert_eq!(out.dims(), [batch, 2, query_len, 4]);
        let out: Vec<f32> = out.into_data().try_to_vec().unwrap();
        assert!(out.iter().all(|x| *x == 0.0));
    }
}

/// What no fused engine takes goes to the reference, not to a panic.
#[test]
fn f64_goes_to_the_reference() {
    let case = Case::new(random_layout(Policy::Mma, 30, 1), 2, 1, 8, 1);
    let (wide, device) = (FloatDType::F64, Device::flex());
    let found = case.run(&device, wide, wide, mma_attention);
    let expected = case.run(&device, wide, wide, reference::attention);
    assert_eq!(found, expected);
    let q = Tensor::<4>::zeros([1, 1, 1, 8], (&device, DType::F64));
    assert!(Engine::Fused(Kernels::Auto).serves(&q).is_err());
    let q = Tensor::<4>::zeros([1, 1, 1, 8], &device);
    assert!(Engine::Fused(Kernels::Auto).serves(&q).is_ok());
    assert!(Engine::Fused(Kernels::TensorCore).serves(&q).is_err());
}
