//! What `AdamW` remembers of a parameter's gradients, in 4, 2 or 1 bytes a number.
//!
//! In 8 bits, blocks of 256 numbers share a scale, the largest of their magnitudes. A code `c` of 127
//! levels and a sign (the mean), or of 255 (the mean square), stands for `scale (c / levels)^4`:
//! nearby codes are 2 % apart at the top, and the least is 4e-9 or 2e-10 of the largest, since numbers
//! of one block differ that much. A square that is not 0 never becomes 0: it is divided by.
//!
//! A mean square moves by a thousandth a step, so the nearest code would often be the old one, for
//! ever. A number between two codes becomes the upper one in as many steps of a hundred as it lies
//! hundredths above the lower one: where it lies is held against a sequence that fills 0 to 1 evenly,
//! the multiples of the golden ratio. So there is nothing to draw, and nothing to resume.

use burn::optim::{StateSink, StateSource};
use burn::tensor::{DType, Device, FloatDType, Int, IntDType, Tensor, TensorData};

use crate::config::Moments;

/// Numbers that share a scale.
pub(super) const BLOCK: usize = 256;
/// Codes in a 32-bit integer, which every backend has.
const PACKED: usize = 4;
/// Integers of a block.
pub(super) const WORDS: usize = BLOCK / PACKED;

/// Which of the moments.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// The mean of gradients, of either sign.
    First,
    /// The mean of their squares.
    Second,
}

impl Order {
    /// The code of a block's largest magnitude.
    pub(super) fn levels(self) -> f32 {
        match self {
            Self::First => 127.0,
            Self::Second => 255.0,
        }
    }

    /// What is added to a code so that none is negative.
    pub(super) fn offset(self) -> i32 {
        match self {
            Self::First => 128,
            Self::Second => 0,
        }
    }
}

/// A moment as it is held between steps.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "there are two a parameter")]
pub(super) enum Moment<const D: usize> {
    /// f32 or bf16, in the parameter's shape.
    Plain(Tensor<D>),
    /// 8 bits.
    Blocks {
        /// `[blocks, 64]`; the k-th byte of the j-th integer is the code of the block's number
        /// `64 k + j`.
        codes: Tensor<2, Int>,
        /// `[blocks, 1]`
        scales: Tensor<2>,
    },
}

impl<const D: usize> Moment<D> {
    /// The moment before the first step.
    pub(super) fn zeros(shape: [usize; D], held: Moments, order: Order, device: &Device) -> Self {
        Self::new(Tensor::zeros(shape, (device, DType::F32)), held, order, 0)
    }

    /// Whether it is held so.
    pub(super) fn is_held(&self, as_said: Moments) -> bool {
        match self {
            Self::Plain(values) => match as_said {
                Moments::F32 => values.dtype() == DType::F32,
                Moments::Bf16 => values.dtype() == DType::BF16,
                Moments::EightBit => false,
            },
            Self::Blocks { .. } => as_said == Moments::EightBit,
        }
    }

    /// Holds `values`, which are f32, after that many steps.
    pub(super) fn new(values: Tensor<D>, held: Moments, order: Order, steps: usize) -> Self {
        match held {
            Moments::F32 => Self::Plain(values),
            Moments::Bf16 => Self::Plain(values.cast(FloatDType::BF16)),
            Moments::EightBit => {
                let (codes, scales) = encode(in_blocks(values), order, steps);
                Self::Blocks { codes, scales }
            }
        }
    }

    /// The values in f32, for a parameter of that shape.
    pub(super) fn values(self, order: Order, shape: [usize; D]) -> Tensor<D> {
        match self {
            Self::Plain(values) => values.cast(FloatDType::F32),
            Self::Blocks { codes, scales } => {
                let values = decode(codes, scales, order);
                let (len, padded) = (shape.iter().product(), values.shape().num_elements());
                let flat: Tensor<1> = values.reshape([padded]);
                flat.narrow(0, 0, len).reshape(shape)
            }
        }
    }

    pub(super) fn moved(self, device: &Device) -> Self {
        match self {
            Self::Plain(values) => Self::Plain(values.to_device(device)),
            Self::Blocks { codes, scales } => Self::Blocks {
                codes: codes.to_device(device),
                scales: scales.to_device(device),
            },
        }
    }

    /// Puts it among the tensors of a record.
    pub(super) fn flatten(&self, prefix: &str, name: &str, out: &mut StateSink) {
        match self {
            Self::Plain(values) => out.push_tensor(prefix, name, values.to_data()),
            Self::Blocks { codes, scales } => {
                out.push_tensor(prefix, &format!("{name}.codes"), codes.to_data());
                out.push_tensor(prefix, &format!("{name}.scales"), scales.to_data());
            }
        }
    }

    /// Takes it out of a record, in the types it was put in.
    pub(super) fn unflatten(
        prefix: &str,
        name: &str,
        source: &mut StateSource,
        device: &Device,
    ) -> Option<Self> {
        let mut take = |name: &str| source.take_tensor(prefix, name);
        if let Some(values) = take(name) {
            let dtype = values.dtype();
            return Some(Self::Plain(Tensor::from_data(values, (device, dtype))));
        }
        let codes = take(&format!("{name}.codes"))?;
        let scales = take(&format!("{name}.scales"))?;
        Some(Self::Blocks {
            codes: Tensor::from_data(codes, (device, DType::I32)),
            scales: Tensor::from_data(scales, (device, DType::F32)),
        })
    }
}

/// `[blocks, 256]`, the last one filled up with zeros.
fn in_blocks<const D: usize>(values: Tensor<D>) -> Tensor<2> {
    let (len, device) = (values.shape().num_elements(), values.device());
    let blocks = len.div_ceil(BLOCK);
    let flat: Tensor<1> = values.reshape([len]);
    let flat = match blocks * BLOCK - len {
        0 => flat,
        missing => Tensor::cat(
            vec![flat, Tensor::zeros([missing], (&device, DType::F32))],
            0,
        ),
    };
    flat.reshape([blocks, BLOCK])
}

/// Where in 0 to 1 each number of a block rounds up after that many steps.
pub(super) fn thresholds(steps: usize) -> [f32; BLOCK] {
    // The golden ratio over the steps, and the square of the plastic number, its like for two
    // dimensions, over a block: or all numbers of a tensor would round up in the same step.
    std::array::from_fn(|at| {
        (steps as f64 * 0.618_033_988_749_894_9 + at as f64 * 0.569_840_290_998_053_3).fract()
            as f32
    })
}

/// Codes and scales of `[blocks, 256]` numbers.
fn encode(values: Tensor<2>, order: Order, steps: usize) -> (Tensor<2, Int>, Tensor<2>) {
    let (levels, device) = (order.levels(), values.device());
    let [blocks, _] = values.dims();
    let scales = values.clone().max_abs_dim(1);
    // A block of zeros is not to be divided by 0.
    let values = values / scales.clone().clamp_min(f32::MIN_POSITIVE);
    let place = values.clone().abs().mul_scalar(fourth(levels));
    let lower = place.clone().sqrt().sqrt().floor();
    let at = |code: Tensor<2>| code.square().square();
    let (from, to) = (at(lower.clone()), at(lower.clone().add_scalar(1.0)));
    let share = (place - from.clone()) / (to - from);
    let dither = TensorData::new(thresholds(steps).to_vec(), [1, BLOCK]);
    let dither = Tensor::<2>::from_data(dither, (&device, DType::F32));
    let codes = (lower + (share + dither)).clamp_max(levels);
    let codes = match order {
        Order::First => codes * values.sign(),
        Order::Second => codes.max_pair(values.sign()),
    };
    // Towards 0.
    let codes = codes.cast(IntDType::I32).add_scalar(order.offset());
    let part = |at: usize| {
        let part = codes
            .clone()
            .slice([0..blocks, at * WORDS..(at + 1) * WORDS]);
        part.bitwise_left_shift_scalar(8 * at as i32)
    };
    let packed = (1..PACKED).fold(part(0), |packed, at| packed.bitwise_or(part(at)));
    (packed, scales)
}

/// The numbers again, `[blocks, 256]`.
fn decode(codes: Tensor<2, Int>, scales: Tensor<2>, order: Order) -> Tensor<2> {
    let part = |at: usize| {
        let shifted = codes.clone().bitwise_right_shift_scalar(8 * at as i32);
        shifted.bitwise_and_scalar(255)
    };
    let codes = Tensor::cat((0..PACKED).map(part).collect(), 1).sub_scalar(order.offset());
    let roots = codes
        .cast(FloatDType::F32)
        .mul_scalar(order.levels().recip());
    // With the sign of the root.
    let fourths = roots.clone() * roots.clone().abs() * roots.square();
    fourths * scales
}

pub(super) fn fourth(x: f32) -> f32 {
    (x * x) * (x * x)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: Vec<f32>) -> Tensor<1> {
        let len = values.len();
        let data = TensorData::new(values, [len]);
        Tensor::from_data(data, (&Device::flex(), DType::F32))
    }

    fn numbers(values: Tensor<1>) -> Vec<f32> {
        values.into_data().iter().collect()
    }

    /// What becomes of `values` when they are held in 8 bits.
    fn held(values: &[f32], order: Order, steps: usize) -> Vec<f32> {
        let moment = Moment::new(row(values.to_vec()), Moments::EightBit, order, steps);
        numbers(moment.values(order, [values.len()]))
    }

    /// From 1 down to 1e-6, in both signs, not a whole number of blocks.
    fn spread() -> Vec<f32> {
        let value = |at: u32| {
            let size = 10_f32.powf(-6.0 * (at % 97) as f32 / 96.0);
            if at.is_multiple_of(2) { size } else { -size }
        };
        (0..700).map(value).collect()
    }

    #[test]
    fn a_number_becomes_one_of_its_two_neighbours() {
        let values = spread();
        for (order, levels) in [(Order::First, 127.0_f32), (Order::Second, 255.0)] {
            let values: Vec<f32> = match order {
                Order::First => values.clone(),
                Order::Second => values.iter().map(|x| x.abs()).collect(),
            };
            for steps in 1..20 {
                for (value, held) in values.iter().zip(held(&values, order, steps)) {
                    // A step of one in the code, about the value; one more for the least of them.
                    let root = value.abs().powf(0.25) * levels;
                    let gap = ((root + 1.0).powi(4) - root.powi(4)) / levels.powi(4);
                    let error = (value - held).abs();
                    assert!(error <= gap * 1.001, "{value} became {held}");
                    assert!(order == Order::First || held > 0.0);
                }
            }
        }
        assert_eq!(held(&[0.0; 300], Order::Second, 1), vec![0.0; 300]);
        assert_eq!(held(&[0.0; 3], Order::First, 1), vec![0.0; 3]);
    }

    #[test]
    fn the_mean_over_steps_is_the_number() {
        let values = spread();
        let mut sums = vec![0.0_f64; values.len()];
        for steps in 1..=1000 {
            for (sum, held) in sums.iter_mut().zip(held(&values, Order::First, steps)) {
                *sum += f64::from(held);
            }
        }
        for (value, sum) in values.iter().zip(sums) {
            let gap = 4.0 * f64::from(value.abs()).powf(0.75) / 127.0;
            let error = (sum / 1000.0 - f64::from(*value)).abs();
            assert!(error < 0.01 * gap + 1e-10, "{value}: {}", sum / 1000.0);
        }
    }

    #[test]
    fn a_mean_that_moves_by_a_thousandth_a_step_arrives() {
        // From 1 to 0.25, beside a number that keeps the scale.
        let mut values = [1.0, 1.0];
        let mut seen = 0.0;
        for steps in 1..=8000 {
            values = [0.999 * values[0] + 0.001 * 0.25, 1.0];
            let held = held(&values, Order::Second, steps);
            values = [held[0], held[1]];
            if steps > 4000 {
                seen += f64::from(values[0]) / 4000.0;
            }
        }
        assert!((seen - 0.25).abs() < 0.005, "{seen}");
        assert_eq!(values[1].to_bits(), 1.0_f32.to_bits());
    }

    #[test]
    fn a_number_takes_a_byte() {
        let moment = Moment::new(row(spread()), Moments::EightBit, Order::Second, 1);
        let Moment::Blocks { codes, scales } = moment else {
            panic!("8 bits are held in blocks");
        };
        assert_eq!((codes.dtype(), codes.dims()), (DType::I32, [3, 64]));
        assert_eq!((scales.dtype(), scales.dims()), (DType::F32, [3, 1]));
    }
}
