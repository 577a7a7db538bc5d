//! The shape of a cube and of its tile.
//!
//! A plane owns `16 row_tiles` rows of the score matrix, their accumulators and their softmax; the
//! planes of a cube share the columns, which come `columns` at a time through shared memory.

use std::cmp::Reverse;

/// Bytes of a 16-byte piece: 8 channels in half precision.
pub const PIECE_BYTES: usize = 16;
/// Channels of a piece.
pub const PIECE: usize = 8;
/// The rows and the depth of one matrix instruction, `m16n8k16`.
pub const MMA: usize = 16;

/// Which sums a cube of the key and value kernel gathers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sums {
    Both,
    Keys,
    Values,
}

impl Sums {
    pub fn keys(self) -> bool {
        self != Self::Values
    }

    pub fn values(self) -> bool {
        self != Self::Keys
    }
}

/// The shape of a cube and of its tile. All that may be tuned stands here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TileConfig {
    /// Channels of a head, a multiple of 8.
    pub head_dim: usize,
    pub planes: usize,
    /// Matrices of 16 rows a plane owns: 2 halve the traffic from shared memory, at twice the
    /// registers.
    pub row_tiles: usize,
    /// Keys (or queries, in the kernel that owns keys) of one step, a multiple of 16.
    pub columns: usize,
}

impl TileConfig {
    /// For the forward kernel; `shared` is the most shared memory that a cube may have, in bytes.
    pub fn forward(head_dim: usize, shared: usize) -> Vec<Self> {
        let shapes: &[_] = match head_dim {
            // Of 128 channels two matrices of rows would spill 96 bytes of registers.
            ..=112 => &[(4, 2, 64), (4, 1, 64), (4, 1, 32)],
            _ => &[(4, 1, 64), (4, 1, 32)],
        };
        Self::fitting(head_dim, shapes, Self::forward_pieces, shared)
    }

    /// For the kernel of the queries' gradient.
    pub fn query_gradient(head_dim: usize, shared: usize) -> Vec<Self> {
        let shapes: &[_] = match head_dim {
            ..=128 => &[(4, 2, 32), (4, 1, 64), (4, 1, 32)],
            _ => &[(4, 1, 32), (2, 1, 32)],
        };
        Self::fitting(head_dim, shapes, Self::query_gradient_pieces, shared)
    }

    /// For the kernel of the keys' and values' gradients.
    pub fn key_value_gradient(head_dim: usize, shared: usize) -> Vec<Self> {
        let shapes: &[_] = match head_dim {
            ..=64 => &[(4, 2, 32), (4, 1, 32)],
            65..=128 => &[(4, 1, 64), (4, 1, 32)],
            _ => &[(4, 1, 32), (2, 1, 16)],
        };
        let pieces = |tile: Self| tile.key_value_gradient_pieces() + tile.stats_pieces();
        Self::fitting(head_dim, shapes, pieces, shared)
    }

    /// What the launches of the kernel of the keys' and values' gradients gather: two sums of 256
    /// channels would not fit the registers.
    pub fn launches(self) -> &'static [Sums] {
        if self.head_dim > 128 {
            &[Sums::Values, Sums::Keys]
        } else {
            &[Sums::Both]
        }
    }

    /// Those of the shapes (planes, row tiles, columns) whose tiles fit into `shared` bytes, first
    /// the ones that keep most planes on a multiprocessor; of equals the first stays first.
    fn fitting(
        head_dim: usize,
        shapes: &[(usize, usize, usize)],
        pieces: impl Fn(Self) -> usize,
        shared: usize,
    ) -> Vec<Self> {
        let tiles = shapes.iter().map(|&(planes, row_tiles, columns)| Self {
            head_dim,
            planes,
            row_tiles,
            columns,
        });
        let mut fitting: Vec<Self> = tiles
            .filter(|&tile| pieces(tile) * PIECE_BYTES <= shared)
            .collect();
        fitting.sort_by_key(|&tile| {
            // A multiprocessor has 1 KiB more than a cube may have, and each cube takes that much.
            let cubes = (shared + 1024) / (pieces(tile) * PIECE_BYTES + 1024);
            // The registers allow no more.
            Reverse((cubes * tile.planes).min(8))
        });
        fitting
    }

    /// Rows of the tile.
    pub fn rows(self) -> usize {
        self.planes * self.plane_rows()
    }

    /// Rows of a plane.
    pub fn plane_rows(self) -> usize {
        self.row_tiles * MMA
    }

    pub fn units(self) -> usize {
        self.planes * 32
    }

    /// Channels as the matrix instructions see them: the rest is zero.
    pub fn channels(self) -> usize {
        self.head_dim.next_multiple_of(MMA)
    }

    /// Pieces of a row in global memory.
    pub fn row_pieces(self) -> usize {
        self.head_dim / PIECE
    }

    /// Pieces from one row in shared memory to the next: odd, so that the 8 rows that a matrix is
    /// read from lie in different banks.
    pub fn pitch(self) -> usize {
        self.channels() / PIECE + 1
    }

    /// Pieces of the rows' and of the columns' tile of one tensor.
    pub fn row_tile_pieces(self) -> usize {
        self.rows() * self.pitch()
    }

    pub fn column_tile_pieces(self) -> usize {
        self.columns * self.pitch()
    }

    /// Shared memory: Q, then K and V.
    pub fn forward_pieces(self) -> usize {
        self.row_tile_pieces() + 2 * self.column_tile_pieces()
    }

    /// Q and dO, then K and V.
    pub fn query_gradient_pieces(self) -> usize {
        2 * self.row_tile_pieces() + 2 * self.column_tile_pieces()
    }

    /// K and V, then Q and dO twice.
    pub fn key_value_gradient_pieces(self) -> usize {
        2 * self.row_tile_pieces() + 4 * self.column_tile_pieces()
    }

    /// The columns' log-sum-exps and deltas, twice.
    pub fn stats_pieces(self) -> usize {
        4 * self.columns * size_of::<f32>() / PIECE_BYTES
    }
}
