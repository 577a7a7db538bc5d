//! The engine for GPUs, in CubeCL: two families of kernels on one layout.

#[allow(
    clippy::used_underscore_binding,
    reason = "CubeCL reads the dtype of a kernel, the kernel itself does not"
)]
mod plain;
mod rule;
mod sizes;
#[allow(
    clippy::assign_op_pattern,
    clippy::manual_is_multiple_of,
    clippy::range_plus_one,
    clippy::too_many_arguments,
    clippy::too_many_lines,
    clippy::trivially_copy_pass_by_ref,
    clippy::type_complexity,
    clippy::used_underscore_binding,
    reason = "a kernel is one function, in a language that has not all of Rust"
)]
mod tensor_core;

use burn::backend::TensorMetadata;
use burn::backend::cubecl::dtype_to_storage_type;
use burn::tensor::{DType, Shape};
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::zeros_client;
use burn_cubecl::tensor::CubeTensor;

use self::sizes::{GradientArgs, Shapes};
use super::Kernels;
use super::engine::tell_once;
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
        let shapes = shapes(&q, &k, &layout);
        let [q, k, v, layout] = [q, k, v, layout].map(into_contiguous);
        let of_lse = Shape::new([shapes.batch, shapes.heads, shapes.query_len]);
        if shapes.is_empty() {
            return (zeros(&q, q.shape(), q.dtype), zeros(&q, of_lse, DType::F32));
        }
        let out = empty(&q, q.shape(), q.dtype);
        let lse = empty(&q, of_lse, DType::F32);
        let (client, dtype) = (q.client.clone(), dtype_to_storage_type(q.dtype));
        let launch = match family(&q, shapes, kernels) {
            Family::Plain => plain::forward,
            Family::TensorCore => tensor_core::forward,
        };
        launch(
            &client,
            q.into_buffer_arg(),
            k.into_buffer_arg(),
            v.into_buffer_arg(),
            layout.into_buffer_arg(),
            out.clone().into_buffer_arg(),
            lse.clone().into_buffer_arg(),
            shapes,
            dtype,
        );
        (out, lse)
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
        let shapes = shapes(&q, &k, &layout);
        let [q, k, v, out, lse, grad, layout] =
            [q, k, v, out, lse, grad, layout].map(into_contiguous);
        if shapes.is_empty() {
            let zeros = |x: &CubeTensor| zeros(x, x.shape(), x.dtype);
            return (zeros(&q), zeros(&k), zeros(&v));
        }
        let (client, dtype) = (q.client.clone(), dtype_to_storage_type(q.dtype));
        let family = family(&q, shapes, kernels);
        let of_stats = Shape::new([2, shapes.batch, shapes.heads, shapes.query_len]);
        let stats = empty(&q, of_stats, DType::F32);
        let dq = empty(&q, q.shape(), q.dtype);
        let ([dk, dv], dkv, dv_head) = pair(&k, shapes.head_dim);

        let delta = match family {
            Family::Plain => plain::delta,
            Family::TensorCore => tensor_core::delta,
        };
        delta(
            &client,
            out.into_buffer_arg(),
            grad.clone().into_buffer_arg(),
            lse.into_buffer_arg(),
            stats.clone().into_buffer_arg(),
            shapes,
            dtype,
        );
        let args = || GradientArgs {
            q: q.clone().into_buffer_arg(),
            k: k.clone().into_buffer_arg(),
            v: v.clone().into_buffer_arg(),
            grad: grad.clone().into_buffer_arg(),
            stats: stats.clone().into_buffer_arg(),
            layout: layout.clone().into_buffer_arg(),
        };
        let of_q = dq.clone().into_buffer_arg();
        match family {
            Family::Plain => {
                plain::query_gradient(&client, args(), of_q, shapes, dtype);
                let of_kv = dkv.into_buffer_arg();
                plain::key_value_gradient(&client, args(), of_kv, dv_head, shapes, dtype);
            }
            Family::TensorCore => {
                tensor_core::query_gradient(&client, args(), of_q, shapes, dtype);
                let of_kv = || [&dk, &dv].map(|x| x.clone().into_buffer_arg());
                tensor_core::key_value_gradient(&client, args, of_kv, shapes, dtype);
            }
        }
        (dq, dk, dv)
    }
}

enum Family {
    Plain,
    TensorCore,
}

/// The family of kernels that runs, told once.
fn family(q: &CubeTensor, shapes: Shapes, kernels: Kernels) -> Family {
    let dtype = dtype_to_storage_type(q.dtype);
    let supported = || tensor_core::supported(&q.client, shapes.head_dim, dtype);
    match (kernels, supported) {
        (Kernels::Plain, _) => Family::Plain,
        (Kernels::TensorCore, supported) => match supported() {
            Ok(()) => Family::TensorCore,
            Err(why) => panic!("attention cannot run on tensor cores: {why}"),
        },
        (Kernels::Auto, supported) => match supported() {
            Ok(()) => {
                tell_once("attention runs on tensor cores: device, dtype and head_dim allow it");
                Family::TensorCore
            }
            Err(why) => {
                tell_once(&format!("attention runs on the plain GPU kernels: {why}"));
                Family::Plain
            }
        },
    }
}

fn shapes(q: &CubeTensor, k: &CubeTensor, layout: &CubeTensor) -> Shapes {
    let ([batch, heads, query_len, head_dim], [_, kv_heads, key_len, _]) =
        (q.shape().dims(), k.shape().dims());
    assert_eq!(
        layout.shape().num_elements(),
        LayoutTable::len(batch, query_len, key_len),
        "a layout table of another size"
    );
    Shapes {
        batch,
        heads,
        kv_heads,
        query_len,
        key_len,
        head_dim,
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

/// Two tensors in the shape of `like`, the buffer that holds both, and how many rows of
/// `head_dim` after the first the second begins.
fn pair(like: &CubeTensor, head_dim: usize) -> ([CubeTensor; 2], CubeTensor, usize) {
    let rows = like.shape().num_elements() / head_dim;
    // A binding starts at a multiple of the alignment, and so does every row whose index is one.
    let second = rows.next_multiple_of(like.client.properties().memory.alignment as usize);
    let both = empty(like, [second + rows, head_dim].into(), like.dtype);
    let bytes = (head_dim * like.dtype.size()) as u64;
    let part = |before: usize, behind: usize| {
        let handle = both.handle.clone();
        CubeTensor::new_contiguous(
            like.client.clone(),
            like.device.clone(),
            like.shape(),
            handle
                .offset_start(before as u64 * bytes)
                .offset_end(behind as u64 * bytes),
            like.dtype,
        )
    };
    ([part(0, second), part(second, 0)], both, second)
}
