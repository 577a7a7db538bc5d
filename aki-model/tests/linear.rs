//! Linear layers against the same sums in f64: any dtype, number of rows and order of the weights.

use aki_model::{linear, project};
use burn::nn::LinearConfig;
use burn::tensor::{Device, FloatDType, Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn random<const D: usize>(shape: [usize; D], rng: &mut ChaCha8Rng) -> TensorData {
    let values: Vec<f32> = (0..shape.iter().product())
        .map(|_| rng.random_range(-1.0..1.0))
        .collect();
    TensorData::new(values, shape)
}

fn f64s<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    let data = tensor.into_data().convert::<f64>();
    data.try_to_vec().unwrap()
}

/// How a weight `[from, to]` may lie in memory.
#[derive(Clone, Copy, Debug)]
enum Order {
    InputsFirst,
    OutputsFirst,
    PartOfMore,
    Backward,
}

fn weight(
    order: Order,
    from: usize,
    to: usize,
    rng: &mut ChaCha8Rng,
    dtype: FloatDType,
) -> Tensor<2> {
    let device = Device::flex();
    let mut stored = |shape| Tensor::<2>::from_data(random(shape, rng), &device).cast(dtype);
    match order {
        Order::InputsFirst => stored([from, to]),
        Order::OutputsFirst => stored([to, from]).transpose(),
        Order::PartOfMore => stored([to + 5, from])
            .slice([3..to + 3, 0..from])
            .transpose(),
        Order::Backward => stored([from, to]).flip([1]),
    }
}

#[test]
fn sums_are_right_to_rounding() {
    let device = Device::flex();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let orders = [
        Order::InputsFirst,
        Order::OutputsFirst,
        Order::PartOfMore,
        Order::Backward,
    ];
    for (from, to) in [(1, 1), (16, 3), (72, 200), (333, 97), (1100, 1030)] {
        for rows in [1, 2, 3, 4, 5, 8, 9, 40] {
            for (dtype, unit) in [
                (FloatDType::F32, 6e-8),
                (FloatDType::F16, 4.9e-4),
                (FloatDType::BF16, 3.9e-3),
            ] {
                let order = orders[(from + rows) % 4];
                let weight = weight(order, from, to, &mut rng, dtype);
                let x = Tensor::<2>::from_data(random([rows, from], &mut rng), &device).cast(dtype);
                let y = f64s(project(x.clone(), weight.clone(), None));
                let (x, weight) = (f64s(x), f64s(weight));
                for (at, y) in y.iter().enumerate() {
                    let (row, output) = (at / to, at % to);
                    let terms = (0..from).map(|k| x[row * from + k] * weight[k * to + output]);
                    let (sum, size) = terms.fold((0.0, 0.0), |(sum, size), term| {
                        (sum + term, size + f64::abs(term))
                    });
                    // The sums are f32's whatever the dtype; the result is rounded once.
                    let allowed = unit * f64::abs(sum) + 6e-8 * 16.0 * size + 1e-7;
                    assert!(
                        (y - sum).abs() <= allowed,
                        "{dtype:?} {order:?} {rows} x {from} x {to}: {y} is not {sum}"
                    );
                }
            }
        }
    }
}

/// Shapes, biases and gradients are those of Burn's layer, with few rows and with many.
#[test]
fn a_layer_is_what_burn_makes_of_it() {
    let device = Device::flex();
    device.seed(1);
    for device in [device.clone(), device.autodiff()] {
        let layer = LinearConfig::new(24, 20).init(&device);
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        for len in [3, 150] {
            let x = Tensor::<3>::from_data(random([2, len, 24], &mut rng), &device);
            let (y, expected) = (linear(x.clone(), &layer), layer.forward(x));
            assert_eq!(y.dims(), [2, len, 20]);
            let off = (y.clone() - expected.clone()).abs().max();
            assert!(off.into_scalar::<f32>() < 1e-5);
            if device.is_autodiff() {
                let gradient = |y: Tensor<3>| {
                    let gradients = y.square().sum().backward();
                    layer.weight.val().grad(&gradients).expect("a gradient")
                };
                let off = (gradient(y) - gradient(expected)).abs().max();
                assert!(off.into_scalar::<f32>() < 1e-3);
            }
        }
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let device = Device::flex();
    for order in [Order::InputsFirst, Order::OutputsFirst] {
        for (rows, dtype) in [
            (1, FloatDType::F32),
            (5, FloatDType::BF16),
            (40, FloatDType::F16),
        ] {
            let run = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
                pool.build().unwrap().install(|| {
                    let mut rng = ChaCha8Rng::seed_from_u64(3);
                    let weight = weight(order, 700, 900, &mut rng, dtype);
                    let x = Tensor::<2>::from_data(random([rows, 700], &mut rng), &device);
                    f64s(project(x.cast(dtype), weight, None))
                })
            };
            assert_eq!(run(1), run(3), "{order:?} {rows}");
        }
    }
}

#[test]
fn empty_sizes() {
    let device = Device::flex();
    for [rows, from, to] in [[0, 3, 4], [2, 0, 4], [2, 3, 0]] {
        let x = Tensor::<2>::zeros([rows, from], &device);
        let weight = Tensor::<2>::zeros([from, to], &device);
        assert_eq!(project(x, weight, None).dims(), [rows, to]);
    }
}
