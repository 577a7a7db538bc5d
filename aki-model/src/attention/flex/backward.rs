//! Backward: the weights are made again from the log-sum-exp, tile by tile.
//!
//! Parallel over batch rows and query heads, not over blocks of queries: a block adds to the keys'
//! gradients, and to keep those of each block apart would take their memory times the blocks.

use rayon::prelude::*;

use super::block::{Block, Outcome};
use super::gemm::{Matrix, multiply};
use super::heads::Heads;
use super::softmax::{TILE_KEYS, TILE_QUERIES};
use crate::attention::layout::LayoutTable;

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
        let (k, v) = (inputs.k.head(row, kv_head), inputs.v.head(row, kv_head));
        let across = [k, v].map(Matrix::transposed);
        let lse = &inputs.lse[(row * heads + head) * query_len..][..query_len];
        for start in (0..query_len).step_by(TILE_QUERIES) {
            let queries = start..(start + TILE_QUERIES).min(query_len);
            let [q, out, grad] = [&inputs.q, &inputs.out, &inputs.grad]
                .map(|heads| heads.head(row, head).rows(queries.clone()));
            let outcome = Outcome::new(out, grad, &lse[queries.clone()]);
            let dq = &mut d.q[queries.start * head_dim..queries.end * head_dim];
            let block = Block {
                table,
                row,
                queries,
                head_dim,
                q,
            };
            let scale = block.scale();
            for (at, (keys, tile)) in block.tiles().enumerate() {
                let room = [&mut self.scores[..], &mut self.gradients[..]];
                let [weights, gradients] =
                    block.weights_and_gradients(&outcome, across, (&keys, tile), room);
                let of_keys = keys.start * head_dim..keys.end * head_dim;
                let dv = &mut d.v[of_keys.clone()];
                multiply(dv, head_dim, true, 1.0, weights.transposed(), grad);
                multiply(dq, head_dim, at > 0, scale, gradients, k.rows(keys));
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
