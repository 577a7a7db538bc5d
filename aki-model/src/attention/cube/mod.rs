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
mod tune;

use std::fmt::Debug;

use burn::backend::TensorMetadata;
use burn::backend::cubecl::dtype_to_storage_type;
use burn::tensor::{DType, Shape};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::zeros_client;
use burn_cubecl::tensor::CubeTensor;
use burn_cubecl::{CubeBackend, CubeDevice};
use cubecl::ir::ElemType;
use cubecl::prelude::Client;

use self::sizes::Shapes;
use super::engine::tell_once;
use super::layout::LayoutTable;
use super::ops::AttentionOps;
use super::{Kernels, MAX_HEAD_DIM};

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
        let like = q.clone();
        let (of_out, of_lse) = (out.clone(), lse.clone());
        let args = move || {
            let read = [&q, &k, &v, &layout, &of_out, &of_lse];
            read.map(|x| x.clone().into_buffer_arg())
        };
        let launcher = Launcher::new(&like, shapes, kernels);
        let Launcher { dtype, shared, .. } = launcher;
        match launcher.family {
            Family::Plain => {
                let tiles = plain::TileConfig::of_queries(shapes.head_dim, shapes.query_len);
                launcher.launch("plain forward", tiles, move |client, tile| {
                    plain::forward(client, args(), shapes, tile, dtype);
                });
            }
            Family::TensorCore => {
                let tiles = tensor_core::TileConfig::forward(shapes.head_dim, shared);
                launcher.launch("tensor-core forward", tiles, move |client, tile| {
                    tensor_core::forward(client, args(), shapes, tile, dtype);
                });
            }
        }
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
        let launcher = Launcher::new(&q, shapes, kernels);
        let Launcher { dtype, shared, .. } = launcher;
        let of_stats = Shape::new([2, shapes.batch, shapes.heads, shapes.query_len]);
        let stats = empty(&q, of_stats, DType::F32);
        let dq = empty(&q, q.shape(), q.dtype);
        let ([dk, dv], dkv, dv_head) = pair(&k, shapes.head_dim);

        let delta = match launcher.family {
            Family::Plain => plain::delta,
            Family::TensorCore => tensor_core::delta,
        };
        let read = [out, grad.clone(), lse, stats.clone()].map(CubeTensor::into_buffer_arg);
        delta(&q.client, read, shapes, dtype);

        let read = [q, k, v, grad, stats, layout];
        let args = move || read.each_ref().map(|x| x.clone().into_buffer_arg());
        let of_keys = args.clone();
        let of_q = dq.clone();
        match launcher.family {
            Family::Plain => {
                let tiles = plain::TileConfig::of_queries(shapes.head_dim, shapes.query_len);
                launcher.launch("plain query gradient", tiles, move |client, tile| {
                    let of_q = of_q.clone().into_buffer_arg();
                    plain::query_gradient(client, args(), of_q, shapes, tile, dtype);
                });
                let tiles = plain::TileConfig::of_keys(shapes.head_dim);
                launcher.launch(
                    "plain key and value gradient",
                    tiles,
                    move |client, tile| {
                        let dkv = dkv.clone().into_buffer_arg();
                        plain::key_value_gradient(
                            client,
                            of_keys(),
                            dkv,
                            dv_head,
                            shapes,
                            tile,
                            dtype,
                        );
                    },
                );
            }
            Family::TensorCore => {
                let tiles = tensor_core::TileConfig::query_gradient(shapes.head_dim, shared);
                launcher.launch("tensor-core query gradient", tiles, move |client, tile| {
                    let of_q = of_q.clone().into_buffer_arg();
                    tensor_core::query_gradient(client, args(), of_q, shapes, tile, dtype);
                });
                let written = [dk.clone(), dv.clone()];
                let of_kv = move || written.each_ref().map(|x| x.clone().into_buffer_arg());
                let tiles = tensor_core::TileConfig::key_value_gradient(shapes.head_dim, shared);
                launcher.launch(
                    "tensor-core key and value gradient",
                    tiles,
                    move |client, tile| {
                        tensor_core::key_value_gradient(
                            client, &of_keys, &of_kv, shapes, tile, dtype,
                        );
                    },
                );
            }
        }
        (dq, dk, dv)
    }
}

#[derive(Clone, Copy)]
enum Family {
    Plain,
    TensorCore,
}

/// What an attention's launches have in common.
struct Launcher {
    family: Family,
    /// Whether the tile is measured; else it is the first of those offered.
    tuned: bool,
    like: CubeTensor,
    shapes: Shapes,
    dtype: ElemType,
    /// The most shared memory that a cube may have, in bytes.
    shared: usize,
}

impl Launcher {
    fn new(like: &CubeTensor, shapes: Shapes, kernels: Kernels) -> Self {
        let dtype = dtype_to_storage_type(like.dtype);
        Self {
            family: family(like, shapes, kernels),
            tuned: kernels == Kernels::Auto,
            like: like.clone(),
            shapes,
            dtype,
            shared: tensor_core::shared(&like.client),
        }
    }

    fn launch<T: Copy + Debug + Send + Sync + 'static>(
        &self,
        kernel: &str,
        mut tiles: Vec<T>,
        launch: impl Fn(&Client, T) + Send + Sync + 'static,
    ) {
        if !self.tuned {
            tiles.truncate(1);
        }
        let client = self.like.client.clone();
        tune::tuned(
            kernel,
            &self.like,
            self.dtype,
            self.shapes,
            tiles,
            move |tile| {
                launch(&client, tile);
            },
        );
    }
}

/// Whether these kernels serve queries of this shape, or why not.
pub fn serves(
    device: &CubeDevice,
    [batch, heads, _, head_dim]: [usize; 4],
    dtype: DType,
    kernels: Kernels,
) -> Result<(), String> {
    // Of cubes along one axis WebGPU promises this many.
    const CUBES: usize = 65_535;
    if head_dim > MAX_HEAD_DIM {
        return Err(format!("head_dim {head_dim} is above {MAX_HEAD_DIM}"));
    }
    if batch > CUBES || heads > CUBES {
        return Err(format!(
            "{batch} rows of {heads} heads are more than a GPU is asked at once"
        ));
    }
    if kernels == Kernels::TensorCore {
        let dtype = dtype_to_storage_type(dtype);
        return tensor_core::supported(&device.client(), head_dim, dtype);
    }
    Ok(())
}

/// The family of kernels that runs, told once.
fn family(q: &CubeTensor, shapes: Shapes, kernels: Kernels) -> Family {
    if kernels == Kernels::Plain {
        tell_once("attention runs on the plain GPU kernels: they were asked for");
        return Family::Plain;
    }
    match tensor_core::supported(&q.client, shapes.head_dim, dtype_to_storage_type(q.dtype)) {
        Ok(()) => {
            tell_once("attention runs on tensor cores: device, dtype and head_dim allow it");
            Family::TensorCore
        }
        Err(why) if kernels == Kernels::Auto => {
            tell_once(&format!("attention runs on the plain GPU kernels: {why}"));
            Family::Plain
        }
        Err(why) => panic!("attention cannot run on tensor cores: {why}"),
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
pub(crate) fn empty(like: &CubeTensor, shape: Shape, dtype: DType) -> CubeTensor {
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
