//! Forward: a block of queries walks over its keys once, with an online softmax.

use pulp::Arch;
use rayon::prelude::*;

use super::gemm::{Matrix, multiply};
use super::heads::Heads;
use super::softmax::{Running, TILE_KEYS, TILE_QUERIES, hide};
use super::tiles;
use crate::attention::layout::{LayoutTable, Tile};

/// The output `[batch, heads, query_len, head_dim]` and the log-sum-exp of each row.
pub fn forward(
    q: &Heads<'_>,
    k: &Heads<'_>,
    v: &Heads<'_>,
    table: &LayoutTable<'_>,
) -> (Vec<f32>, Vec<f32>) {
    let [batch, heads, query_len, head_dim] = q.shape;
    let mut out = vec![0.0; batch * heads * query_len * head_dim];
    let mut lse = vec![0.0; batch * heads * query_len];
    let group = heads / k.shape[1];
    let scale = 1.0 / (head_dim as f32).sqrt();
    let arch = Arch::new();

    let per_head = out
        .chunks_mut((query_len * head_dim).max(1))
        .zip(lse.chunks_mut(query_len.max(1)));
    let blocks: Vec<_> = per_head
        .enumerate()
        .flat_map(|(at, (out, lse))| {
            let blocks = out
                .chunks_mut(TILE_QUERIES * head_dim)
                .zip(lse.chunks_mut(TILE_QUERIES));
            blocks
                .enumerate()
                .map(move |(block, (out, lse))| (at, block * TILE_QUERIES, out, lse))
        })
        .collect();
    blocks.into_par_iter().for_each_init(
        || vec![0.0; TILE_QUERIES * TILE_KEYS],
        |scores, (at, start, out, lse)| {
            let (row, head) = (at / heads, at % heads);
            let queries = start..start + lse.len();
            let scores = &mut scores[..queries.len() * TILE_KEYS];
            let q = q.head(row, head).rows(queries.clone());
            let (k, v) = (k.head(row, head / group), v.head(row, head / group));
            let mut running = Running::new();
            for (at, (keys, tile)) in tiles(table, row, &queries).enumerate() {
                let columns = k.rows(keys.clone()).transposed();
                multiply(scores, TILE_KEYS, false, 1.0, q, columns);
                if tile == Tile::Partial {
                    hide(table, row, &queries, &keys, scores);
                }
                // The first tile writes: to read the fresh zeros would cost a page fault more.
                let gathered = (at > 0).then_some(&mut *out);
                running.update(arch, scores, keys.len(), scale, gathered, head_dim);
                let weights = Matrix::new(scores, queries.len(), keys.len(), TILE_KEYS);
                multiply(out, head_dim, at > 0, 1.0, weights, v.rows(keys));
            }
            running.finish(out, head_dim, lse);
        },
    );
    (out, lse)
}
