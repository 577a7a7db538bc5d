//! Products with a packed matrix on GPUs. For few rows its numbers are unpacked within the product, else
//! whole, for as long as the product takes.

mod decode;

use burn::backend::TensorMetadata;
use burn::backend::cubecl::dtype_to_storage_type;
use burn::backend::ops::FloatTensorOps;
use burn::tensor::Shape;
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::calculate_cube_count_elemwise;
use cubecl::prelude::*;

use super::blocks::{BLOCK, Bits};
use super::ops::PackedOps;
use crate::attention::cube::empty;

impl PackedOps for CubeBackend {
    fn packed_product(x: CubeTensor, words: CubeTensor, bits: Bits, turned: bool) -> CubeTensor {
        let words = into_contiguous(words);
        let [rows, _] = x.shape().dims();
        if !turned && (1..=decode::ROWS).contains(&rows) {
            return few_rows(into_contiguous(x), words, bits);
        }
        let [height, line] = words.shape().dims();
        let blocks = bits.blocks(line);
        let shape = Shape::new([height, blocks * BLOCK]);
        let client = words.client.clone();
        let matrix = empty(&words, shape, x.dtype);
        // A unit has a word of numbers.
        let units = height * blocks * bits.count();
        let cube = CubeDim::new_1d(256);
        unpack::launch(
            &client,
            calculate_cube_count_elemwise(&client, units, cube),
            cube,
            words.into_buffer_arg(),
            matrix.clone().into_buffer_arg(),
            bits.count(),
            blocks,
            dtype_to_storage_type(x.dtype),
        );
        let matrix = match turned {
            true => matrix,
            false => CubeBackend::float_swap_dims(matrix, 0, 1),
        };
        CubeBackend::float_matmul(x, matrix)
    }
}

/// `x M^T` for at most [`decode::ROWS`] rows of `x`.
fn few_rows(x: CubeTensor, words: CubeTensor, bits: Bits) -> CubeTensor {
    let ([rows, _], [to, line]) = (x.shape().dims(), words.shape().dims());
    let (client, dtype) = (x.client.clone(), x.dtype);
    let y = empty(&x, Shape::new([rows, to]), dtype);
    let cube = CubeDim::new_2d(decode::UNITS_X as u32, decode::UNITS_Y as u32);
    let units = to.div_ceil(decode::OUTPUTS) * decode::UNITS_X;
    decode::product::launch(
        &client,
        calculate_cube_count_elemwise(&client, units, cube),
        cube,
        4,
        x.into_buffer_arg(),
        words.into_buffer_arg(),
        y.clone().into_buffer_arg(),
        to,
        line,
        bits.blocks(line),
        rows,
        bits.count(),
        dtype_to_storage_type(dtype),
    );
    y
}

/// The scale of a block of a row whose scales begin at a word: bf16, which is the upper half of f32.
#[cube]
fn scale(words: &[i32], scales: usize, block: usize) -> f32 {
    let two = u32::cast_from(words[scales + block / 2]);
    f32::reinterpret((two >> ((block % 2 * 16) as u32)) << 16)
}

/// A word a unit; see [`super::blocks`].
#[cube(launch)]
fn unpack<F: Float>(
    words: &[i32],
    numbers: &mut [F],
    #[comptime] bits: usize,
    #[comptime] blocks: usize,
    #[define(F)] _dtype: ElemType,
) {
    let in_word = comptime!(BLOCK / bits);
    let word = ABSOLUTE_POS;
    let first = word * in_word;
    if first < numbers.len() {
        let row = word / comptime!(blocks * bits) * comptime!(blocks * bits + blocks.div_ceil(2));
        let within = word % comptime!(blocks * bits);
        let scale = scale(words, row + comptime!(blocks * bits), within / bits);
        let packed = u32::cast_from(words[row + within]);
        #[unroll]
        for index in 0..in_word {
            let shift = comptime!((index * bits) as u32);
            let stored = (packed >> shift) & comptime!(u32::MAX >> (32 - bits as u32));
            let zero = comptime!((1u32 << (bits - 1)) as f32);
            numbers[first + index] = F::cast_from(scale * (f32::cast_from(stored) - zero));
        }
    }
}
