//! The engine for GPUs, in CubeCL.

#[allow(
    clippy::used_underscore_binding,
    reason = "CubeCL reads the dtype of a kernel, the kernel itself does not"
)]
mod plain;
mod rule;

use burn::backend::TensorMetadata;
use burn::tensor::{DType, Shape};
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::zeros_client;
use burn_cubecl::tensor::CubeTensor;

use super::Kernels;
use super::layout::LayoutTable;
use super::ops::AttentionOps;

impl AttentionOps for CubeBackend {
    fn attention_forward(
        q: CubeTensor,
        k: CubeTensor,
        v: CubeTensor,
        layout: CubeTensor,
        kernels: Kernels,
    ) -> (CubeTensor, CubeTensor) {
        let shapes = Shapes::of(&q, &k, &layout);
        let [q, k, v, layout] = [q, k, v, layout].map(into_contiguous);
        if shapes.is_empty() {
            let lse = q.shape().as_slice()[..3].to_vec().into();
            return (zeros(&q, q.shape(), q.dtype), zeros(&q, lse, DType::F32));
        }
        match kernels {
            Kernels::Auto | Kernels::Plain => plain::attention_forward(q, k, v, layout, shapes),
            Kernels::TensorCore => no_tensor_cores(),
        }
    }

    fn attention_backward(
        q: CubeTensor,
        k: CubeTensor,
        v: CubeTensor,
        out: CubeTensor,
        lse: CubeTensor,
        grad: CubeTensor,
        layout: CubeTensor,
        kernels: Kernels,
    ) -> (CubeTensor, CubeTensor, CubeTensor) {
        let shapes = Shapes::of(&q, &k, &layout);
        let [q, k, v, out, lse, grad, layout] =
            [q, k, v, out, lse, grad, layout].map(into_contiguous);
        if shapes.is_empty() {
            let zeros = |x: &CubeTensor| zeros(x, x.shape(), x.dtype);
            return (zeros(&q), zeros(&k), zeros(&v));
        }
        match kernels {
            Kernels::Auto | Kernels::Plain => {
                plain::attention_backward(q, k, v, out, lse, grad, layout, shapes)
            }
            Kernels::TensorCore => no_tensor_cores(),
        }
    }
}

fn no_tensor_cores() -> ! {
    panic!("attention has no kernels for tensor cores yet; ask for the plain ones")
}

/// The sizes of an attention.
#[derive(Clone, Copy)]
struct Shapes {
    batch: usize,
    heads: usize,
    kv_heads: usize,
    query_len: usize,
    key_len: usize,
    head_dim: usize,
}

impl Shapes {
    fn of(q: &CubeTensor, k: &CubeTensor, layout: &CubeTensor) -> Self {
        let ([batch, heads, query_len, head_dim], [_, kv_heads, key_len, _]) =
            (q.shape().dims(), k.shape().dims());
        assert_eq!(
            layout.shape().num_elements(),
            LayoutTable::len(batch, query_len, key_len),
            "a layout table of another size"
        );
        Self {
            batch,
            heads,
            kv_heads,
            query_len,
            key_len,
            head_dim,
        }
    }

    /// Whether there is nothing to compute, and so no cube to launch.
    fn is_empty(self) -> bool {
        self.batch * self.heads * self.query_len * self.key_len * self.head_dim == 0
    }
}

/// An uninitialised tensor where `like` lives.
fn empty(like: &CubeTensor, shape: Shape, dtype: DType) -> CubeTensor {
    let handle = like.client.empty(shape.num_elements() * dtype.size());
    CubeTensor::new_contiguous(
        like.client.clone(),
        like.device.clone(),
        shape,
        handle,
        dtype,
    )
}

fn zeros(like: &CubeTensor, shape: Shape, dtype: DType) -> CubeTensor {
    zeros_client(like.client.clone(), like.device.clone(), shape, dtype)
}
