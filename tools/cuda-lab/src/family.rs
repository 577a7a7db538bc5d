//! The two families of kernels behind one face: what `aki-model`'s `attention/cube/mod.rs` does
//! with Burn's tensors, done with bare buffers.

use cubecl::prelude::*;
use cubecl::server::Handle;
use cubecl_core::ir::{ElemType, FloatKind};

use crate::sizes::{GradientArgs, Shapes};
use crate::{plain, tensor_core};

/// No kernel has more tiles.
pub const TILES: usize = 4;

/// One attention, on one device.
pub struct Attention {
    pub client: Client,
    pub tensor_core: bool,
    pub dtype: ElemType,
    pub shapes: Shapes,
    /// Which of each kernel's tiles works; where there are fewer, the last.
    pub tile: usize,
}

/// `f32`, `f16` or `bf16`, and its bytes.
pub fn dtype(name: &str) -> (ElemType, usize) {
    match name {
        "f32" => (ElemType::Float(FloatKind::F32), 4),
        "f16" => (ElemType::Float(FloatKind::F16), 2),
        "bf16" => (ElemType::Float(FloatKind::BF16), 2),
        _ => panic!("no dtype {name}"),
    }
}

/// A whole buffer of elements of so many bytes.
pub fn arg(handle: &Handle, bytes: usize) -> BufferArg {
    // SAFETY: the length is the buffer's.
    unsafe { BufferArg::from_raw_parts(handle.clone(), handle.size() as usize / bytes) }
}

impl Attention {
    /// Of queries, keys, values and layout: output and log-sum-exp.
    pub fn forward(&self, args: [BufferArg; 6]) {
        let Self {
            client,
            dtype,
            shapes,
            ..
        } = self;
        if self.tensor_core {
            tensor_core::supported(client, shapes.head_dim, *dtype).unwrap();
            let tiles = tensor_core::TileConfig::forward(shapes.head_dim, self.shared());
            tensor_core::forward(client, args, *shapes, self.pick(&tiles), *dtype);
        } else {
            let tiles = plain::TileConfig::of_queries(shapes.head_dim, shapes.query_len);
            plain::forward(client, args, *shapes, self.pick(&tiles), *dtype);
        }
    }

    /// Of output, its gradient and log-sum-exp: the statistics.
    pub fn delta(&self, args: [BufferArg; 4]) {
        let launch = if self.tensor_core {
            tensor_core::delta
        } else {
            plain::delta
        };
        launch(&self.client, args, self.shapes, self.dtype);
    }

    pub fn query_gradient(&self, args: GradientArgs, dq: BufferArg) {
        let Self {
            client,
            dtype,
            shapes,
            ..
        } = self;
        if self.tensor_core {
            let tiles = tensor_core::TileConfig::query_gradient(shapes.head_dim, self.shared());
            tensor_core::query_gradient(client, args, dq, *shapes, self.pick(&tiles), *dtype);
        } else {
            let tiles = plain::TileConfig::of_queries(shapes.head_dim, shapes.query_len);
            plain::query_gradient(client, args, dq, *shapes, self.pick(&tiles), *dtype);
        }
    }

    /// The gradients of keys and values, each of so many bytes an element.
    pub fn key_value_gradient(&self, args: impl Fn() -> GradientArgs, bytes: usize) -> [Handle; 2] {
        let Self {
            client,
            dtype,
            shapes,
            ..
        } = self;
        let rows = shapes.batch * shapes.kv_heads * shapes.key_len;
        let size = rows * shapes.head_dim * bytes;
        if self.tensor_core {
            let tiles = tensor_core::TileConfig::key_value_gradient(shapes.head_dim, self.shared());
            let dkv = [client.empty(size), client.empty(size)];
            let of_kv = || dkv.each_ref().map(|x| arg(x, bytes));
            let tile = self.pick(&tiles);
            tensor_core::key_value_gradient(client, &args, &of_kv, *shapes, tile, *dtype);
            dkv
        } else {
            let tiles = plain::TileConfig::of_keys(shapes.head_dim);
            let dkv = client.empty(2 * size);
            let of_kv = arg(&dkv, bytes);
            let tile = self.pick(&tiles);
            plain::key_value_gradient(client, args(), of_kv, rows, *shapes, tile, *dtype);
            let size = size as u64;
            [dkv.clone().offset_end(size), dkv.offset_start(size)]
        }
    }

    fn pick<T: Copy>(&self, tiles: &[T]) -> T {
        tiles[self.tile.min(tiles.len() - 1)]
    }

    fn shared(&self) -> usize {
        tensor_core::shared(&self.client)
    }
}
