//! Forward: a block of queries walks over its keys once, with an online softmax.

use rayon::prelude::*;

use super::block::Block;
use super::heads::Heads;
use super::softmax::{TILE_KEYS, TILE_QUERIES};
use crate::attention::layout::LayoutTable;

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
            let (k, v) = (k.head(row, head / group), v.head(row, head / group));
            let block = Block {
                table,
                row,
                q: q.head(row, head).rows(queries.clone()),
                queries,
                head_dim,
            };
            block.attend(k.transposed(), v, scores, out, lse);
        },
    );
    (out, lse)
}
