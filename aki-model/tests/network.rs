//! The whole network on tiny random weights.

mod common;

use aki_model::attention::{AttentionLayout, Document, Policy};
use aki_model::{Aki, MediaSpan, weights};
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::activation::log_softmax;
use burn::tensor::{
    Device, Distribution, FloatDType, Gradients, Int, Tensor, TensorData, Tolerance,
};

const TEXT: [u32; 8] = [0, 20, 20, 20, 5, 6, 7, 8];

fn ids(ids: &[u32], device: &Device) -> Tensor<2, Int> {
    let values: Vec<i32> = ids.iter().map(|&id| id as i32).collect();
    Tensor::from_data(TensorData::new(values, [1, ids.len()]), device)
}

fn layout(policy: Policy, len: usize) -> AttentionLayout {
    let document = Document {
        tokens: 0..len,
        media: vec![1..4],
        question_end: Some(7),
    };
    AttentionLayout::from_spans(policy, len, &[vec![document]]).unwrap()
}

fn span() -> Vec<MediaSpan> {
    vec![MediaSpan {
        row: 0,
        tokens: 1..4,
        picture: 0,
    }]
}

fn hidden(aki: &Aki, text: &[u32], pixels: Tensor<4>, policy: Policy) -> Vec<f32> {
    let device = pixels.device();
    let x = aki.fuse(ids(text, &device), Some(aki.encode(pixels)), &span());
    aki.forward(x, &layout(policy, text.len()), None)
        .into_data()
        .try_to_vec()
        .unwrap()
}

#[test]
fn media_rows_see_the_question_under_mma_only() {
    let device = Device::flex();
    device.seed(3);
    let aki = common::tiny().init(20, &device);
    let pixels = Tensor::<4>::random([1, 3, 12, 12], Distribution::Default, &device);
    let other = [0, 20, 20, 20, 5, 9, 7, 8];
    let changed = |policy| -> Vec<bool> {
        let one = hidden(&aki, &TEXT, pixels.clone(), policy);
        let two = hidden(&aki, &other, pixels.clone(), policy);
        one.chunks(24)
            .zip(two.chunks(24))
            .map(|(a, b)| a != b)
            .collect()
    };
    // Token 5, in the question, was changed: who notices?
    assert_eq!(
        changed(Policy::Causal),
        [false, false, false, false, false, true, true, true]
    );
    assert_eq!(
        changed(Policy::Mma),
        [false, true, true, true, true, true, true, true]
    );
}

#[test]
fn a_row_without_its_padding_gives_the_same() {
    let device = Device::flex();
    device.seed(9);
    let aki = common::tiny().init(20, &device);
    let pixels = Tensor::<4>::random([1, 3, 12, 12], Distribution::Default, &device);
    let alone = hidden(&aki, &TEXT, pixels.clone(), Policy::Mma);
    let mut padded = TEXT.to_vec();
    padded.extend([19, 19]);
    let document = Document {
        tokens: 0..8,
        media: vec![1..4],
        question_end: Some(7),
    };
    let layout = AttentionLayout::from_spans(Policy::Mma, 10, &[vec![document]]).unwrap();
    let x = aki.fuse(ids(&padded, &device), Some(aki.encode(pixels)), &span());
    let with: Vec<f32> = aki
        .forward(x, &layout, None)
        .into_data()
        .try_to_vec()
        .unwrap();
    for (a, b) in alone.iter().zip(&with) {
        assert!((a - b).abs() < 1e-5, "{a} {b}");
    }
    assert!(with.iter().all(|value| value.is_finite()));
}

/// The loss in chunks, whose gradient is worked out by hand, against autodiff over all logits at once;
/// 1,100 labels are three chunks.
#[test]
fn the_loss_in_chunks_is_the_loss() {
    let device = Device::flex().autodiff();
    device.seed(6);
    let aki = common::tiny().init(20, &device);
    let rows = 1100_usize;
    let x_td = Tensor::<2>::random([rows, 24], Distribution::Normal(0.0, 2.0), &device);
    let x_td = x_td.require_grad();
    let labels: Vec<i32> = (0..rows as i32).map(|at| at * 7 % 22).collect();
    let labels = Tensor::<1, Int>::from_data(TensorData::new(labels, [rows]), &device);
    let scores = aki.language().score(x_td.clone(), labels.clone(), 1.0);
    let logits = aki.logits(x_td.clone());
    let likeliest = logits.clone().argmax(1).reshape([rows]);
    let losses = log_softmax(logits, 1)
        .gather(1, labels.unsqueeze_dim(1))
        .neg();
    let near = |a: TensorData, b: TensorData| {
        a.assert_approx_eq::<f32>(&b, Tolerance::rel_abs(1e-4, 1e-4));
    };
    near(
        scores.losses.into_data(),
        losses.clone().reshape([rows]).into_data(),
    );
    scores
        .likeliest
        .into_data()
        .assert_eq(&likeliest.into_data(), true);
    near(
        scores.total.clone().into_data(),
        losses.clone().sum().into_data(),
    );
    // A factor upstream goes through.
    let ours = scores.total.mul_scalar(0.5).backward();
    let theirs = losses.sum().mul_scalar(0.5).backward();
    near(
        x_td.grad(&ours).unwrap().into_data(),
        x_td.grad(&theirs).unwrap().into_data(),
    );
    let (projections, lm) = (aki.projections(), aki.language());
    let norms = |of: &Gradients| weights::gradient_norms(lm, &projections, "", of);
    for ((name, ours), (_, theirs)) in norms(&ours).into_iter().zip(norms(&theirs)) {
        match (ours, theirs) {
            (Some(ours), Some(theirs)) => {
                assert!(
                    (ours - theirs).abs() <= 1e-4 * theirs,
                    "{name}: {ours} {theirs}"
                );
            }
            (ours, theirs) => assert_eq!(ours, theirs, "{name}"),
        }
    }
}

struct Halved;

impl ModuleMapper for Halved {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|weight| weight.cast(FloatDType::F16))
    }
}

/// A hidden state that points to its label so far that the likeliest other token has e^-20 of the
/// probability: less than f16 holds.
#[test]
fn gradients_too_small_for_f16_are_saved_by_their_scale() {
    const SCALE: f64 = (1 << 24) as f64;
    let device = Device::flex().autodiff();
    device.seed(6);
    let aki = common::tiny().init(20, &device);
    let bias = aki.logits(Tensor::zeros([1, 24], &device));
    let head = aki.logits(Tensor::eye(24, &device)) - bias;
    let head = head.transpose().detach();
    let products = head.clone().matmul(head.clone().transpose()).into_data();
    let products: Vec<f32> = products.iter().collect();
    // How much more a row gives with itself than with any other.
    let ahead = |label: usize| {
        let row = &products[label * 22..][..22];
        let others = row.iter().enumerate().filter(|&(at, _)| at != label);
        row[label] - others.fold(f32::MIN, |most, (_, it)| most.max(*it))
    };
    let clearest = (0..22).max_by(|&a, &b| ahead(a).total_cmp(&ahead(b)));
    let label = clearest.expect("a token");
    let x_td = head.slice([label..label + 1, 0..24]);
    let x_td = x_td.mul_scalar(20.0 / ahead(label));
    let labels = Tensor::<1, Int>::from_data([label as i32], &device);
    let gradient = |aki: &Aki, x_td: Tensor<2>, scale: f64| -> Vec<f64> {
        let x_td = x_td.require_grad();
        let scores = aki.language().score(x_td.clone(), labels.clone(), scale);
        assert!(scores.total.clone().into_scalar::<f32>() < 1e-3);
        let gradients = scores.total.backward();
        let gradient = x_td.grad(&gradients).expect("a gradient").into_data();
        gradient.iter::<f64>().map(|it| it / scale).collect()
    };
    let full = gradient(&aki, x_td.clone(), 1.0);
    let (aki, x_td) = (aki.map(&mut Halved), x_td.cast(FloatDType::F16));
    assert_eq!(gradient(&aki, x_td.clone(), 1.0), [0.0; 24]);
    let length = |values: &mut dyn Iterator<Item = f64>| -> f64 {
        values.map(|it| it * it).sum::<f64>().sqrt()
    };
    let half = gradient(&aki, x_td, SCALE);
    let off = length(&mut half.iter().zip(&full).map(|(half, full)| half - full));
    // Logits near 40 are 0.03 apart in f16.
    assert!(off < 0.2 * length(&mut full.iter().copied()), "{off}");
}

#[test]
fn a_frozen_tower_sees_the_same_and_learns_nothing() {
    let device = Device::flex().autodiff();
    device.seed(7);
    let aki = common::tiny().init(20, &device);
    let frozen = aki.clone().freeze_vision();
    let pixels = Tensor::<4>::random([2, 3, 12, 12], Distribution::Default, &device);
    let (trained, still) = (aki.encode(pixels.clone()), frozen.encode(pixels));
    // Without autodiff products have another order of sums.
    let (a, b) = (trained.clone().into_data(), still.clone().into_data());
    a.assert_approx_eq::<f32>(&b, Tolerance::rel_abs(1e-5, 1e-5));
    let learns = |aki: &Aki, gradients: &Gradients| {
        let norms = weights::gradient_norms(aki, &aki.projections(), "", gradients);
        let learns = |prefix: &str| {
            norms
                .iter()
                .any(|(name, norm)| name.starts_with(prefix) && norm.is_some())
        };
        [learns("vision_encoder."), learns("vision_tokenizer.")]
    };
    assert_eq!(learns(&aki, &trained.sum().backward()), [true, true]);
    assert_eq!(learns(&frozen, &still.sum().backward()), [false, true]);
}
