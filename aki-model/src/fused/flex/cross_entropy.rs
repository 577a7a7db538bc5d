//! Cross entropy of rows of logits, `log(sum(e^x)) - x[label]`, and its gradient, `softmax(x)` less 1 at
//! the label.

use burn::tensor::{DType, Int, Tensor, TensorData};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::{LANES, exp, rows_of_task, total};
use crate::attention::flex::softmax::row_max;
use crate::fused::CrossEntropy;

/// As [`cross_entropy`](crate::fused::cross_entropy), of logits in f32, which become their gradients.
pub(in crate::fused) fn cross_entropy(
    logits: Vec<Tensor<2>>,
    labels: Tensor<1, Int>,
    scale: Option<f64>,
) -> CrossEntropy {
    let device = labels.device();
    let widths: Vec<usize> = logits.iter().map(|part| part.dims()[1]).collect();
    let words = widths.iter().sum();
    // Without a copy: nothing else has them.
    let mut parts: Vec<TensorData> = logits.into_iter().map(Tensor::into_data).collect();
    let labels = labels.into_data();
    let rows = labels.iter::<i64>().map(|label| Row {
        parts: Vec::with_capacity(widths.len()),
        label: usize::try_from(label).expect("a label is no negative number"),
        scale: scale.map(|scale| scale as f32),
    });
    let mut rows: Vec<Row> = rows.collect();
    for (part, &width) in parts.iter_mut().zip(&widths) {
        let part = part.as_mut_slice::<f32>().expect("logits are f32");
        for (row, part) in rows.iter_mut().zip(part.chunks_exact_mut(width)) {
            row.parts.push(part);
        }
    }
    let rows = rows.into_par_iter().with_min_len(rows_of_task(words));
    let scored = rows.map(|row| Arch::new().dispatch(row));
    let (losses, likeliest): (Vec<f32>, Vec<i32>) = scored.unzip();
    let count = [losses.len()];
    let gradients = scale.map(|_| parts).unwrap_or_default().into_iter();
    CrossEntropy {
        losses: Tensor::from_data(TensorData::new(losses, count), (&device, DType::F32)),
        likeliest: Tensor::from_data(TensorData::new(likeliest, count), &device),
        gradients: gradients
            .map(|part| Tensor::from_data(part, (&device, DType::F32)))
            .collect(),
    }
}

/// A row's logits, in the parts in which the head gives them.
struct Row<'a> {
    parts: Vec<&'a mut [f32]>,
    label: usize,
    scale: Option<f32>,
}

/// The loss and the likeliest word, the first of equals. The logits become their gradient times the scale.
impl WithSimd for Row<'_> {
    type Output = (f32, i32);

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> (f32, i32) {
        let Self {
            mut parts,
            label,
            scale,
        } = self;
        let (mut highest, mut likeliest) = (f32::NEG_INFINITY, 0);
        let (mut logit, mut start) = (None, 0);
        for part in &parts {
            let high = row_max(part);
            if high > highest {
                highest = high;
                likeliest = start + first(part, high);
            }
            logit = logit.or_else(|| part.get(label.checked_sub(start)?).copied());
            start += part.len();
        }
        let logit = logit.expect("a label is a word of the vocabulary");
        let mut sum = 0.0;
        for part in &mut parts {
            sum += exp_row(part, highest);
        }
        if let Some(scale) = scale {
            let (factor, mut start) = (scale / sum, 0);
            for part in parts {
                for value in part.iter_mut() {
                    *value *= factor;
                }
                if let Some(at) = label.checked_sub(start)
                    && let Some(value) = part.get_mut(at)
                {
                    *value -= scale;
                }
                start += part.len();
            }
        }
        (sum.ln() + (highest - logit), likeliest as i32)
    }
}

/// Where the highest value of a row comes first.
#[inline(always)]
fn first(row: &[f32], highest: f32) -> usize {
    let (lanes, rest) = row.as_chunks::<LANES>();
    for (at, lanes) in lanes.iter().enumerate() {
        let mut found = false;
        for value in lanes {
            found |= *value >= highest;
        }
        if found {
            let within = lanes.iter().position(|value| *value >= highest);
            return at * LANES + within.unwrap_or_default();
        }
    }
    let within = rest.iter().position(|value| *value >= highest);
    row.len() - rest.len() + within.unwrap_or_default()
}

/// Replaces each value by `e^(value - highest)` and gives their sum.
#[inline(always)]
fn exp_row(row: &mut [f32], highest: f32) -> f32 {
    let mut sums = [0.0; LANES];
    let (lanes, rest) = row.as_chunks_mut::<LANES>();
    for lanes in lanes {
        for (sum, value) in sums.iter_mut().zip(lanes) {
            *value = exp(*value - highest);
            *sum += *value;
        }
    }
    for (sum, value) in sums.iter_mut().zip(rest) {
        *value = exp(*value - highest);
        *sum += *value;
    }
    total(sums)
}
