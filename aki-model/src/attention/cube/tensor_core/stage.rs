//! Tiles between global and shared memory, in pieces of 16 bytes.

use cubecl::prelude::barrier::copy_async_checked;
use cubecl::prelude::*;

use super::fragments::Accumulators;
use super::tile::{MMA, PIECE, TileConfig};
use crate::attention::cube::sizes::Sizes;

/// Begins to copy `rows` rows of a head from row `first` on to the place `to` in shared memory.
/// Rows past the end of the head, at `len`, become 0; `head` is the head's first row.
#[cube]
pub fn copy_rows<E: Float, V: Size>(
    from: &[Vector<E, V>],
    shared: &mut Shared<[Vector<E, V>]>,
    to: usize,
    head: usize,
    first: usize,
    len: usize,
    #[comptime] rows: usize,
    #[comptime] tile: TileConfig,
) {
    let units = comptime!(tile.units());
    let row_pieces = comptime!(tile.row_pieces());
    let pitch = comptime!(tile.pitch());
    let unit = UNIT_POS as usize;
    // The same channels in each turn, where the units fill whole rows: no division a turn.
    let aligned = comptime!(units % row_pieces == 0);
    let pieces = comptime!(rows * row_pieces);
    #[unroll]
    for turn in 0..comptime!(pieces.div_ceil(units)) {
        let at = unit + comptime!(turn * units);
        if comptime!((turn + 1) * units <= pieces) || at < pieces {
            let mut row = at / row_pieces;
            let mut piece = at % row_pieces;
            if comptime!(aligned) {
                row = unit / row_pieces + comptime!(turn * (units / row_pieces));
                piece = unit % row_pieces;
            }
            let source = (head + first + row) * row_pieces + piece;
            let length = select(first + row < len, 1usize, 0usize);
            let place = to + row * pitch + piece;
            copy_async_checked(
                &from[source..source + length],
                &mut shared[place..place + 1],
                8u32,
            );
        }
    }
}

/// Zeros the channels that pad `rows` rows from the beginning of shared memory on, if there are
/// any. No copy writes there again.
#[cube]
pub fn zero_padding<E: Float, V: Size>(
    shared: &mut Shared<[Vector<E, V>]>,
    #[comptime] rows: usize,
    #[comptime] tile: TileConfig,
) {
    if comptime!(tile.channels() > tile.head_dim) {
        for row in range_stepped(UNIT_POS as usize, rows, comptime!(tile.units())) {
            let at = row * comptime!(tile.pitch()) + comptime!(tile.row_pieces());
            shared[at] = Vector::new(E::from_int(0));
        }
    }
}

/// Stores a plane's rows, each value multiplied by its row's factor, through `at` in shared memory,
/// which nobody else uses any more, as the cube has met at a barrier since; `first` is the plane's
/// first row.
#[cube]
pub fn store_rows<E: Float, P: Size, V: Size>(
    values: &Accumulators<P>,
    factors: &Array<f32>,
    shared: &mut Shared<[Vector<E, V>]>,
    at: usize,
    out: &mut [Vector<E, V>],
    head: usize,
    first: usize,
    len: usize,
    #[comptime] tile: TileConfig,
) {
    let lane = UNIT_POS_PLANE as usize;
    let row_pieces = comptime!(tile.row_pieces());
    let pitch = comptime!(tile.pitch());
    let width = comptime!(tile.channels() / 8);
    let pairs = comptime!(PIECE / 2);
    {
        let place = at * pairs + lane / 4 * comptime!(pitch * pairs) + lane % 4;
        let staged = shared.as_mut_slice().with_vector_size_mut::<P>();
        #[unroll]
        for i in 0..comptime!(tile.row_tiles) {
            #[unroll]
            for j in 0..width {
                let value = values.index(comptime!(i * width + j));
                #[unroll]
                for half in 0..2usize {
                    let factor = factors[comptime!(2 * i + half)];
                    let to = place + comptime!(((i * MMA + half * 8) * pitch + j) * pairs);
                    staged[to] = Vector::cast_from(value[half] * Vector::new(factor));
                }
            }
        }
    }
    sync_plane();
    for piece in range_stepped(lane, comptime!(tile.plane_rows() * row_pieces), 32usize) {
        let row = piece / row_pieces;
        if first + row < len {
            let to = (head + first) * row_pieces + piece;
            out[to] = shared[at + row * pitch + piece % row_pieces];
        }
    }
}

/// Begins to copy the log-sum-exps and then the deltas of a tile of queries to the place `to`;
/// those of queries past the end become 0.
#[cube]
pub fn copy_stats(
    stats: &[f32],
    shared: &mut Shared<[f32]>,
    to: usize,
    head: usize,
    first: usize,
    sizes: Sizes,
    #[comptime] tile: TileConfig,
) {
    let columns = comptime!(tile.columns);
    let rows = sizes.batch * sizes.heads * sizes.query_len;
    for at in range_stepped(
        UNIT_POS as usize,
        comptime!(2 * columns),
        comptime!(tile.units()),
    ) {
        let query = first + at % columns;
        let from = at / columns * rows + head + query;
        let length = select(query < sizes.query_len, 1usize, 0usize);
        copy_async_checked(
            &stats[from..from + length],
            &mut shared[to + at..to + at + 1],
            1u32,
        );
    }
}
