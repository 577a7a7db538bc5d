//! The products of linear layers on the CPU.

use std::ops::Range;

use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, DispatchDevice, Flex, backend_extension};
use burn::tensor::{DType, Tensor, bf16, f16};
use rayon::prelude::*;

use super::vector::{Stored, dot_rows, sum_rows};
use crate::attention::flex::gemm::{Matrix, multiply};
use crate::attention::flex::heads::{as_f32, tensor};

/// Rows up to which the weights are read once for all rows, without a matrix product.
pub const FEW_ROWS: usize = 8;
/// Bytes of weights that make a task worth its while.
pub const TASK_BYTES: usize = 64 << 10;
/// Columns of a task, if the weight's columns are neighbours.
const TASK_COLUMNS: usize = 128;
/// A tile of weights to widen: inputs and outputs; 1 MiB in f32.
const TILE: [usize; 2] = [512, 512];

/// The product of a linear layer on the backend that has a kernel for it. Use
/// [`project`](super::project), which knows when.
#[backend_extension(Flex)]
pub trait LinearOps: Backend {
    /// `x_tk W`, `[rows, from]` by `[from, to]`, with sums in f32.
    fn linear_forward(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// Whether the kernels here take the product.
pub fn serves<const D: usize>(x: &Tensor<D>, weight: &Tensor<2>) -> bool {
    let device = x.device();
    let rows = x.dims()[..D - 1].iter().product::<usize>();
    let dtype = x.dtype();
    dtype == weight.dtype()
        && rows > 0
        && match dtype {
            DType::F32 => rows <= FEW_ROWS,
            DType::F16 | DType::BF16 => true,
            _ => false,
        }
        && matches!(device.as_dispatch(), DispatchDevice::Flex(_))
        && !weight.device().is_autodiff()
}

/// `[rows, from]` by `[from, to]`.
pub fn project(x: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::linear_forward(
        x.into_dispatch(),
        weight.into_dispatch(),
    ))
}

impl LinearOps for Flex {
    fn linear_forward(x: FlexTensor, weight: FlexTensor) -> FlexTensor {
        let dtype = x.dtype();
        let x = x.to_contiguous();
        let (rows, to) = (x.layout().shape()[0], weight.layout().shape()[1]);
        let start = x.layout().start_offset();
        let wide = as_f32(&x);
        let x = &wide[start..];
        let out = match dtype {
            DType::F32 => multiply_by::<f32>(x, rows, weight),
            DType::F16 => multiply_by::<f16>(x, rows, weight),
            _ => multiply_by::<bf16>(x, rows, weight),
        };
        tensor(out, &[rows, to], dtype)
    }
}

/// A weight in someone's memory, `[from, to]`.
#[derive(Clone, Copy)]
struct Weight<'a, W> {
    data: &'a [W],
    from: usize,
    to: usize,
    /// From one input, or from one output, to the next; the other is 1.
    stride: usize,
    inputs_are_neighbours: bool,
}

fn multiply_by<W: Stored>(x: &[f32], rows: usize, weight: FlexTensor) -> Vec<f32> {
    let strides = |weight: &FlexTensor| [0, 1].map(|axis| weight.layout().strides()[axis]);
    let weight = match strides(&weight) {
        [1, other] | [other, 1] if other >= 0 => weight,
        _ => weight.to_contiguous(),
    };
    let [between_inputs, between_outputs] = strides(&weight);
    let (shape, start) = (weight.layout().shape(), weight.layout().start_offset());
    let inputs_are_neighbours = between_inputs == 1;
    let weight = Weight {
        data: &W::all(&weight)[start..],
        from: shape[0],
        to: shape[1],
        stride: if inputs_are_neighbours {
            between_outputs
        } else {
            between_inputs
        } as usize,
        inputs_are_neighbours,
    };
    if weight.from == 0 {
        return vec![0.0; rows * weight.to];
    }
    if rows > FEW_ROWS {
        let sizes = Sizes {
            rows,
            from: weight.from,
            to: weight.to,
            inputs_are_neighbours,
        };
        return by_tiles(x, sizes, |tile, line, within| {
            let line = &weight.data[line * weight.stride..][within];
            tile.extend(line.iter().map(|&w| w.widen()));
        });
    }
    // Outputs first, so that a task's part is in one piece.
    let mut out = vec![0.0; weight.to * rows];
    few(x, rows, weight, &mut out);
    turned_over(out, rows)
}

/// `[outputs, rows]` as `[rows, outputs]`.
pub fn turned_over(out: Vec<f32>, rows: usize) -> Vec<f32> {
    if rows == 1 {
        return out;
    }
    let outputs = out.len() / rows;
    let mut turned = vec![0.0; out.len()];
    for (output, values) in out.chunks(rows).enumerate() {
        for (row, &value) in values.iter().enumerate() {
            turned[row * outputs + output] = value;
        }
    }
    turned
}

/// `out[output * rows + row]`. Every output is one task's work from its first to its last term, so the
/// sums have one order whatever the number of threads.
fn few<W: Stored>(x: &[f32], rows: usize, weight: Weight<'_, W>, out: &mut [f32]) {
    let Weight {
        data,
        from,
        stride,
        inputs_are_neighbours,
        ..
    } = weight;
    let x: Vec<&[f32]> = x[..rows * from].chunks(from).collect();
    if inputs_are_neighbours {
        let outputs = (TASK_BYTES / (from * size_of::<W>())).max(1);
        out.par_chunks_mut(outputs * rows)
            .enumerate()
            .for_each(|(task, out)| dot_rows(&x, &data[task * outputs * stride..], stride, out));
    } else {
        out.par_chunks_mut(TASK_COLUMNS * rows)
            .enumerate()
            .for_each(|(task, out)| sum_rows(&x, &data[task * TASK_COLUMNS..], stride, out));
    }
}

/// Rows of a product, inputs and outputs of its matrix.
#[derive(Clone, Copy)]
pub struct Sizes {
    pub rows: usize,
    pub from: usize,
    pub to: usize,
    /// Whether the inputs of an output are stored in one piece, or the outputs of an input.
    pub inputs_are_neighbours: bool,
}

/// For many rows: the weights are widened a tile at a time, never as a whole. `read` puts a part of a
/// stored line behind what a tile has; the part's ends are multiples of [`TILE`], or the line's end.
pub fn by_tiles(
    x: &[f32],
    sizes: Sizes,
    read: impl Fn(&mut Vec<f32>, usize, Range<usize>) + Sync,
) -> Vec<f32> {
    let [tile_from, tile_to] = TILE;
    let Sizes {
        rows,
        from,
        to,
        inputs_are_neighbours,
    } = sizes;
    let x = Matrix::new(x, rows, from, from);
    let parts: Vec<Vec<f32>> = (0..to.div_ceil(tile_to))
        .into_par_iter()
        .map_init(Vec::new, |tile, task| {
            let outputs = task * tile_to..((task + 1) * tile_to).min(to);
            let mut out = vec![0.0; rows * outputs.len()];
            for start in (0..from).step_by(tile_from) {
                let inputs = start..(start + tile_from).min(from);
                let x = x.columns(inputs.clone());
                tile.clear();
                // Rows of the tile are what is stored in one piece.
                let (lines, within) = if inputs_are_neighbours {
                    (outputs.clone(), inputs)
                } else {
                    (inputs, outputs.clone())
                };
                let (height, width) = (lines.len(), within.len());
                for line in lines {
                    read(tile, line, within.clone());
                }
                let tile = Matrix::new(tile, height, width, width);
                let tile = if inputs_are_neighbours {
                    tile.transposed()
                } else {
                    tile
                };
                multiply(&mut out, outputs.len(), start > 0, 1.0, x, tile);
            }
            out
        })
        .collect();
    let mut out = vec![0.0; rows * to];
    out.par_chunks_mut(to.max(1))
        .enumerate()
        .for_each(|(row, out)| {
            for (out, part) in out.chunks_mut(tile_to).zip(&parts) {
                out.copy_from_slice(&part[row * out.len()..][..out.len()]);
            }
        });
    out
}
