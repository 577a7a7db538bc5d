//! The dense oracle against the formula written out in loops.

use aki_model::attention::{AttentionLayout, Document, Policy, mma_attention};
use burn::tensor::{Device, Distribution, Tensor, TensorData};

/// Values of a tensor, row after row.
fn values(tensor: Tensor<4>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

/// `softmax(q k^T / sqrt(d))` over the visible keys times `v`, in f64.
fn by_loops(q: &Tensor<4>, k: &Tensor<4>, v: &Tensor<4>, layout: &AttentionLayout) -> Vec<f64> {
    let ([batch, heads, queries, width], [_, kv_heads, keys, _]) = (q.dims(), k.dims());
    let (q, k, v) = (values(q.clone()), values(k.clone()), values(v.clone()));
    let row = |x: &[f32], head: usize, token: usize, len: usize| -> Vec<f64> {
        let at = (head * len + token) * width;
        x[at..at + width].iter().copied().map(f64::from).collect()
    };
    let mut out = Vec::new();
    for b in 0..batch {
        for h in 0..heads {
            let kv = b * kv_heads + h / (heads / kv_heads);
            for i in 0..queries {
                let query = row(&q, b * heads + h, i, queries);
                let seen: Vec<usize> = (0..keys).filter(|&j| layout.visible(b, i, j)).collect();
                let weights: Vec<f64> = seen
                    .iter()
                    .map(|&j| {
                        let key = row(&k, kv, j, keys);
                        let dot: f64 = query.iter().zip(&key).map(|(a, b)| a * b).sum();
                        (dot / (width as f64).sqrt()).exp()
                    })
                    .collect();
                let total: f64 = weights.iter().sum();
                let mut sum = vec![0.0; width];
                for (weight, &j) in weights.iter().zip(&seen) {
                    for (s, value) in sum.iter_mut().zip(row(&v, kv, j, keys)) {
                        *s += weight / total * value;
                    }
                }
                out.extend(sum);
            }
        }
    }
    out
}

/// Two rows: one of two packed documents with two pictures and padding, one plain.
fn layout(policy: Policy) -> AttentionLayout {
    let first = Document {
        tokens: 0..7,
        media: vec![1..3, 4..5],
        question_end: Some(6),
    };
    let second = Document {
        tokens: 7..10,
        media: vec![7..9],
        question_end: Some(10),
    };
    let plain = Document {
        tokens: 0..12,
        media: vec![],
        question_end: None,
    };
    AttentionLayout::from_spans(policy, 12, &[vec![first, second], vec![plain]]).unwrap()
}

#[test]
fn the_oracle_is_the_formula() {
    let device = Device::flex();
    let random = |shape| Tensor::<4>::random(shape, Distribution::Normal(0.0, 1.0), &device);
    for policy in [Policy::Causal, Policy::Prefix, Policy::Mma] {
        for kv_heads in [1, 2, 4] {
            let layout = layout(policy);
            let q = random([2, 4, 12, 7]);
            let (k, v) = (random([2, kv_heads, 12, 7]), random([2, kv_heads, 12, 7]));
            let expected = by_loops(&q, &k, &v, &layout);
            let found = values(mma_attention(q, k, v, &layout));
            for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
                assert!(
                    (f64::from(*found) - expected).abs() < 1e-5,
                    "{at}: {found} {expected}"
                );
            }
            // Padding sees nothing: exactly zero.
            assert!(found[10 * 7..12 * 7].iter().all(|&value| value == 0.0));
        }
    }
}

#[test]
fn queries_and_keys_may_differ_in_length() {
    let device = Device::flex();
    let random = |shape| Tensor::<4>::random(shape, Distribution::Normal(0.0, 1.0), &device);
    let layout = AttentionLayout::everything(2, 1, 9);
    let (q, k, v) = (
        random([2, 2, 1, 5]),
        random([2, 2, 9, 5]),
        random([2, 2, 9, 5]),
    );
    let expected = by_loops(&q, &k, &v, &layout);
    let found = values(mma_attention(q, k, v, &layout));
    assert!(
        found
            .iter()
            .zip(&expected)
            .all(|(a, b)| (f64::from(*a) - b).abs() < 1e-5)
    );
}

#[test]
fn nothing_flows_back_through_padding_or_hidden_pairs() {
    let device = Device::flex().autodiff();
    let random =
        |shape| Tensor::<4>::random(shape, Distribution::Normal(0.0, 1.0), &device).require_grad();
    let (q, k, v) = (
        random([2, 2, 12, 4]),
        random([2, 2, 12, 4]),
        random([2, 2, 12, 4]),
    );
    let layout = layout(Policy::Mma);
    let y = mma_attention(q.clone(), k.clone(), v.clone(), &layout);
    // Only row 0's text token 3 is asked: it sees 0..4.
    let grads = y.slice([0..1, 0..2, 3..4, 0..4]).square().sum().backward();
    for (name, x, touched) in [("q", &q, 3..4), ("k", &k, 0..4), ("v", &v, 0..4)] {
        let grad = values(x.grad(&grads).unwrap());
        assert!(grad.iter().all(|value| value.is_finite()));
        for token in 0..12 {
            let some = grad[token * 4..(token + 1) * 4]
                .iter()
                .any(|&value| value != 0.0);
            assert_eq!(some, touched.contains(&token), "{name} {token}");
        }
    }
}

#[test]
#[should_panic(expected = "do not divide")]
fn heads_that_do_not_group_are_refused() {
    let device = Device::flex();
    let zeros = |heads: usize| {
        Tensor::<4>::from_data(
            TensorData::new(vec![0f32; heads * 4], [1, heads, 2, 2]),
            &device,
        )
    };
    mma_attention(
        zeros(4),
        zeros(3),
        zeros(3),
        &AttentionLayout::everything(1, 2, 2),
    );
}
