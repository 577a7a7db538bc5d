//! Cross entropy in chunks: the logits of a whole batch never exist at once.
//!
//! A vocabulary of 32,000 makes 128 kB of logits a token in f32, and autodiff would keep them three
//! times over. So the gradient is worked out by hand, chunk by chunk, while the logits of the chunk are
//! there: with `p = softmax(x W^T + b)` and the label's one-hot row `y`, the sum of the cross entropies
//! has the gradient `d = p - y` in the logits, `d W` in `x`, `d^T x` in `W` and the sum of `d` in `b`. The
//! last two are worked out for the parts of the head that are trained.

use burn::tensor::{FloatDType, Int, Tensor};

use super::LanguageModel;
use super::carry::carry;
use super::embedding::HeadPart;
use crate::fused::{CrossEntropy, cross_entropy};

/// Rows whose logits exist at a time: 64 MB of them with 32,000 words.
const CHUNK: usize = 512;

/// Cross entropies and the likeliest tokens.
#[derive(Clone, Debug)]
pub struct Scores {
    /// Cross entropy of each label, `[labels]`, f32, without a gradient.
    pub losses: Tensor<1>,
    /// The likeliest token in place of each label, `[labels]`.
    pub likeliest: Tensor<1, Int>,
    /// The sum of the losses, `[1]`, f32. Its gradient is that of the network, times
    /// the scale.
    pub total: Tensor<1>,
}

/// Sums over the chunks, for one part.
struct PartGradient {
    weight: Tensor<2>,
    bias: Tensor<1>,
}

impl LanguageModel {
    /// Cross entropy and the likeliest token of normalised hidden states.
    ///
    /// Gradients come times `scale`, losses do not. It goes in where the gradients begin, at the logits
    /// in f32: those of f16 that are too small for f16 without it are too small in the logits first.
    ///
    /// # Shapes
    ///
    /// - `x_td`: `[labels, hidden]`
    /// - `labels`: the token to predict from each
    ///
    /// # Panics
    ///
    /// If there are no labels.
    pub fn score(&self, x_td: Tensor<2>, labels: Tensor<1, Int>, scale: f64) -> Scores {
        let parts = self.lm_head.parts(&self.model.embed_tokens);
        let (tracked, x) = (x_td.device().is_autodiff(), x_td.clone().inner());
        let plain: Vec<HeadPart> = parts
            .iter()
            .map(|part| part.inner(tracked.then_some(x.dtype())))
            .collect();
        let [rows, hidden] = x.dims();
        let labels = labels.inner();

        let (mut losses, mut likeliest, mut x_gradients) = (vec![], vec![], vec![]);
        let mut gradients: Vec<Option<PartGradient>> = parts.iter().map(|_| None).collect();
        for start in (0..rows).step_by(CHUNK) {
            let end = (start + CHUNK).min(rows);
            let x = x.clone().slice([start..end, 0..hidden]);
            let labels = labels.clone().slice([start..end]);
            let logits: Vec<_> = plain.iter().map(|part| part.logits(x.clone())).collect();
            let CrossEntropy {
                losses: of_chunk,
                likeliest: words,
                gradients: d,
            } = cross_entropy(logits, labels, tracked.then_some(scale));
            losses.push(of_chunk);
            likeliest.push(words);
            if tracked {
                x_gradients.push(add_gradients(&plain, x, d, &mut gradients));
            }
        }
        let losses = Tensor::cat(losses, 0);
        let total = losses.clone().sum();
        Scores {
            losses,
            likeliest: Tensor::cat(likeliest, 0),
            total: if tracked {
                let of_parts = parts.into_iter().zip(gradients);
                let of_parts = of_parts
                    .filter_map(|(part, gradient)| Some(carry_part(part, gradient?)))
                    .reduce(|a, b| a + b);
                let of_x = carry(x_td, Tensor::cat(x_gradients, 0));
                let carried = match of_parts {
                    Some(of_parts) => of_x + of_parts,
                    None => of_x,
                };
                Tensor::from_inner(total) + carried
            } else {
                total
            },
        }
    }
}

/// See [`carry`].
fn carry_part(part: HeadPart, gradient: PartGradient) -> Tensor<1> {
    let weight = carry(part.weight(), gradient.weight);
    match part.bias {
        Some(bias) => weight + carry(bias, gradient.bias),
        None => weight,
    }
}

/// Adds a chunk's gradients to those of the parts, in f32; returns the gradient of `x`. `d` are those of
/// each part's logits.
fn add_gradients(
    parts: &[HeadPart],
    x: Tensor<2>,
    d: Vec<Tensor<2>>,
    sums: &mut [Option<PartGradient>],
) -> Tensor<2> {
    let mut x_gradient: Option<Tensor<2>> = None;
    for ((part, sum), in_logits) in parts.iter().zip(sums).zip(d) {
        let d = in_logits.clone().cast(x.dtype());
        if part.trained {
            let bias = in_logits.sum_dim(0).squeeze_dim::<1>(0);
            let weight = d
                .clone()
                .transpose()
                .matmul(x.clone())
                .cast(FloatDType::F32);
            *sum = Some(match sum.take() {
                Some(sum) => PartGradient {
                    weight: sum.weight + weight,
                    bias: sum.bias + bias,
                },
                None => PartGradient { weight, bias },
            });
        }
        let through = d.matmul(part.weight());
        x_gradient = Some(match x_gradient {
            Some(sum) => sum + through,
            None => through,
        });
    }
    x_gradient.expect("a head has a part")
}
