//! The keys' and values' gradients: a cube walks with its keys over all queries that see them, of
//! all heads that share the keys.
//!
//! ```text
//! P^T = exp(scale K Q^T - lse)        dP^T = V dO^T        dS^T = P^T (dP^T - delta)
//! dV = P^T dO                         dK = scale dS^T Q
//! ```
//!
//! A plane owns its keys; the transposed weights in its registers are the left operands of the
//! second row. Q and dO are used twice each, so both have two buffers: the next tile comes during
//! the whole of a step, which needs one barrier.

use cubecl::cmma::MmaDefinition;
use cubecl::prelude::*;

use super::fragments::{
    add_product, lane_piece, lane_piece_transposed, product_of_rows, round, zeros,
};
use super::gradient::{transposed_gradients, transposed_weights};
use super::mask::hide_queries;
use super::ptx::{copies_commit, copies_wait};
use super::stage::{copy_rows, copy_stats, store_rows, zero_padding};
use super::tile::{Sums, TileConfig};
use super::walk::Walk;
use crate::attention::cube::rule::{NO_TILE, PARTIAL};
use crate::attention::cube::sizes::Sizes;

/// One cube a tile of keys, key head and batch row.
///
/// # Shapes
///
/// - `q_bhtd`, `grad_bhtd`: `[batch, heads, query_len, head_dim]`
/// - `k_bhsd`, `v_bhsd`, `dk_bhsd`, `dv_bhsd`: `[batch, kv_heads, key_len, head_dim]`
/// - `stats`: `[2, batch, heads, query_len]`, see [`delta`](super::delta)
#[cube(launch)]
pub fn key_value_gradient<E: Float, V: Size>(
    q_bhtd: &[Vector<E, V>],
    k_bhsd: &[Vector<E, V>],
    v_bhsd: &[Vector<E, V>],
    grad_bhtd: &[Vector<E, V>],
    stats: &[f32],
    layout: &[i32],
    dk_bhsd: &mut [Vector<E, V>],
    dv_bhsd: &mut [Vector<E, V>],
    sizes: Sizes,
    #[comptime] tile: TileConfig,
    #[comptime] gathered: Sums,
    #[define(E)] _dtype: ElemType,
) {
    let size!(P) = 2usize;
    let mma = MmaDefinition::<E, E, f32>::new(16usize, 8usize, 16usize);
    let (rows, row_tiles) = comptime!((tile.rows(), tile.row_tiles));
    let (columns, channels, pitch) = comptime!((tile.columns, tile.channels(), tile.pitch()));

    let first_key = CUBE_POS_X as usize * rows;
    let key_head = (CUBE_POS_Z * CUBE_COUNT_Y + CUBE_POS_Y) as usize * sizes.key_len;
    let (query_len, key_len) = (sizes.query_len, sizes.key_len);
    let group = sizes.heads / sizes.kv_heads;
    let first_head = sizes.query_head(CUBE_POS_Y as usize * group, CUBE_POS_Z as usize);
    let table = sizes.table(CUBE_POS_Z as usize);

    let pieces = comptime!(tile.key_value_gradient_pieces());
    let mut shared = Shared::<[Vector<E, V>]>::new_aligned_slice(pieces, 16usize);
    let mut columns_stats = Shared::<[f32]>::new_aligned_slice(comptime!(4 * columns), 16usize);
    let v_at = comptime!(tile.row_tile_pieces());
    let q_at = comptime!(2 * tile.row_tile_pieces());
    let stage = comptime!(2 * tile.column_tile_pieces());
    zero_padding(&mut shared, comptime!(2 * rows + 4 * columns), tile);

    let mut walk = Walk::new();
    let mut at = walk.next_queries(table, layout, first_key, query_len, columns, rows);
    copy_rows(
        k_bhsd,
        &mut shared,
        0usize,
        key_head,
        first_key,
        key_len,
        rows,
        tile,
    );
    copy_rows(
        v_bhsd,
        &mut shared,
        v_at,
        key_head,
        first_key,
        key_len,
        rows,
        tile,
    );

    let lane = lane_piece(pitch);
    let lane_transposed = lane_piece_transposed(pitch);
    let plane_row = UNIT_POS as usize / 32 * comptime!(tile.plane_rows());
    let plane_at = plane_row * pitch;
    let first = first_key + plane_row;
    let factor = sizes.scale * comptime!(std::f32::consts::LOG2_E);
    let lane_column = UNIT_POS_PLANE as usize % 4 * 2;

    let sums = comptime!(row_tiles * channels / 8);
    let mut dk = zeros::<P>(comptime!(sums * gathered.keys() as usize));
    let mut dv = zeros::<P>(comptime!(sums * gathered.values() as usize));

    let mut head = 0usize;
    let mut buffer = 0usize;
    if at != NO_TILE {
        let query = (at / 4) as usize * columns;
        copy_rows(
            q_bhtd,
            &mut shared,
            q_at,
            first_head,
            query,
            query_len,
            columns,
            tile,
        );
        let grad_at = comptime!(q_at + tile.column_tile_pieces());
        copy_rows(
            grad_bhtd,
            &mut shared,
            grad_at,
            first_head,
            query,
            query_len,
            columns,
            tile,
        );
        copy_stats(
            stats,
            &mut columns_stats,
            0usize,
            first_head,
            query,
            sizes,
            tile,
        );
    }
    copies_commit();

    while at != NO_TILE {
        let query = (at / 4) as usize * columns;
        let tile_q = q_at + buffer * stage;
        let tile_grad = tile_q + comptime!(tile.column_tile_pieces());
        let tile_stats = buffer * comptime!(2 * columns) + lane_column;
        copies_wait(0usize);
        sync_cube();

        let mut next = walk.next_queries(table, layout, first_key, query_len, columns, rows);
        if next == NO_TILE && head + 1 < group {
            head += 1;
            walk.restart();
            next = walk.next_queries(table, layout, first_key, query_len, columns, rows);
        }
        buffer = 1 - buffer;
        if next != NO_TILE {
            let query = (next / 4) as usize * columns;
            let row = first_head + head * query_len;
            let to = q_at + buffer * stage;
            copy_rows(
                q_bhtd,
                &mut shared,
                to,
                row,
                query,
                query_len,
                columns,
                tile,
            );
            let to = to + comptime!(tile.column_tile_pieces());
            copy_rows(
                grad_bhtd,
                &mut shared,
                to,
                row,
                query,
                query_len,
                columns,
                tile,
            );
            let to = buffer * comptime!(2 * columns);
            copy_stats(stats, &mut columns_stats, to, row, query, sizes, tile);
        }
        copies_commit();

        let mut weights = product_of_rows::<E, P, V>(
            &mma,
            &shared,
            plane_at + lane,
            tile_q + lane_transposed,
            row_tiles,
            columns,
            channels,
        );
        if at % 4 == PARTIAL {
            hide_queries(
                &mut weights,
                table,
                layout,
                query,
                first,
                row_tiles,
                columns,
            );
        }
        transposed_weights(
            &mut weights,
            &columns_stats,
            tile_stats,
            factor,
            row_tiles,
            columns,
        );
        if comptime!(gathered.values()) {
            let rounded = round::<E, P>(&weights, row_tiles, columns);
            add_product::<E, P, V>(
                &mma,
                &mut dv,
                &rounded,
                &shared,
                tile_grad + lane,
                row_tiles,
                columns,
                channels,
            );
        }
        if comptime!(gathered.keys()) {
            let mut grads = product_of_rows::<E, P, V>(
                &mma,
                &shared,
                v_at + plane_at + lane,
                tile_grad + lane_transposed,
                row_tiles,
                columns,
                channels,
            );
            transposed_gradients(
                &weights,
                &mut grads,
                &columns_stats,
                tile_stats + columns,
                row_tiles,
                columns,
            );
            let rounded = round::<E, P>(&grads, row_tiles, columns);
            add_product::<E, P, V>(
                &mma,
                &mut dk,
                &rounded,
                &shared,
                tile_q + lane,
                row_tiles,
                columns,
                channels,
            );
        }
        at = next;
    }

    // The results go through the place of the keys and values, for which nobody has waited if
    // there was no step.
    copies_wait(0usize);
    sync_cube();
    let mut factors = Array::<f32>::new(comptime!(2 * row_tiles));
    if comptime!(gathered.keys()) {
        #[unroll]
        for row in 0..comptime!(2 * row_tiles) {
            factors[row] = sizes.scale;
        }
        store_rows(
            &dk,
            &factors,
            &mut shared,
            plane_at,
            dk_bhsd,
            key_head,
            first,
            key_len,
            tile,
        );
    }
    if comptime!(gathered.values()) {
        #[unroll]
        for row in 0..comptime!(2 * row_tiles) {
            factors[row] = 1.0f32;
        }
        let at = v_at + plane_at;
        store_rows(
            &dv,
            &factors,
            &mut shared,
            at,
            dv_bhsd,
            key_head,
            first,
            key_len,
            tile,
        );
    }
}
