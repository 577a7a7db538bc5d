//! The gradient of the queries: a cube walks with its queries over their keys.
//!
//! ```text
//! P = exp(scale Q K^T - lse)        dP = dO V^T
//! dS = P (dP - delta)               dQ = scale dS K
//! ```
//!
//! The weights are made again from the log-sum-exp, as in Dao, "FlashAttention-2" (2023),
//! algorithm 2; but each gradient has a kernel of its own, which needs no atomic additions and so
//! gives the same sums every time.

use cubecl::prelude::*;

use super::mask::visible_scores;
use super::products::{accumulate, scores, share_weights, store_sums, zeros};
use super::rows::{Quad, Rows, delta_of, lse_of};
use super::tile::TileConfig;
use crate::attention::cube::rule::{NO_TILE, next_key_tile};
use crate::attention::cube::sizes::{Sizes, from_the_end};

/// One cube a tile of queries, head and batch row.
///
/// # Shapes
///
/// - `q_bhtd`, `grad_bhtd`, `dq_bhtd`: `[batch, heads, query_len, head_dim]`
/// - `k_bhsd`, `v_bhsd`: `[batch, kv_heads, key_len, head_dim]`
/// - `stats`: `[2, batch, heads, query_len]`, the log-sum-exp and delta
#[cube(launch)]
pub fn query_gradient<F: Float, N: Size>(
    q_bhtd: &[Vector<F, N>],
    k_bhsd: &[Vector<F, N>],
    v_bhsd: &[Vector<F, N>],
    grad_bhtd: &[Vector<F, N>],
    stats: &[f32],
    layout: &[i32],
    dq_bhtd: &mut [Vector<F, N>],
    sizes: Sizes,
    #[comptime] tile: TileConfig,
    #[define(F)] _dtype: ElemType,
) {
    let y = UNIT_POS_Y as usize;
    let units_y = comptime!(tile.units_y);

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
    let mut lse = Array::<f32>::new(4usize);
    let mut delta = Array::<f32>::new(4usize);
    #[unroll]
    for i in 0..4usize {
        let query = queries.start + y + comptime!(i * units_y);
        lse[i] = lse_of(sizes, stats, queries.head, query);
        delta[i] = delta_of(sizes, stats, queries.head, query);
    }

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
        let gradients = scores::<F, N>(grad_bhtd, queries, v_bhsd, keys, &mut stage, tile);
        #[unroll]
        for i in 0..4usize {
            #[unroll]
            for j in 0..4usize {
                let at = comptime!(4 * i + j);
                values[at] = (values[at] - lse[i]).exp() * (gradients[at] - delta[i]);
            }
        }
        share_weights(values, &mut weights, tile);
        accumulate::<F, N>(&mut sums, &weights, k_bhsd, keys, &mut stage, tile);

        found = next_key_tile(
            table,
            layout,
            summary,
            found / 4 + 1,
            &mut answer,
            comptime!(tile.columns()),
        );
    }

    store_sums::<F, N>(sums, Quad::new(sizes.scale), dq_bhtd, queries, tile);
}
