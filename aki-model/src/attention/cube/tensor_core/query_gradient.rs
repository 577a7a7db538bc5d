//! The queries' gradient: a cube walks with its queries over their keys once more.
//!
//! ```text
//! P = exp(scale Q K^T - lse)        dP = dO V^T        dS = P (dP - delta)
//! dQ = scale dS K
//! ```
//!
//! The structure is the forward kernel's: K comes while the plane multiplies by V, and the next V
//! while it multiplies by K, which is used twice.

use cubecl::cmma::MmaDefinition;
use cubecl::prelude::*;

use super::fragments::{
    add_product, lane_piece, lane_piece_transposed, product_of_rows, round, zeros,
};
use super::gradient::gradients_of_scores;
use super::mask::hide_keys;
use super::ptx::{copies_commit, copies_wait};
use super::stage::{copy_rows, store_rows, zero_padding};
use super::tile::TileConfig;
use super::walk::Walk;
use crate::attention::cube::rule::{NO_TILE, PARTIAL};
use crate::attention::cube::sizes::{Sizes, from_the_end};

/// One cube a tile of queries, head and batch row.
///
/// # Shapes
///
/// - `q_bhtd`, `grad_bhtd`, `dq_bhtd`: `[batch, heads, query_len, head_dim]`
/// - `k_bhsd`, `v_bhsd`: `[batch, kv_heads, key_len, head_dim]`
/// - `stats`: `[2, batch, heads, query_len]`, see [`delta`](super::delta)
#[cube(launch)]
pub fn query_gradient<E: Float, V: Size>(
    q_bhtd: &[Vector<E, V>],
    k_bhsd: &[Vector<E, V>],
    v_bhsd: &[Vector<E, V>],
    grad_bhtd: &[Vector<E, V>],
    stats: &[f32],
    layout: &[i32],
    dq_bhtd: &mut [Vector<E, V>],
    sizes: Sizes,
    #[comptime] tile: TileConfig,
    #[define(E)] _dtype: ElemType,
) {
    let size!(P) = 2usize;
    let mma = MmaDefinition::<E, E, f32>::new(16usize, 8usize, 16usize);
    let (rows, row_tiles) = comptime!((tile.rows(), tile.row_tiles));
    let (columns, channels, pitch) = comptime!((tile.columns, tile.channels(), tile.pitch()));

    let first_query = from_the_end(CUBE_POS_X, CUBE_COUNT_X) * rows;
    let query_head = sizes.query_head(CUBE_POS_Y as usize, CUBE_POS_Z as usize);
    let key_head = sizes.key_head(CUBE_POS_Y as usize, CUBE_POS_Z as usize);
    let table = sizes.table(CUBE_POS_Z as usize);

    let pieces = comptime!(tile.query_gradient_pieces());
    let mut shared = Shared::<[Vector<E, V>]>::new_aligned_slice(pieces, 16usize);
    let grad_at = comptime!(tile.row_tile_pieces());
    let k_at = comptime!(2 * tile.row_tile_pieces());
    let v_at = comptime!(2 * tile.row_tile_pieces() + tile.column_tile_pieces());
    zero_padding(&mut shared, comptime!(2 * rows + 2 * columns), tile);

    let mut walk = Walk::new();
    let mut at = walk.next_keys(table, layout, first_query, rows, columns);
    let query_len = sizes.query_len;
    copy_rows(
        q_bhtd,
        &mut shared,
        0usize,
        query_head,
        first_query,
        query_len,
        rows,
        tile,
    );
    copy_rows(
        grad_bhtd,
        &mut shared,
        grad_at,
        query_head,
        first_query,
        query_len,
        rows,
        tile,
    );
    if at != NO_TILE {
        let first_key = (at / 4) as usize * columns;
        copy_rows(
            v_bhsd,
            &mut shared,
            v_at,
            key_head,
            first_key,
            sizes.key_len,
            columns,
            tile,
        );
    }
    copies_commit();

    let lane = lane_piece(pitch);
    let lane_transposed = lane_piece_transposed(pitch);
    let plane_row = UNIT_POS as usize / 32 * comptime!(tile.plane_rows());
    let plane_at = plane_row * pitch;
    let first = first_query + plane_row;
    let factor = sizes.scale * comptime!(std::f32::consts::LOG2_E);

    let mut lse = Array::<f32>::new(comptime!(2 * row_tiles));
    let mut delta = Array::<f32>::new(comptime!(2 * row_tiles));
    #[unroll]
    for row in 0..comptime!(2 * row_tiles) {
        let query = first + UNIT_POS_PLANE as usize / 4 + comptime!(8 * row);
        let inside = min(query, query_len - 1);
        lse[row] = stats[query_head + inside];
        delta[row] = stats[sizes.batch * sizes.heads * query_len + query_head + inside];
    }

    let mut dq = zeros::<P>(comptime!(row_tiles * channels / 8));
    while at != NO_TILE {
        let first_key = (at / 4) as usize * columns;
        let next = walk.next_keys(table, layout, first_query, rows, columns);
        copies_wait(0usize);
        sync_cube();
        copy_rows(
            k_bhsd,
            &mut shared,
            k_at,
            key_head,
            first_key,
            sizes.key_len,
            columns,
            tile,
        );
        copies_commit();

        let mut grads = product_of_rows::<E, P, V>(
            &mma,
            &shared,
            grad_at + plane_at + lane,
            v_at + lane_transposed,
            row_tiles,
            columns,
            channels,
        );

        copies_wait(0usize);
        sync_cube();
        if next != NO_TILE {
            let first_key = (next / 4) as usize * columns;
            copy_rows(
                v_bhsd,
                &mut shared,
                v_at,
                key_head,
                first_key,
                sizes.key_len,
                columns,
                tile,
            );
        }
        copies_commit();

        let mut scores = product_of_rows::<E, P, V>(
            &mma,
            &shared,
            plane_at + lane,
            k_at + lane_transposed,
            row_tiles,
            columns,
            channels,
        );
        if at % 4 == PARTIAL {
            hide_keys(
                &mut scores,
                table,
                layout,
                first,
                first_key,
                row_tiles,
                columns,
            );
        }
        gradients_of_scores(
            &scores, &mut grads, &lse, &delta, factor, row_tiles, columns,
        );
        let grads = round::<E, P>(&grads, row_tiles, columns);
        add_product::<E, P, V>(
            &mma,
            &mut dq,
            &grads,
            &shared,
            k_at + lane,
            row_tiles,
            columns,
            channels,
        );
        at = next;
    }

    // The results go through the place of the queries, for which nobody has waited if there was no
    // step.
    copies_wait(0usize);
    sync_cube();
    let mut factors = Array::<f32>::new(comptime!(2 * row_tiles));
    #[unroll]
    for row in 0..comptime!(2 * row_tiles) {
        factors[row] = sizes.scale;
    }
    store_rows(
        &dq,
        &factors,
        &mut shared,
        plane_at,
        dq_bhtd,
        query_head,
        first,
        query_len,
        tile,
    );
}
