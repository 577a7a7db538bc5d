//! Attention that is looked at is the attention that the network works with.

mod common;

use std::ops::Range;

use aki_model::attention::{AttentionLayout, Document, Policy};
use aki_model::generate::Prompt;
use aki_model::projector::ProjectorConfig;
use aki_model::{Aki, MediaSpan};
use burn::tensor::{Device, Distribution, Tensor};

const LEN: usize = 12;
/// Two pictures of three media tokens; the question ends at 10, the answer is two tokens.
const MEDIA: [Range<usize>; 2] = [1..4, 5..8];
const TEXT: [usize; 5] = [0, 4, 8, 9, 11];

fn layout(policy: Policy) -> AttentionLayout {
    let document = Document {
        tokens: 0..LEN,
        media: MEDIA.to_vec(),
        question_end: Some(10),
    };
    AttentionLayout::from_spans(policy, LEN, &[vec![document]]).unwrap()
}

fn prompt(policy: Policy, device: &Device) -> Prompt {
    Prompt {
        input_ids: (0..LEN as u32).map(|at| at * 7 % 20).collect(),
        pixels: Some(Tensor::random(
            [2, 3, 12, 12],
            Distribution::Normal(0.0, 1.0),
            device,
        )),
        spans: (0..)
            .zip(MEDIA)
            .map(|(picture, tokens)| MediaSpan {
                row: 0,
                tokens,
                picture,
            })
            .collect(),
        layout: layout(policy),
    }
}

fn network(device: &Device) -> Aki {
    device.seed(4);
    common::tiny().init(20, device)
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

#[test]
fn a_row_looks_at_what_its_rule_shows_and_all_of_it_is_one() {
    let device = Device::flex();
    let aki = network(&device);
    let media: Vec<usize> = MEDIA.into_iter().flatten().collect();
    // All places, media too, many times over: more rows than are held at a time.
    let all: Vec<usize> = (0..15 * LEN).map(|at| at % LEN).collect();
    for policy in [Policy::Causal, Policy::Mma] {
        let layout = layout(policy);
        let views = aki.view(&prompt(policy, &device), &all, &[0, 1]);
        assert_eq!(views.iter().map(|it| it.layer).collect::<Vec<_>>(), [0, 1]);
        for view in views {
            assert_eq!(view.of_media.dims(), [4, all.len(), media.len()]);
            let (of_media, of_text) = (values(view.of_media), values(view.of_text));
            for head in 0..4 {
                for (m, &medium) in media.iter().enumerate() {
                    let mut sum = 0.0;
                    for (t, &text) in all.iter().enumerate() {
                        let at = (head * all.len() + t) * media.len() + m;
                        let pairs = [(medium, text, of_media[at]), (text, medium, of_text[at])];
                        for (row, key, probability) in pairs {
                            assert_eq!(layout.visible(0, row, key), probability > 0.0);
                        }
                        sum += if t < LEN { of_media[at] } else { 0.0 };
                    }
                    assert!((sum - 1.0).abs() < 1e-5, "{sum}");
                }
            }
        }
    }
}

/// The question's columns of the pictures' rows are what MMA adds, and only what stands behind a picture.
#[test]
fn pictures_look_at_the_question_under_mma_only() {
    let device = Device::flex();
    let aki = network(&device);
    let of_media = |policy| {
        let mut views = aki.view(&prompt(policy, &device), &TEXT, &[1]);
        values(views.remove(0).of_media.sum_dim(0).squeeze_dim::<2>(0))
    };
    // Rows are text tokens 0, 4, 8, 9 and 11; columns the first picture's media tokens, then the second's.
    let some = |values: Vec<f32>| -> Vec<bool> { values.iter().map(|&it| it != 0.0).collect() };
    let rows = |rows: [[bool; 2]; 5]| rows.map(|[a, b]| [a, a, a, b, b, b]).concat();
    let (yes, no) = ([true; 2], [false; 2]);
    let between = [false, true];
    assert_eq!(
        some(of_media(Policy::Causal)),
        rows([yes, between, no, no, no])
    );
    assert_eq!(some(of_media(Policy::Mma)), rows([yes, yes, yes, yes, no]));
}

#[test]
fn media_tokens_come_from_patches() {
    let device = Device::flex();
    let pixels = || Tensor::<4>::random([2, 3, 12, 12], Distribution::Default, &device);
    let sources = network(&device).sources(pixels());
    assert_eq!(sources.dims(), [2, 3, 9]);
    for sum in values(sources.sum_dim(2)) {
        assert!((sum - 1.0).abs() < 1e-5, "{sum}");
    }
    let mut config = common::tiny();
    config.resampler = None;
    config.projector = Some(ProjectorConfig { hidden_size: 8 });
    let sources = config.init(20, &device).sources(pixels());
    let own = Tensor::<2>::eye(9, &device);
    for picture in 0..2 {
        let found = sources.clone().narrow(0, picture, 1).squeeze_dim::<2>(0);
        found.into_data().assert_eq(&own.clone().into_data(), true);
    }
}
