//! Backward: the weights are made again from the log-sum-exp, tile by tile.
//!
//! Parallel over batch rows and query heads, not over blocks of queries: a block adds to the keys'
//! gradients, and to keep those of each block apart would take their memory times the blocks.

use pulp::Arch;
use rayon::prelude::*;

use super::gemm::{Matrix, multiply};
use super::heads::Heads;
use super::softmax::{TILE_KEYS, TILE_QUERIES, dot, hide, weights_and_gradients};
use super::tiles;
use crate::attention::layout::{LayoutTable, Tile};

/// What the forward pass read and left, and the output's gradient.
pub struct Inputs<'a> {
    pub q: Heads<'a>,
    pub k: Heads<'a>,
    pub v: Heads<'a>,
    pub out: Heads<'a>,
    pub grad: Heads<'a>,
    /// `[batch, heads, query_len]`.
    pub lse: &'a [f32],
}

/// One head's gradients.
struct HeadGradients<'a> {
    q: &'a mut [f32],
    k: &'a mut [f32],
    v: &'a mut [f32],
}

/// The gradients of queries, keys and values, in their shapes.
///
/// Each query head is one thread's work from its first to its last tile, so the sums have one
/// order whatever the number of threads.
pub fn backward(inputs: &Inputs<'_>, table: &LayoutTable<'_>) -> [Vec<f32>; 3] {
    let [batch, heads, query_len, head_dim] = inputs.q.shape;
    let [_, kv_heads, key_len, _] = inputs.k.shape;
    let group = heads / kv_heads;
    let zeros = |len: usize| vec![0.0; batch * heads * len * head_dim];
    let (mut dq, mut dk, mut dv) = (zeros(query_len), zeros(key_len), zeros(key_len));
    let (query_size, key_size) = (query_len * head_dim, key_len * head_dim);
    dq.par_chunks_mut(query_size.max(1))
        .zip(dk.par_chunks_mut(key_size.max(1)))
        .zip(dv.par_chunks_mut(key_size.max(1)))
        .enumerate()
        .for_each_init(Scratch::new, |scratch, (at, ((q, k), v))| {
            // Written before they are added to: to read fresh zeros would cost a page fault more.
            k.fill(0.0);
            v.fill(0.0);
            let gradients = HeadGradients { q, k, v };
            scratch.head(inputs, table, at / heads, at % heads, gradients);
        });
    [
        dq,
        sum_groups(dk, group, key_size),
        sum_groups(dv, group, key_size),
    ]
}

struct Scratch {
    scores: Vec<f32>,
    gradients: Vec<f32>,
}

impl Scratch {
    fn new() -> Self {
        let tile = || vec![0.0; TILE_QUERIES * TILE_KEYS];
        Self {
            scores: tile(),
            gradients: tile(),
        }
    }

    fn head(
        &mut self,
        inputs: &Inputs<'_>,
        table: &LayoutTable<'_>,
        row: usize,
        head: usize,
        d: HeadGradients<'_>,
    ) {
        let [_, heads, query_len, head_dim] = inputs.q.shape;
        let kv_head = head / (heads / inputs.k.shape[1]);
        let scale = 1.0 / (head_dim as f32).sqrt();
        let (k, v) = (inputs.k.head(row, kv_head), inputs.v.head(row, kv_head));
        let lse = &inputs.lse[(row * heads + head) * query_len..][..query_len];
        let arch = Arch::new();
        for start in (0..query_len).step_by(TILE_QUERIES) {
            let queries = start..(start + TILE_QUERIES).min(query_len);
            let [q, out, grad] = [&inputs.q, &inputs.out, &inputs.grad]
                .map(|heads| heads.head(row, head).rows(queries.clone()));
            let mut delta = [0.0; TILE_QUERIES];
            for (i, delta) in delta[..queries.len()].iter_mut().enumerate() {
                *delta = dot(arch, out.row(i), grad.row(i));
            }
            let dq = &mut d.q[queries.start * head_dim..queries.end * head_dim];
            let scores = &mut self.scores[..queries.len() * TILE_KEYS];
            let gradients = &mut self.gradients[..queries.len() * TILE_KEYS];
            for (at, (keys, tile)) in tiles(table, row, &queries).enumerate() {
                let (k, v) = (k.rows(keys.clone()), v.rows(keys.clone()));
                multiply(scores, TILE_KEYS, false, 1.0, q, k.transposed());
                multiply(gradients, TILE_KEYS, false, 1.0, grad, v.transposed());
                if tile == Tile::Partial {
                    hide(table, row, &queries, &keys, scores);
                }
                weights_and_gradients(
                    arch,
                    scores,
                    gradients,
                    keys.len(),
                    scale,
                    &lse[queries.clone()],
                    &delta,
                );
                let of_keys = keys.start * head_dim..keys.end * head_dim;
                let tile = |values| Matrix::new(values, queries.len(), keys.len(), TILE_KEYS);
                let (weights, gradients) = (tile(scores), tile(gradients));
                let dv = &mut d.v[of_keys.clone()];
                multiply(dv, head_dim, true, 1.0, weights.transposed(), grad);
                multiply(dq, head_dim, at > 0, scale, gradients, k);
                let dk = &mut d.k[of_keys];
                multiply(dk, head_dim, true, scale, gradients.transposed(), q);
            }
        }
    }
}

/// Adds up the gradients of the query heads that share a key or value head.
fn sum_groups(per_head: Vec<f32>, group: usize, size: usize) -> Vec<f32> {
    if group == 1 {
        return per_head;
    }
    let mut sums = vec![0.0; per_head.len() / group];
    sums.par_chunks_mut(size.max(1))
        .zip(per_head.par_chunks(group * size.max(1)))
        .for_each(|(sum, heads)| {
            for head in heads.chunks(size) {
                for (sum, value) in sum.iter_mut().zip(head) {
                    *sum += value;
                }
            }
        });
    sums
}
