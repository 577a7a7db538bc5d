//! Forward: a cube walks with its queries over their keys once, with an online softmax.
//!
//! ```text
//! S = scale Q K^T        m' = max(m, rowmax S)        P = exp(S - m')
//! O <- exp(m - m') O + P V        l <- exp(m - m') l + rowsum P
//! O / l,  lse = m + ln l
//! ```
//!
//! Dao et al., "FlashAttention" (2022), algorithm 1, with the loops of "FlashAttention-2" (2023).

use cubecl::prelude::*;

use super::mask::visible_scores;
use super::products::{accumulate, share_weights, store_sums, zeros};
use super::rows::{Quad, Rows};
use super::softmax::OnlineSoftmax;
use super::tile::TileConfig;
use crate::attention::cube::rule::{NO_TILE, next_key_tile};
use crate::attention::cube::sizes::{Sizes, from_the_end};

/// One cube a tile of queries, head and batch row.
///
/// # Shapes
///
/// - `q_bhtd`, `out_bhtd`: `[batch, heads, query_len, head_dim]`
/// - `k_bhsd`, `v_bhsd`: `[batch, kv_heads, key_len, head_dim]`
/// - `lse_bht`: `[batch, heads, query_len]`
#[cube(launch)]
pub fn forward<F: Float, N: Size>(
    q_bhtd: &[Vector<F, N>],
    k_bhsd: &[Vector<F, N>],
    v_bhsd: &[Vector<F, N>],
    layout: &[i32],
    out_bhtd: &mut [Vector<F, N>],
    lse_bht: &mut [f32],
    sizes: Sizes,
    #[comptime] tile: TileConfig,
    #[define(F)] _dtype: ElemType,
) {
    let table = sizes.table(CUBE_POS_Z as usize);
    let queries = Rows {
        head: sizes.query_head(CUBE_POS_Y as usize, CUBE_POS_Z as usize),
        start: from_the_end(CUBE_POS_X, CUBE_COUNT_X) * comptime!(tile.rows()),
        len: sizes.query_len,
    };
    let kv_head = sizes.key_head(CUBE_POS_Y as usize, CUBE_POS_Z as usize);

    let mut stage = Shared::<[Quad]>::new_slice(comptime!(tile.stage()));
    let mut weights = Shared::<[Quad]>::new_slice(comptime!(tile.weights()));
    let mut answer = Shared::<[u32]>::new_slice(1usize);

    let mut sums = zeros(tile);
    let mut softmax = OnlineSoftmax::new();

    let summary = table.summary(layout, queries.start, comptime!(tile.rows()));
    let mut found = next_key_tile(
        table,
        layout,
        summary,
        0u32,
        &mut answer,
        comptime!(tile.columns()),
    );
    while found != NO_TILE {
        let keys = Rows {
            head: kv_head,
            start: (found / 4) as usize * comptime!(tile.columns()),
            len: sizes.key_len,
        };
        let mut values = visible_scores::<F, N>(
            q_bhtd,
            queries,
            k_bhsd,
            keys,
            found,
            table,
            layout,
            sizes.scale,
            &mut stage,
            false,
            tile,
        );

        softmax.update(&mut values, &mut sums, &mut stage, tile);
        share_weights(values, &mut weights, tile);
        accumulate::<F, N>(&mut sums, &weights, v_bhsd, keys, &mut stage, tile);

        found = next_key_tile(
            table,
            layout,
            summary,
            found / 4 + 1,
            &mut answer,
            comptime!(tile.columns()),
        );
    }

    let (inverse, row_lse) = softmax.finish(&mut stage, tile);
    store_sums::<F, N>(sums, inverse, out_bhtd, queries, tile);
    if UNIT_POS_X == 0 {
        #[unroll]
        for i in 0..4usize {
            let query = queries.start + UNIT_POS_Y as usize + comptime!(i * tile.units_y);
            if query < queries.len {
                lse_bht[queries.head + query] = row_lse.extract(i);
            }
        }
    }
}
