use burn::module::Param;
use burn::tensor::{Distribution, TensorData};

use super::*;

/// A norm, which `SwiGLU` does not look at, and rows.
type Operation = fn(&RmsNorm, Tensor<3>) -> Tensor<3>;

/// Each operation as it is here and as Burn has it.
const OPERATIONS: [(&str, Operation, Operation); 2] = [
    (
        "rms_norm",
        |norm, x| rms_norm(norm, x),
        |norm, x| norm.forward(x),
    ),
    (
        "swiglu",
        |_, x| swiglu(x),
        |_, x| {
            let mut halves = x.chunk(2, 2).into_iter();
            let gate = halves.next().expect("gate");
            silu(gate) * halves.next().expect("up")
        },
    ),
];

fn random<const D: usize>(shape: [usize; D]) -> TensorData {
    let uniform = Distribution::Uniform(-4.0, 4.0);
    Tensor::<D>::random(shape, uniform, &Device::flex()).into_data()
}

fn norm(gamma: TensorData, device: &Device) -> RmsNorm {
    let gamma = Tensor::from_data(gamma, device);
    RmsNorm {
        gamma: Param::from_tensor(gamma),
        epsilon: 1e-5,
    }
}

fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().expect("f32")
}

/// What the operation gives, the gradient of the rows and that of the norm, for a loss that weights what
/// it gives. The rows are a view of turned ones if `turned`.
fn outcome(
    operation: Operation,
    x: &TensorData,
    gamma: &TensorData,
    weight: &TensorData,
    turned: bool,
) -> [Vec<f32>; 3] {
    let device = Device::flex().autodiff();
    let norm = norm(gamma.clone(), &device);
    let x = Tensor::<3>::from_data(x.clone(), &device);
    let (leaf, x) = if turned {
        let turned = x.swap_dims(0, 2).into_data();
        let leaf = Tensor::<3>::from_data(turned, &device).require_grad();
        (leaf.clone(), leaf.swap_dims(0, 2))
    } else {
        let leaf = x.require_grad();
        (leaf.clone(), leaf)
    };
    let y = operation(&norm, x);
    let weight = Tensor::from_data(weight.clone(), &device);
    let gradients = (y.clone() * weight).sum().backward();
    let of_gamma = norm.gamma.grad(&gradients);
    [
        numbers(y),
        numbers(leaf.grad(&gradients).expect("a gradient")),
        of_gamma.map(numbers).unwrap_or_default(),
    ]
}

/// Rows, a norm's gamma, and weights for what comes of them.
fn inputs(operation: &str, [batch, len, width]: [usize; 3]) -> [TensorData; 3] {
    let out = match operation {
        "swiglu" => width / 2,
        _ => width,
    };
    [
        random([batch, len, width]),
        random([width]),
        random([batch, len, out]),
    ]
}

#[track_caller]
fn assert_near(ours: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    assert_eq!(ours.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(0.0_f32, |a, b| a.max(b.abs()));
    for (ours, expected) in ours.iter().zip(expected) {
        let off = (ours - expected).abs();
        assert!(off <= tolerance * largest, "{what}: {ours}, not {expected}");
    }
}

/// Widths on both sides of a register's and of a block's of sums, one row, and rows for several tasks.
const SHAPES: [[usize; 3]; 6] = [
    [1, 1, 6],
    [1, 1, 130],
    [2, 3, 34],
    [3, 5, 254],
    [2, 190, 256],
    [1, 3, 70_000],
];

#[test]
fn outputs_and_gradients_are_those_of_burns_operations() {
    for (name, ours, burns) in OPERATIONS {
        for shape in SHAPES {
            for turned in [false, true] {
                let [x, gamma, weight] = inputs(name, shape);
                let ours = outcome(ours, &x, &gamma, &weight, turned);
                let burns = outcome(burns, &x, &gamma, &weight, turned);
                for (at, tolerance) in [1e-6, 1e-5, 1e-5].into_iter().enumerate() {
                    let what = format!("{name}, {shape:?}, turned {turned}, {at}");
                    assert_near(&ours[at], &burns[at], tolerance, &what);
                }
            }
        }
    }
}

#[test]
fn no_rows_give_none() {
    let device = Device::flex().autodiff();
    let norm = norm(random([6]), &device);
    for (name, ours, _) in OPERATIONS {
        let x = Tensor::<3>::zeros([2, 0, 6], &device).require_grad();
        let y = ours(&norm, x.clone());
        let width = if name == "swiglu" { 3 } else { 6 };
        assert_eq!(y.dims(), [2, 0, width]);
        let gradients = y.sum().backward();
        assert_eq!(x.grad(&gradients).expect("a gradient").dims(), [2, 0, 6]);
    }
}

/// Differences of the loss, which is summed in f64.
#[test]
fn gradients_are_slopes() {
    const STEP: f32 = 1e-2;
    for (name, operation, _) in OPERATIONS {
        let inputs = inputs(name, [1, 2, 10]);
        let loss = |[x, gamma, weight]: &[TensorData; 3]| -> f64 {
            let [y, ..] = outcome(operation, x, gamma, weight, false);
            let weight = weight.iter::<f64>();
            y.into_iter()
                .zip(weight)
                .map(|(y, w)| f64::from(y) * w)
                .sum()
        };
        let [x, gamma, weight] = &inputs;
        let [_, of_x, of_gamma] = outcome(operation, x, gamma, weight, false);
        for (input, gradient) in [of_x, of_gamma].into_iter().enumerate() {
            for (at, gradient) in gradient.into_iter().enumerate() {
                let moved = |by: f32| {
                    let mut inputs = inputs.clone();
                    inputs[input].as_mut_slice::<f32>().expect("f32")[at] += by;
                    loss(&inputs)
                };
                let slope = (moved(STEP) - moved(-STEP)) / f64::from(2.0 * STEP);
                let off = (slope - f64::from(gradient)).abs();
                assert!(off < 5e-3, "{name}, {input}, {at}: {gradient}, not {slope}");
            }
        }
    }
}

#[test]
fn threads_and_neighbours_change_no_bit() {
    for (name, operation, _) in OPERATIONS {
        let [x, gamma, weight] = inputs(name, [3, 190, 254]);
        let bits = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            let all = pool
                .expect("threads")
                .install(|| outcome(operation, &x, &gamma, &weight, false));
            all.map(|values| values.iter().map(|it| it.to_bits()).collect::<Vec<_>>())
        };
        let one = bits(1);
        for threads in 2..=4 {
            assert!(one == bits(threads), "{name}, {threads} threads");
        }
        // The last rows by themselves.
        let part = |data: &TensorData| {
            let data = Tensor::<3>::from_data(data.clone(), &Device::flex());
            data.slice([2..3, 7..190]).into_data()
        };
        let alone = outcome(operation, &part(&x), &gamma, &part(&weight), false);
        for at in 0..2 {
            let alone: Vec<u32> = alone[at].iter().map(|it| it.to_bits()).collect();
            assert!(one[at].ends_with(&alone), "{name}");
        }
    }
}

#[test]
fn what_is_no_number_shows_in_its_row_alone() {
    for (name, operation, _) in OPERATIONS {
        let [mut x, gamma, weight] = inputs(name, [1, 3, 70]);
        x.as_mut_slice::<f32>().expect("f32")[70 + 3] = f32::NAN;
        let [y, of_x, _] = outcome(operation, &x, &gamma, &weight, false);
        let width = y.len() / 3;
        for values in [&y, &of_x] {
            let rows = values.chunks(values.len() / 3);
            let hit: Vec<bool> = rows.map(|row| row.iter().any(|it| it.is_nan())).collect();
            assert_eq!(hit, [false, true, false], "{name}");
        }
        assert!(y[width + 3].is_nan(), "{name}");
    }
}

/// Logits in parts of such widths, and labels.
fn logits(rows: usize, widths: &[usize]) -> (Vec<Tensor<2>>, Tensor<1, Int>) {
    let device = Device::flex();
    let parts = widths.iter().map(|&width| {
        let part = Tensor::from_data(random([rows, width]), &device);
        part.mul_scalar(4.0)
    });
    let words: usize = widths.iter().sum();
    let labels = (0..rows).map(|row| (row * 7919 % words) as i32);
    let labels = TensorData::new(labels.collect(), [rows]);
    (parts.collect(), Tensor::from_data(labels, &device))
}

fn all(scored: CrossEntropy) -> (Vec<f32>, Vec<i64>, Vec<Vec<f32>>) {
    let likeliest = scored.likeliest.into_data();
    (
        numbers(scored.losses),
        likeliest.iter().collect(),
        scored.gradients.into_iter().map(numbers).collect(),
    )
}

#[test]
fn cross_entropies_are_those_of_burns_operations() {
    for widths in [&[1][..], &[77], &[64, 2], &[1000, 3], &[3, 130, 1]] {
        for rows in [1, 75] {
            for scale in [None, Some(1.0), Some(1024.0)] {
                let what = format!("{rows} rows of {widths:?}, scale {scale:?}");
                let (parts, labels) = logits(rows, widths);
                let ours = all(cross_entropy(parts.clone(), labels.clone(), scale));
                let burns = all(burns_cross_entropy(parts, labels, scale));
                assert_near(&ours.0, &burns.0, 1e-6, &what);
                assert_eq!(ours.1, burns.1, "{what}");
                assert_eq!(ours.2.len(), burns.2.len(), "{what}");
                for (ours, burns) in ours.2.iter().zip(&burns.2) {
                    assert_near(ours, burns, 1e-5, &what);
                }
            }
        }
    }
}

#[test]
fn logits_that_are_views_stay_as_they_are() {
    let (parts, labels) = logits(5, &[40]);
    let turned = parts[0].clone().transpose();
    let view = turned.clone().slice([0..30, 1..4]).transpose();
    let labels = labels.slice([1..4]).remainder_scalar(30);
    let before = view.to_data();
    let ours = all(cross_entropy(vec![view.clone()], labels.clone(), Some(1.0)));
    let burns = all(burns_cross_entropy(vec![view.clone()], labels, Some(1.0)));
    assert_near(&ours.0, &burns.0, 1e-6, "losses");
    assert_near(&ours.2[0], &burns.2[0], 1e-5, "gradients");
    assert_eq!(view.into_data(), before);
}

#[test]
fn gradients_of_logits_are_slopes() {
    const STEP: f32 = 1e-2;
    let (parts, labels) = logits(2, &[9, 2]);
    let (_, _, gradients) = all(cross_entropy(parts.clone(), labels.clone(), Some(1.0)));
    for (part, gradients) in gradients.into_iter().enumerate() {
        for (at, gradient) in gradients.into_iter().enumerate() {
            let moved = |by: f32| -> f64 {
                let mut parts = parts.clone();
                let mut data = parts[part].to_data();
                data.as_mut_slice::<f32>().expect("f32")[at] += by;
                parts[part] = Tensor::from_data(data, &Device::flex());
                let (losses, ..) = all(cross_entropy(parts, labels.clone(), None));
                losses.into_iter().map(f64::from).sum()
            };
            let slope = (moved(STEP) - moved(-STEP)) / f64::from(2.0 * STEP);
            let off = (slope - f64::from(gradient)).abs();
            assert!(off < 1e-3, "{part}, {at}: {gradient}, not {slope}");
        }
    }
}

#[test]
fn threads_change_no_bit_of_cross_entropies() {
    let (parts, labels) = logits(75, &[1000, 2]);
    let scored = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.expect("threads")
            .install(|| all(cross_entropy(parts.clone(), labels.clone(), Some(1.0))))
    };
    let one = scored(1);
    for threads in 2..=4 {
        assert!(one == scored(threads), "{threads} threads");
    }
}

#[test]
fn logits_that_are_no_numbers_show_in_their_row_alone() {
    for broken in [f32::NAN, f32::INFINITY] {
        let (parts, labels) = logits(3, &[70, 2]);
        let mut data = parts[0].to_data();
        data.as_mut_slice::<f32>().expect("f32")[70 + 3] = broken;
        let parts = vec![Tensor::from_data(data, &Device::flex()), parts[1].clone()];
        let (losses, _, gradients) = all(cross_entropy(parts, labels, Some(1.0)));
        let hit: Vec<bool> = losses.iter().map(|loss| loss.is_nan()).collect();
        assert_eq!(hit, [false, true, false]);
        for gradients in gradients {
            let rows = gradients.chunks(gradients.len() / 3);
            let hit: Vec<bool> = rows.map(|row| row.iter().any(|it| it.is_nan())).collect();
            assert_eq!(hit, [false, true, false]);
        }
    }
}
