//! The gradients of keys and values: a cube walks with its keys over the queries that see them, of
//! all query heads that share the keys.
//!
//! ```text
//! P^T = exp(scale K Q^T - lse)        dP^T = V dO^T        dS^T = P^T (dP^T - delta)
//! dV = P^T dO                         dK = scale dS^T Q
//! ```
//!
//! Sources as for the queries' gradient.

use cubecl::prelude::*;

use super::mask::visible_scores;
use super::products::{accumulate, scores, share_weights, store_sums, zeros};
use super::rows::{Quad, Rows, delta_of, lse_of};
use super::tile::TileConfig;
use crate::attention::cube::rule::{NO_TILE, next_query_tile};
use crate::attention::cube::sizes::Sizes;

/// One cube a tile of keys, key/value head and batch row.
///
/// # Shapes
///
/// - `q_bhtd`, `grad_bhtd`: `[batch, heads, query_len, head_dim]`
/// - `k_bhsd`, `v_bhsd`: `[batch, kv_heads, key_len, head_dim]`
/// - `stats`: `[2, batch, heads, query_len]`, the log-sum-exp and delta
/// - `dkv`: the gradients of keys and of values, each in the shape of `k_bhsd`. They share a buffer,
///   `dv_head` rows apart, because WebGPU promises no more than eight to a kernel.
#[cube(launch)]
pub fn key_value_gradient<F: Float, N: Size>(
    q_bhtd: &[Vector<F, N>],
    k_bhsd: &[Vector<F, N>],
    v_bhsd: &[Vector<F, N>],
    grad_bhtd: &[Vector<F, N>],
    stats: &[f32],
    layout: &[i32],
    dkv: &mut [Vector<F, N>],
    dv_head: usize,
    sizes: Sizes,
    #[comptime] tile: TileConfig,
    #[define(F)] _dtype: ElemType,
) {
    let x = UNIT_POS_X as usize;
    let units_x = comptime!(tile.units_x);

    let table = sizes.table(CUBE_POS_Z as usize);
    let group = sizes.heads / sizes.kv_heads;
    let keys = Rows {
        head: (CUBE_POS_Z as usize * sizes.kv_heads + CUBE_POS_Y as usize) * sizes.key_len,
        start: CUBE_POS_X as usize * comptime!(tile.rows()),
        len: sizes.key_len,
    };

    let mut stage = Shared::<[Quad]>::new_slice(comptime!(tile.stage()));
    let mut weights = Shared::<[Quad]>::new_slice(comptime!(tile.weights()));
    let mut answer = Shared::<[u32]>::new_slice(1usize);

    let mut dk = zeros(tile);
    let mut dv = zeros(tile);

    let mut found = next_query_tile(
        table,
        layout,
        keys.start,
        0u32,
        &mut answer,
        comptime!(tile.columns()),
        comptime!(tile.rows()),
    );
    while found != NO_TILE {
        for member in 0..group {
            let head = CUBE_POS_Y as usize * group + member;
            let queries = Rows {
                head: sizes.query_head(head, CUBE_POS_Z as usize),
                start: (found / 4) as usize * comptime!(tile.columns()),
                len: sizes.query_len,
            };
            let mut values = visible_scores::<F, N>(
                k_bhsd,
                keys,
                q_bhtd,
                queries,
                found,
                table,
                layout,
                sizes.scale,
                &mut stage,
                true,
                tile,
            );
            let mut gradients = scores::<F, N>(v_bhsd, keys, grad_bhtd, queries, &mut stage, tile);
            #[unroll]
            for j in 0..4usize {
                let query = queries.start + x + comptime!(j * units_x);
                let lse = lse_of(sizes, stats, queries.head, query);
                let delta = delta_of(sizes, stats, queries.head, query);
                #[unroll]
                for i in 0..4usize {
                    let at = comptime!(4 * i + j);
                    values[at] = (values[at] - lse).exp();
                    gradients[at] = values[at] * (gradients[at] - delta);
                }
            }
            share_weights(values, &mut weights, tile);
            accumulate::<F, N>(&mut dv, &weights, grad_bhtd, queries, &mut stage, tile);
            sync_cube();
            share_weights(gradients, &mut weights, tile);
            accumulate::<F, N>(&mut dk, &weights, q_bhtd, queries, &mut stage, tile);
        }
        found = next_query_tile(
            table,
            layout,
            keys.start,
            found / 4 + 1,
            &mut answer,
            comptime!(tile.columns()),
            comptime!(tile.rows()),
        );
    }

    let values = Rows {
        head: dv_head + keys.head,
        start: keys.start,
        len: keys.len,
    };
    store_sums::<F, N>(dk, Quad::new(sizes.scale), dkv, keys, tile);
    store_sums::<F, N>(dv, Quad::new(1.0f32), dkv, values, tile);
}
