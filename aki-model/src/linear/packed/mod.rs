//! Frozen matrices in 8 or 4 bits a number, unpacked for one product at a time.
//!
//! Burn's own quantised tensors are not used: on its CPU backend they take 8 bits a number at least,
//! and, being parameters of floats, they would meet every walk through a network that casts, averages
//! or counts its floats. Words are integers, which such walks pass by.

mod blocks;
#[cfg(feature = "cube")]
#[allow(
    clippy::used_underscore_binding,
    reason = "CubeCL reads the dtype of a kernel, the kernel itself does not"
)]
mod cube;
#[cfg(feature = "flex")]
mod flex;
mod ops;
mod scale;
#[cfg(feature = "flex")]
mod vector;

use burn::backend::Dispatch;
use burn::module::{Module, Param, ParamId};
use burn::tensor::{DType, Device, FloatDType, Int, Tensor, TensorData};

pub use blocks::{BLOCK, Bits, pack, unpack_rows};
pub use ops::PackedOps;

/// A frozen matrix `[from, to]`, packed. The blocks lie along `from`.
#[derive(Module, Debug)]
pub struct PackedMatrix {
    /// `[to, words of a row]`.
    words: Param<Tensor<2, Int>>,
    from: usize,
    #[module(skip)]
    bits: Bits,
}

impl PackedMatrix {
    /// Packs `[from, to]`.
    pub fn new(weight: Tensor<2>, bits: Bits) -> Self {
        let words = words(&weight, bits, &weight.device());
        Self {
            words: Param::initialized(ParamId::new(), words),
            from: weight.dims()[0],
            bits,
        }
    }

    /// Packs `[from, to]` when it is first read. If the words are loaded before, nothing is drawn or
    /// packed.
    pub(crate) fn of_undrawn(weight: Param<Tensor<2>>, bits: Bits) -> Self {
        let [from, to] = weight.lazy_shape().dims();
        let (device, shape) = (weight.lazy_device(), [to, bits.words(from)]);
        let pack = move |device: &Device, _| words(&weight.val(), bits, device);
        Self {
            words: Param::uninitialized(ParamId::new(), pack, device, false, shape.into()),
            from,
            bits,
        }
    }

    /// `[from, to]`.
    pub(crate) fn dims(&self) -> [usize; 2] {
        let [to, _] = self.words.lazy_shape().dims();
        [self.from, to]
    }

    pub(crate) fn is_read(&self) -> bool {
        self.words.is_initialized()
    }

    pub(crate) fn device(&self) -> Device {
        self.words.lazy_device()
    }

    /// `x W` over the last axis of `x`.
    ///
    /// # Panics
    ///
    /// If the last axis of `x` is not `from` long.
    pub fn product<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let words = self.words.val();
        let [to, _] = words.dims();
        let (from, mut shape) = (self.from, x.dims());
        assert_eq!(shape[D - 1], from, "linear: the weight is {from} wide");
        let rows = shape[..D - 1].iter().product::<usize>();
        let mut x = x.reshape([rows, from]);
        // The last block is filled up with zeros; so must be what it is multiplied with.
        let fill = from.next_multiple_of(BLOCK) - from;
        if fill > 0 {
            let zeros = Tensor::zeros([rows, fill], (&x.device(), x.dtype()));
            x = Tensor::cat(vec![x, zeros], 1);
        }
        let y =
            Dispatch::packed_product(x.into_dispatch(), words.into_dispatch(), self.bits, false);
        shape[D - 1] = to;
        Tensor::<2>::from_dispatch(y).reshape(shape)
    }

    /// The matrix in f32, `[from, to]`, seen through a transposed view as loaded ones are.
    pub fn unpacked(&self) -> Tensor<2> {
        let words = self.words.val();
        let device = words.device();
        let ([to, _], from) = (words.dims(), self.from);
        let words: Vec<i32> = words.inner().into_data().iter::<i32>().collect();
        let data = TensorData::new(unpack_rows(&words, from, self.bits), [to, from]);
        Tensor::<2>::from_data(data, (&device, DType::F32)).transpose()
    }
}

/// `[from, to]`, packed: `[to, words of a row]`.
fn words(weight: &Tensor<2>, bits: Bits, device: &Device) -> Tensor<2, Int> {
    let [from, to] = weight.dims();
    let weight = weight.clone().inner().transpose();
    let numbers = weight.cast(FloatDType::F32).into_data();
    let numbers: Vec<f32> = numbers.iter::<f32>().collect();
    let words = TensorData::new(pack(&numbers, from, bits), [to, bits.words(from)]);
    Tensor::from_data(words, (device, DType::I32))
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DeviceKind, DeviceType, Distribution};

    use super::*;

    /// The CPU, and a GPU if there is one; Mesa's software driver will do.
    fn devices() -> Vec<Device> {
        let mut devices = vec![Device::flex()];
        if Device::enumerate(DeviceType::Wgpu).into_vec().is_empty() {
            eprintln!("skipped on GPUs: no WGPU adapter");
        } else {
            devices.push(Device::wgpu(DeviceKind::DefaultDevice));
        }
        devices
    }

    fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().iter().collect()
    }

    fn random<const D: usize>(shape: [usize; D]) -> TensorData {
        let uniform = Distribution::Uniform(-1.0, 1.0);
        Tensor::<D>::random(shape, uniform, &Device::flex()).into_data()
    }

    #[track_caller]
    fn assert_near(ours: &[f32], expected: &[f32], tolerance: f32) {
        assert_eq!(ours.len(), expected.len());
        let largest = expected.iter().fold(0.0_f32, |a, b| a.max(b.abs()));
        let off = ours.iter().zip(expected).map(|(a, b)| (a - b).abs());
        let off = off.fold(0.0, f32::max);
        assert!(off <= tolerance * largest, "{off} of {largest}");
    }

    /// By the root of their squared differences over that of the squared numbers.
    #[track_caller]
    fn assert_alike(ours: &[f32], expected: &[f32], tolerance: f32) {
        assert_eq!(ours.len(), expected.len());
        let squares = |numbers: &mut dyn Iterator<Item = f32>| numbers.map(|x| x * x).sum::<f32>();
        let off = squares(&mut ours.iter().zip(expected).map(|(a, b)| a - b));
        let off = (off / squares(&mut expected.iter().copied())).sqrt();
        assert!(off <= tolerance, "{off}");
    }

    /// On the CPU sizes on both sides of its kernels' tiles, and all numbers of rows that have one.
    #[test]
    fn products_and_gradients_are_those_of_the_unpacked_matrix() {
        let mut sizes = vec![(72, 37, 3), (32, 5, 1), (1056, 530, 12)];
        sizes.extend((1..=9).map(|rows| (200 + 33 * rows, 70, rows)));
        for (device, sizes) in devices().into_iter().zip([&sizes[..], &sizes[..1]]) {
            for &(from, to, rows) in sizes {
                for bits in [Bits::Eight, Bits::Four] {
                    let weight = Tensor::from_data(random([from, to]), &device);
                    let packed = PackedMatrix::new(weight.clone(), bits);
                    assert_eq!(packed.dims(), [from, to]);
                    let dense = packed.unpacked();
                    // What steps of 1/127 and 1/8 leave of even numbers.
                    let off = match bits {
                        Bits::Eight => 0.005,
                        Bits::Four => 0.07,
                    };
                    assert_alike(&numbers(dense.clone()), &numbers(weight), off);

                    let device = device.clone().autodiff();
                    let packed = packed.train();
                    let x = Tensor::<3>::from_data(random([1, rows, from]), &device).require_grad();
                    let y_grad = Tensor::<3>::from_data(random([1, rows, to]), &device);
                    let y = packed.product(x.clone());
                    let expected = x.clone().inner().matmul(dense.clone().unsqueeze::<3>());
                    assert_near(&numbers(y.clone().inner()), &numbers(expected), 1e-5);

                    let gradients = (y * y_grad.clone()).sum().backward();
                    let gradient = x.grad(&gradients).unwrap();
                    let expected = y_grad.inner().matmul(dense.transpose().unsqueeze::<3>());
                    assert_near(&numbers(gradient), &numbers(expected), 1e-5);
                }
            }
        }
    }

    /// Sizes on both sides of what a cube of the kernel for few rows takes; nine rows are too many for it.
    #[test]
    fn few_rows_on_a_gpu_give_what_the_cpu_gives() {
        let [cpu, gpu] = &devices()[..] else { return };
        for (from, to, rows) in [
            (32, 1, 1..=2),
            (72, 37, 1..=9),
            (1000, 8, 1..=1),
            (1056, 530, 3..=3),
        ] {
            let weight = random([from, to]);
            for bits in [Bits::Eight, Bits::Four] {
                let packed =
                    |device| PackedMatrix::new(Tensor::from_data(weight.clone(), device), bits);
                let (on_cpu, on_gpu) = (packed(cpu), packed(gpu));
                for rows in rows.clone() {
                    let x = random([rows, from]);
                    for (dtype, off) in [(DType::F32, 1e-5), (DType::F16, 1e-3)] {
                        let [expected, found] =
                            [(&on_cpu, cpu), (&on_gpu, gpu)].map(|(packed, device)| {
                                let x = Tensor::<2>::from_data(x.clone(), (device, dtype));
                                let y = packed.product(x);
                                assert_eq!(y.dtype(), dtype);
                                numbers(y)
                            });
                        assert_near(&found, &expected, off);
                    }
                }
            }
        }
    }

    #[test]
    fn half_precision_is_summed_in_f32() {
        let device = Device::flex();
        let weight: Tensor<2> = Tensor::from_data(random([64, 40]), &device);
        for (half, steps) in [(FloatDType::BF16, 256.0), (FloatDType::F16, 2048.0)] {
            for (rows, bits) in [(9, Bits::Eight), (3, Bits::Four), (1, Bits::Eight)] {
                let packed = PackedMatrix::new(weight.clone(), bits);
                let x = Tensor::<2>::from_data(random([rows, 64]), &device).cast(half);
                let y = packed.product(x.clone());
                assert_eq!(y.dtype(), DType::from(half));
                let expected = x.cast(FloatDType::F32).matmul(packed.unpacked());
                // Half a step of the half precision, of each number.
                for (y, expected) in numbers(y).into_iter().zip(numbers(expected)) {
                    assert!(
                        (y - expected).abs() <= expected.abs() / steps + 2e-6,
                        "{y} {expected}"
                    );
                }
            }
        }
    }

    #[cfg(feature = "flex")]
    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let device = Device::flex();
        let weight: Tensor<2> = Tensor::from_data(random([1056, 530]), &device);
        for bits in [Bits::Eight, Bits::Four] {
            let packed = PackedMatrix::new(weight.clone(), bits);
            for rows in [1, 5, 12] {
                let x = Tensor::<2>::from_data(random([rows, 1056]), &device);
                let [one, three] = [1, 3].map(|threads| {
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
                    let y = pool.build().unwrap().install(|| packed.product(x.clone()));
                    numbers(y).into_iter().map(f32::to_bits).collect::<Vec<_>>()
                });
                assert_eq!(one, three, "{bits:?}, {rows} rows");
            }
        }
    }
}
