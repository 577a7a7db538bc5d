//! Forward: a cube walks with its queries over their keys once, with an online softmax.
//!
//! ```text
//! S = scale Q K^T        m' = max(m, rowmax S)        P = exp(S - m')
//! O <- exp(m - m') O + P V        l <- exp(m - m') l + rowsum P
//! O / l,  lse = m + ln l
//! ```
//!
//! Dao, "FlashAttention-2" (2023): a plane owns its rows from the scores to the output, all in
//! registers. While it multiplies by K the tile of V comes, and the next K while it multiplies by
//! V, so one buffer of each is enough and two barriers a step.

use cubecl::cmma::MmaDefinition;
use cubecl::prelude::*;

use super::fragments::{
    add_product, lane_piece, lane_piece_transposed, product_of_rows, round, zeros,
};
use super::mask::hide_keys;
use super::ptx::{copies_commit, copies_wait};
use super::softmax::OnlineSoftmax;
use super::stage::{copy_rows, store_rows, zero_padding};
use super::tile::TileConfig;
use super::walk::Walk;
use crate::attention::cube::rule::{NO_TILE, PARTIAL};
use crate::attention::cube::sizes::{Sizes, from_the_end};

/// One cube a tile of queries, head and batch row.
///
/// # Shapes
///
/// - `q_bhtd`, `out_bhtd`: `[batch, heads, query_len, head_dim]`
/// - `k_bhsd`, `v_bhsd`: `[batch, kv_heads, key_len, head_dim]`
/// - `lse_bht`: `[batch, heads, query_len]`
#[cube(launch)]
pub fn forward<E: Float, V: Size>(
    q_bhtd: &[Vector<E, V>],
    k_bhsd: &[Vector<E, V>],
    v_bhsd: &[Vector<E, V>],
    layout: &[i32],
    out_bhtd: &mut [Vector<E, V>],
    lse_bht: &mut [f32],
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

    let mut shared =
        Shared::<[Vector<E, V>]>::new_aligned_slice(comptime!(tile.forward_pieces()), 16usize);
    let k_at = comptime!(tile.row_tile_pieces());
    let v_at = comptime!(tile.row_tile_pieces() + tile.column_tile_pieces());
    zero_padding(&mut shared, comptime!(rows + 2 * columns), tile);

    let mut walk = Walk::new();
    let mut at = walk.next_keys(table, layout, first_query, rows, columns);
    copy_rows(
        q_bhtd,
        &mut shared,
        0usize,
        query_head,
        first_query,
        sizes.query_len,
        rows,
        tile,
    );
    if at != NO_TILE {
        let first_key = (at / 4) as usize * columns;
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
    }
    copies_commit();

    let lane = lane_piece(pitch);
    let lane_transposed = lane_piece_transposed(pitch);
    let plane_row = UNIT_POS as usize / 32 * comptime!(tile.plane_rows());
    let q_plane = plane_row * pitch;
    let mut out = zeros::<P>(comptime!(row_tiles * channels / 8));
    let mut softmax = OnlineSoftmax::new(row_tiles);
    let factor = sizes.scale * comptime!(std::f32::consts::LOG2_E);

    while at != NO_TILE {
        let first_key = (at / 4) as usize * columns;
        copies_wait(0usize);
        sync_cube();
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
        copies_commit();

        let mut scores = product_of_rows::<E, P, V>(
            &mma,
            &shared,
            q_plane + lane,
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
                first_query + plane_row,
                first_key,
                row_tiles,
                columns,
            );
        }

        copies_wait(0usize);
        sync_cube();
        let next = walk.next_keys(table, layout, first_query, rows, columns);
        if next != NO_TILE {
            let first_key = (next / 4) as usize * columns;
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
        }
        copies_commit();

        softmax.update(&mut scores, &mut out, factor, row_tiles, columns, channels);
        let weights = round::<E, P>(&scores, row_tiles, columns);
        add_product::<E, P, V>(
            &mma,
            &mut out,
            &weights,
            &shared,
            v_at + lane,
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
    let (factors, lse) = softmax.finish(row_tiles);
    let first = first_query + plane_row;
    let lane = UNIT_POS_PLANE as usize;
    if lane % 4 == 0 {
        #[unroll]
        for row in 0..comptime!(2 * row_tiles) {
            let query = first + lane / 4 + comptime!(8 * row);
            if query < sizes.query_len {
                lse_bht[query_head + query] = lse[row];
            }
        }
    }
    store_rows(
        &out,
        &factors,
        &mut shared,
        q_plane,
        out_bhtd,
        query_head,
        first,
        sizes.query_len,
        tile,
    );
}
