//! A step of `AdamW` on the CPU in one pass over the numbers, a block of 256 at a time.

use burn::tensor::{DType, Tensor, TensorData, bf16};
use rayon::prelude::*;

use super::adamw::Scalars;
use super::moments::{BLOCK, Moment, Order, WORDS, fourth, thresholds};
use crate::config::Moments;

/// Blocks that make a task worth its while.
const TASK: usize = 64;

/// The weights, which are f32, and the moments, which are held as `held` says, after a step.
pub(super) fn step<const D: usize>(
    scalars: Scalars,
    held: Moments,
    weight: Tensor<D>,
    grad: Tensor<D>,
    moments: [Moment<D>; 2],
) -> (Tensor<D>, [Moment<D>; 2]) {
    let device = weight.device();
    // Without a copy, where nothing else has the tensor.
    let (mut weight, grad) = (weight.into_data(), grad.into_data());
    let mut moments = moments.map(|moment| match moment {
        Moment::Plain(values) => (values.into_data(), None),
        Moment::Blocks { codes, scales } => (codes.into_data(), Some(scales.into_data())),
    });
    {
        let (weight, grad) = (slice::<f32>(&mut weight), grad.as_slice::<f32>());
        let grad = grad.expect("gradients were made f32");
        let [(first, first_scales), (second, second_scales)] = &mut moments;
        match held {
            Moments::F32 => {
                let first = slice::<f32>(first).par_chunks_mut(BLOCK);
                let second = slice::<f32>(second).par_chunks_mut(BLOCK);
                walk(scalars, weight, grad, first, second);
            }
            Moments::Bf16 => {
                let first = slice::<bf16>(first).par_chunks_mut(BLOCK);
                let second = slice::<bf16>(second).par_chunks_mut(BLOCK);
                walk(scalars, weight, grad, first, second);
            }
            Moments::EightBit => {
                let codes = [Order::First, Order::Second].map(Codes::new);
                let thresholds = thresholds(scalars.steps);
                let first = eights(first, first_scales, &codes[0], &thresholds);
                let second = eights(second, second_scales, &codes[1], &thresholds);
                walk(scalars, weight, grad, first, second);
            }
        }
    }
    let moments = moments.map(|(data, scales)| match scales {
        None => {
            let dtype = data.dtype();
            Moment::Plain(Tensor::from_data(data, (&device, dtype)))
        }
        Some(scales) => Moment::Blocks {
            codes: Tensor::from_data(data, (&device, DType::I32)),
            scales: Tensor::from_data(scales, (&device, DType::F32)),
        },
    });
    (Tensor::from_data(weight, (&device, DType::F32)), moments)
}

fn slice<E: burn::tensor::Element>(data: &mut TensorData) -> &mut [E] {
    data.as_mut_slice().expect("its type was looked at")
}

/// A block of a moment where it is kept.
trait Block: Send {
    fn read(&self, values: &mut [f32]);
    fn write(&mut self, values: &[f32]);
}

fn walk<A: Block, B: Block>(
    scalars: Scalars,
    weight: &mut [f32],
    grad: &[f32],
    first: impl IndexedParallelIterator<Item = A>,
    second: impl IndexedParallelIterator<Item = B>,
) {
    let weights = weight.par_chunks_mut(BLOCK).zip(grad.par_chunks(BLOCK));
    let moments = first.zip(second);
    let blocks = weights.zip(moments).with_min_len(TASK);
    blocks.for_each(|((weight, grad), (mut first, mut second))| {
        let len = weight.len();
        let (mut firsts, mut seconds) = ([0.0; BLOCK], [0.0; BLOCK]);
        first.read(&mut firsts[..len]);
        second.read(&mut seconds[..len]);
        update(
            scalars,
            weight,
            grad,
            &mut firsts[..len],
            &mut seconds[..len],
        );
        first.write(&firsts[..len]);
        second.write(&seconds[..len]);
    });
}

fn update(
    scalars: Scalars,
    weight: &mut [f32],
    grad: &[f32],
    first: &mut [f32],
    second: &mut [f32],
) {
    let Scalars {
        kept,
        betas: [of_first, of_second],
        root,
        epsilon,
        rate,
        ..
    } = scalars;
    let moments = first.iter_mut().zip(second);
    for ((weight, &grad), (first, second)) in weight.iter_mut().zip(grad).zip(moments) {
        *first = *first * of_first[0] + grad * of_first[1];
        *second = *second * of_second[0] + grad * grad * of_second[1];
        let change = *first / (second.sqrt() * root + epsilon);
        *weight = *weight * kept - change * rate;
    }
}

impl Block for &mut [f32] {
    fn read(&self, values: &mut [f32]) {
        values.copy_from_slice(self);
    }

    fn write(&mut self, values: &[f32]) {
        self.copy_from_slice(values);
    }
}

impl Block for &mut [bf16] {
    fn read(&self, values: &mut [f32]) {
        for (value, held) in values.iter_mut().zip(self.iter()) {
            *value = held.to_f32();
        }
    }

    fn write(&mut self, values: &[f32]) {
        for (held, value) in self.iter_mut().zip(values) {
            *held = bf16::from_f32(*value);
        }
    }
}

/// What the codes of a moment stand for, without the scale.
struct Codes {
    order: Order,
    values: [f32; 256],
}

impl Codes {
    fn new(order: Order) -> Self {
        let values = std::array::from_fn(|code| {
            let root = (code as i32 - order.offset()) as f32 * order.levels().recip();
            root * root.abs() * (root * root)
        });
        Self { order, values }
    }
}

/// A block in 8 bits; [`moments`](super::moments) says how.
struct Eight<'a> {
    words: &'a mut [i32],
    scale: &'a mut f32,
    codes: &'a Codes,
    thresholds: &'a [f32; BLOCK],
}

fn eights<'a>(
    words: &'a mut TensorData,
    scales: &'a mut Option<TensorData>,
    codes: &'a Codes,
    thresholds: &'a [f32; BLOCK],
) -> impl IndexedParallelIterator<Item = Eight<'a>> {
    let scales = scales.as_mut().expect("codes have scales");
    let blocks = slice::<i32>(words).par_chunks_mut(WORDS);
    let blocks = blocks.zip(slice::<f32>(scales));
    blocks.map(move |(words, scale)| Eight {
        words,
        scale,
        codes,
        thresholds,
    })
}

impl Block for Eight<'_> {
    fn read(&self, values: &mut [f32]) {
        for (part, values) in values.chunks_mut(WORDS).enumerate() {
            for (value, word) in values.iter_mut().zip(self.words.iter()) {
                let code = word >> (8 * part) & 255;
                *value = self.codes.values[code as usize] * *self.scale;
            }
        }
    }

    fn write(&mut self, values: &[f32]) {
        let order = self.codes.order;
        let (levels, offset) = (order.levels(), order.offset());
        let larger = |largest: f32, value: &f32| match value.abs() {
            value if value > largest => value,
            _ => largest,
        };
        *self.scale = values.iter().fold(0.0, larger);
        let (most, divisor) = (fourth(levels), self.scale.max(f32::MIN_POSITIVE));
        let mut codes = [offset; BLOCK];
        let each = codes.iter_mut().zip(values).zip(self.thresholds);
        for ((code, value), threshold) in each {
            let value = value / divisor;
            let place = value.abs() * most;
            // Towards 0, which for these is down.
            let lower = place.sqrt().sqrt() as i32 as f32;
            let (from, to) = (fourth(lower), fourth(lower + 1.0));
            let upper = lower + ((place - from) / (to - from) + threshold);
            let upper = if upper > levels { levels } else { upper };
            let sign = match value {
                value if value > 0.0 => 1.0,
                value if value < 0.0 => -1.0,
                _ => 0.0,
            };
            let upper = match order {
                Order::First => upper * sign,
                Order::Second if upper < sign => sign,
                Order::Second => upper,
            };
            *code = upper as i32 + offset;
        }
        self.words.fill(0);
        for (part, codes) in codes.chunks(WORDS).enumerate() {
            for (word, code) in self.words.iter_mut().zip(codes) {
                *word |= code << (8 * part);
            }
        }
    }
}
