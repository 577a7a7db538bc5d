//! The heads of a Flex tensor as f32 matrices.

use std::borrow::Cow;

use burn::backend::flex::{FlexTensor, Layout};
use burn::tensor::{Bytes, DType, bf16, f16};
use rayon::prelude::*;

use super::gemm::Matrix;

/// A `[batch, heads, len, head_dim]` tensor whose channels are neighbours.
pub struct Heads<'a> {
    data: Cow<'a, [f32]>,
    offset: usize,
    /// Of batch row, head and token.
    strides: [usize; 3],
    pub shape: [usize; 4],
}

impl<'a> Heads<'a> {
    /// A view of an f32 tensor; other dtypes are converted.
    ///
    /// The tensor must come from [`readable`].
    pub fn new(tensor: &'a FlexTensor) -> Self {
        let layout = tensor.layout();
        let shape = std::array::from_fn(|axis| layout.shape()[axis]);
        let strides = std::array::from_fn(|axis| layout.strides()[axis] as usize);
        Self {
            data: as_f32(tensor),
            offset: layout.start_offset(),
            strides,
            shape,
        }
    }

    /// One head, `[len, head_dim]`.
    pub fn head(&self, row: usize, head: usize) -> Matrix<'_> {
        let [rows, heads, len, head_dim] = self.shape;
        assert!(row < rows && head < heads);
        let start = self.offset + row * self.strides[0] + head * self.strides[1];
        Matrix::new(
            &self.data[start.min(self.data.len())..],
            len,
            head_dim,
            self.strides[2],
        )
    }
}

/// The tensor with strides that [`Heads`] can read: itself, or a copy. A part of a larger tensor in
/// half precision is copied too, since all that is stored gets converted.
pub fn readable(tensor: FlexTensor) -> FlexTensor {
    let layout = tensor.layout();
    let neighbours = layout.shape()[3] <= 1 || layout.strides()[3] == 1;
    let whole = tensor.dtype() == DType::F32
        || tensor.bytes().len() == layout.num_elements() * tensor.dtype().size();
    if neighbours && whole && layout.strides().iter().all(|&stride| stride >= 0) {
        tensor
    } else {
        tensor.to_contiguous()
    }
}

/// The tensor's storage in f32.
pub fn as_f32(tensor: &FlexTensor) -> Cow<'_, [f32]> {
    match tensor.dtype() {
        DType::F32 => Cow::Borrowed(tensor.storage::<f32>()),
        DType::F16 => Cow::Owned(
            tensor
                .storage::<f16>()
                .par_iter()
                .map(|x| x.to_f32())
                .collect(),
        ),
        DType::BF16 => Cow::Owned(
            tensor
                .storage::<bf16>()
                .par_iter()
                .map(|x| x.to_f32())
                .collect(),
        ),
        dtype => panic!("attention on the CPU takes f32, f16 and bf16, not {dtype:?}"),
    }
}

/// A contiguous tensor of `dtype`.
pub fn tensor(values: Vec<f32>, shape: &[usize], dtype: DType) -> FlexTensor {
    let bytes = match dtype {
        DType::F16 => Bytes::from_elems(values.par_iter().map(|&x| f16::from_f32(x)).collect()),
        DType::BF16 => Bytes::from_elems(values.par_iter().map(|&x| bf16::from_f32(x)).collect()),
        _ => Bytes::from_elems(values),
    };
    FlexTensor::new(bytes, Layout::contiguous(shape.to_vec().into()), dtype)
}
