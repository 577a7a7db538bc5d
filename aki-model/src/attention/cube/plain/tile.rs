//! The shape of a cube and of its tile.
//!
//! A cube has `units_x * units_y` units and works on a tile of `4 units_y` rows and `4 units_x`
//! columns of the score matrix. Unit `(x, y)` holds the 4 x 4 scores of
//!
//! ```text
//! rows     y, y + units_y, y + 2 units_y, y + 3 units_y
//! columns  x, x + units_x, x + 2 units_x, x + 3 units_x
//! ```
//!
//! and of the 4 rows' outputs the quads of channels `x`, `x + units_x`, ...
//!
//! ```text
//! tile                    rows x columns  units  stage   weights  output registers
//! of few queries, to 128        16 x 32      32  4096 B   2048 B       16 ceil(head_dim / 32)
//! of few queries, to 256        16 x 64      64  6400 B   4096 B       16 ceil(head_dim / 64)
//! of queries, to 128            64 x 32     128  7680 B   8192 B       16 ceil(head_dim / 32)
//! of queries, to 256            32 x 64     128  7680 B   8192 B       16 ceil(head_dim / 64)
//! of keys, to 96                64 x 32     128  7680 B   8192 B       32 ceil(head_dim / 32)
//! of keys, to 256               32 x 64     128  7680 B   8192 B       32 ceil(head_dim / 64)
//! ```

use crate::attention::layout::SUMMARY_ROWS;

/// Quads of channels that [`scores`](super::products::scores) stages at once.
pub const CHUNK: usize = 4;
/// From one staged row to the next: odd, so that the rows that are read together lie in different
/// banks of shared memory.
pub const ROW_STRIDE: usize = CHUNK + 1;
/// Quads of columns' channels that [`accumulate`](super::products::accumulate) stages at once.
pub const STAGED: usize = 256;

/// The shape of a cube and of its tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TileConfig {
    /// Units that share a row: 8 or 16.
    pub units_x: usize,
    /// Units that share a column.
    pub units_y: usize,
    /// Channels of a head, any number.
    pub head_dim: usize,
}

impl TileConfig {
    /// For the kernels that gather one sum for each query; the first is the safest guess.
    pub fn of_queries(head_dim: usize, query_len: usize) -> Vec<Self> {
        let tiles = Self::both(head_dim, head_dim <= 128);
        if query_len <= SUMMARY_ROWS {
            let units_y = SUMMARY_ROWS / 4;
            vec![Self {
                units_y,
                ..tiles[0]
            }]
        } else {
            tiles
        }
    }

    /// For the kernel that gathers two sums for each key; the first is the safest guess.
    pub fn of_keys(head_dim: usize) -> Vec<Self> {
        Self::both(head_dim, head_dim <= 96)
    }

    /// A high and a wide tile, or for large heads, whose sums would not fit the registers of a high
    /// one, a wide tile alone.
    fn both(head_dim: usize, high: bool) -> Vec<Self> {
        let wide = Self::new(head_dim, false);
        if high {
            vec![Self::new(head_dim, true), wide]
        } else {
            vec![wide]
        }
    }

    /// A high tile of 64 x 32, or a wide one of 32 x 64 whose units hold half as many output
    /// channels.
    fn new(head_dim: usize, high: bool) -> Self {
        let (units_x, units_y) = if high { (8, 16) } else { (16, 8) };
        Self {
            units_x,
            units_y,
            head_dim,
        }
    }

    /// Rows of the tile.
    pub fn rows(self) -> usize {
        4 * self.units_y
    }

    /// Columns of the tile.
    pub fn columns(self) -> usize {
        4 * self.units_x
    }

    pub fn units(self) -> usize {
        self.units_x * self.units_y
    }

    /// Quads of output channels a unit holds for each of its rows.
    pub fn steps(self) -> usize {
        self.head_dim.div_ceil(4 * self.units_x)
    }

    /// Quads of the stage.
    pub fn stage(self) -> usize {
        ((self.rows() + self.columns()) * ROW_STRIDE).max(STAGED)
    }

    /// Quads of a tile of weights.
    pub fn weights(self) -> usize {
        self.rows() * self.units_x
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::MAX_HEAD_DIM;

    #[test]
    fn tiles_fit_the_least_gpu() {
        for head_dim in 1..=MAX_HEAD_DIM {
            let tiles = [
                TileConfig::of_queries(head_dim, 1),
                TileConfig::of_queries(head_dim, 17),
                TileConfig::of_keys(head_dim),
            ];
            for tile in tiles.concat() {
                assert!(tile.units() <= 256);
                let quads = tile.stage() + tile.weights();
                let answer = size_of::<u32>();
                assert!(quads * size_of::<[f32; 4]>() + answer <= 16384, "{tile:?}");
                // Each unit takes the same number of turns at filling the stage.
                for staged in [tile.rows() * CHUNK, tile.columns() * CHUNK, STAGED] {
                    assert!(staged.is_multiple_of(tile.units()), "{tile:?}");
                }
                assert!((4 * tile.units_x).is_multiple_of(SUMMARY_ROWS));
                assert!(tile.rows().is_multiple_of(SUMMARY_ROWS));
                assert!(STAGED.is_multiple_of(4 * tile.units_x));
            }
        }
    }
}
