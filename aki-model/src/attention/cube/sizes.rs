//! The sizes of an attention, on the host and in the kernels.

use cubecl::prelude::*;

use super::rule::Table;

/// The sizes of an attention.
#[derive(Clone, Copy, Debug)]
pub struct Shapes {
    pub batch: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub query_len: usize,
    pub key_len: usize,
    pub head_dim: usize,
}

impl Shapes {
    /// Whether there is nothing to compute, and so no cube to launch.
    pub fn is_empty(self) -> bool {
        self.batch * self.heads * self.query_len * self.key_len * self.head_dim == 0
    }

    /// What the kernels get.
    pub fn launch(self) -> SizesLaunch {
        SizesLaunch::new(
            self.batch,
            self.heads,
            self.kv_heads,
            self.query_len,
            self.key_len,
            1.0 / (self.head_dim as f32).sqrt(),
        )
    }

    /// A cube for each tile of `tile` of `rows`, for each of `heads` and batch row.
    pub fn cubes(self, rows: usize, tile: usize, heads: usize) -> CubeCount {
        let tiles = rows.div_ceil(tile);
        CubeCount::Static(tiles as u32, heads as u32, self.batch as u32)
    }
}

/// What the gradients' kernels read: queries, keys, values, the output's gradient, statistics and
/// layout. The statistics hold, in f32, each row's log-sum-exp and `rowsum(dO O)`,
/// `[2, batch, heads, query_len]`.
pub type GradientArgs = [BufferArg; 6];

/// What every kernel knows at run time.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
#[expand(derive(Clone, Copy))]
pub struct Sizes {
    pub batch: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub query_len: usize,
    pub key_len: usize,
    /// Of the scores, `1 / sqrt(head_dim)`.
    pub scale: f32,
}

#[cube]
impl Sizes {
    pub fn table(self, row: usize) -> Table {
        Table::new(row, self.batch, self.query_len, self.key_len)
    }

    /// The first row of a query head.
    pub fn query_head(self, head: usize, row: usize) -> usize {
        (row * self.heads + head) * self.query_len
    }

    /// The first row of the key and value head that a query head reads.
    pub fn key_head(self, head: usize, row: usize) -> usize {
        let kv_head = head / (self.heads / self.kv_heads);
        (row * self.kv_heads + kv_head) * self.key_len
    }
}

/// The tile of queries of a cube. Under a causal rule the last queries see most: they go first, so
/// that none of them is left running alone.
#[cube]
pub fn from_the_end(cube: u32, cubes: u32) -> usize {
    (cubes - 1 - cube) as usize
}
