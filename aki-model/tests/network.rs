//! The whole network on tiny random weights.

mod common;

use aki_model::attention::{AttentionLayout, Document, Policy};
use aki_model::generate::{Prompt, Sampler, Sampling, generate};
use aki_model::{Aki, MediaSpan};
use burn::tensor::{Device, Distribution, Int, Tensor, TensorData};

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
fn cached_decoding_gives_what_the_whole_sequence_gives() {
    let device = Device::flex();
    device.seed(4);
    let aki = common::tiny().init(20, &device);
    let pixels = Tensor::<4>::random([1, 3, 12, 12], Distribution::Default, &device);
    let prompt = Prompt {
        input_ids: TEXT.to_vec(),
        pixels: Some(pixels.clone()),
        spans: span(),
        layout: layout(Policy::Mma, 8),
    };
    let mut streamed = Vec::new();
    let mut sampler = Sampler::new(Sampling::default());
    let answer = generate(&aki, prompt, &[], 6, &mut sampler, |id| {
        streamed.push(id);
        true
    });
    assert_eq!(answer, streamed);

    let mut text = TEXT.to_vec();
    for &id in &answer {
        let x = aki.fuse(
            ids(&text, &device),
            Some(aki.encode(pixels.clone())),
            &span(),
        );
        let hidden = aki.forward(x, &layout(Policy::Mma, text.len()), None);
        let last = hidden
            .slice([0..1, text.len() - 1..text.len(), 0..24])
            .reshape([1, 24]);
        let best = aki.logits(last).argmax(1).into_scalar::<i32>();
        assert_eq!(best, id as i32, "after {text:?}");
        text.push(id);
    }
}

/// Under concentric attention a picture takes fewer places than it has tokens, and decoding goes on
/// from there: each token decoded is the likeliest after a whole pass over what stands before it.
#[test]
fn decoding_goes_on_at_the_right_place() {
    let device = Device::flex();
    device.seed(5);
    let mut config = common::tiny();
    config.resampler.num_latents = 4;
    let aki = config.init(20, &device);
    let pixels = Tensor::<4>::random([1, 3, 12, 12], Distribution::Default, &device);
    let spans = vec![MediaSpan {
        row: 0,
        tokens: 1..5,
        picture: 0,
    }];
    let rings = |len: usize| {
        let document = Document {
            tokens: 0..len,
            media: vec![1..5],
            question_end: Some(8),
        };
        AttentionLayout::from_spans(Policy::Cca, len, &[vec![document]]).unwrap()
    };
    let mut text = vec![0, 20, 20, 20, 20, 5, 6, 7, 8];
    assert_eq!(rings(text.len()).positions(), [0, 1, 1, 1, 1, 2, 3, 4, 5]);
    let prompt = Prompt {
        input_ids: text.clone(),
        pixels: Some(pixels.clone()),
        spans: spans.clone(),
        layout: rings(text.len()),
    };
    let mut sampler = Sampler::new(Sampling::default());
    let answer = generate(&aki, prompt, &[], 5, &mut sampler, |_| true);
    for id in answer {
        let x = aki.fuse(
            ids(&text, &device),
            Some(aki.encode(pixels.clone())),
            &spans,
        );
        let hidden = aki.forward(x, &rings(text.len()), None);
        let [_, len, width] = hidden.dims();
        let last = hidden
            .slice([0..1, len - 1..len, 0..width])
            .reshape([1, width]);
        let best = aki.logits(last).argmax(1).into_scalar::<i32>();
        assert_eq!(best, id as i32, "after {text:?}");
        text.push(id);
    }
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
