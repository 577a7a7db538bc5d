//! Attention over a projection where it lies.

use std::ops::Range;

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::DType;
use rayon::prelude::*;

use super::block::{Block, Outcome};
use super::gemm::{Matrix, multiply};
use super::heads::tensor;
use super::softmax::{TILE_KEYS, TILE_QUERIES};
use super::{table, tell};
use crate::attention::layout::LayoutTable;
use crate::attention::projected::{Parts, ProjectedOps};

/// Tokens that are turned over together: a cache line of each channel.
const TURNED: usize = 16;

impl ProjectedOps for Flex {
    fn projected_forward(
        qkv_btc: FlexTensor,
        cos: FlexTensor,
        sin: FlexTensor,
        layout: FlexTensor,
        parts: Parts,
    ) -> (FlexTensor, FlexTensor) {
        tell();
        let inputs = [qkv_btc, cos, sin].map(|it| it.to_contiguous());
        let projection = Projection::new(&inputs, parts);
        let Projection { batch, len, .. } = projection;
        let table = table(&layout, [batch, parts.heads, len, parts.head_dim], len);
        let (out, lse) = forward(&projection, &table);
        (
            tensor(out, &[batch, len, parts.heads * parts.head_dim], DType::F32),
            tensor(lse, &[batch, len, parts.heads], DType::F32),
        )
    }

    fn projected_backward(
        qkv_btc: FlexTensor,
        cos: FlexTensor,
        sin: FlexTensor,
        out_btd: FlexTensor,
        lse_bth: FlexTensor,
        grad_btd: FlexTensor,
        layout: FlexTensor,
        parts: Parts,
    ) -> FlexTensor {
        let inputs = [qkv_btc, cos, sin].map(|it| it.to_contiguous());
        let projection = Projection::new(&inputs, parts);
        let Projection { batch, len, .. } = projection;
        let table = table(&layout, [batch, parts.heads, len, parts.head_dim], len);
        let left = [out_btd, lse_bth, grad_btd].map(|it| it.to_contiguous());
        let [out, lse, grad] = left.each_ref().map(FlexTensor::storage::<f32>);
        let mut gradient = vec![0.0; batch * len * parts.width()];
        gradient
            .par_chunks_mut((len * parts.width()).max(1))
            .enumerate()
            .for_each_init(
                || Scratch::new(len, parts.head_dim),
                |scratch, (row, gradient)| {
                    let size = len * parts.heads * parts.head_dim;
                    let of_row = Inputs {
                        projection: &projection,
                        table: &table,
                        row,
                        out: &out[row * size..][..size],
                        grad: &grad[row * size..][..size],
                        lse: &lse[row * len * parts.heads..][..len * parts.heads],
                    };
                    for kv_head in 0..parts.kv_heads {
                        scratch.key_head(&of_row, kv_head, gradient);
                    }
                },
            );
        tensor(gradient, &[batch, len, parts.width()], DType::F32)
    }
}

/// A projection and the angles by which its tokens turn.
struct Projection<'a> {
    qkv: &'a [f32],
    cos: &'a [f32],
    sin: &'a [f32],
    batch: usize,
    len: usize,
    parts: Parts,
}

impl<'a> Projection<'a> {
    /// Of contiguous tensors: the projection, cosines and sines.
    fn new(inputs: &'a [FlexTensor; 3], parts: Parts) -> Self {
        let [qkv, cos, sin] = inputs.each_ref().map(FlexTensor::storage);
        let shape = inputs[0].layout().shape();
        Self {
            qkv,
            cos,
            sin,
            batch: shape[0],
            len: shape[1],
            parts,
        }
    }

    /// A head of a row, `[len, head_dim]`; key heads come after the query heads, value heads after them.
    fn head(&self, row: usize, head: usize) -> Matrix<'a> {
        let width = self.parts.width();
        let row = &self.qkv[row * self.len * width..];
        let head_dim = self.parts.head_dim;
        Matrix::new(&row[head * head_dim..], self.len, head_dim, width)
    }

    /// Cosines and sines of a row, `[len, head_dim]`.
    fn angles(&self, row: usize) -> [&'a [f32]; 2] {
        let size = self.len * self.parts.head_dim;
        // One row may stand for all.
        let start = if self.cos.len() == size {
            0
        } else {
            row * size
        };
        [self.cos, self.sin].map(|all| &all[start..start + size])
    }

    /// Queries of a head, turned.
    fn queries(&self, row: usize, head: usize, queries: Range<usize>, out: &mut [f32]) {
        let of_head = self.head(row, head);
        let angles = self.angles(row);
        for (token, out) in queries.zip(out.chunks_mut(self.parts.head_dim)) {
            turn(of_head.row(token), token, angles, 1.0, out);
        }
    }

    /// Keys of a head, turned: `[head_dim, len]`, and if asked for `[len, head_dim]` too.
    fn keys(&self, row: usize, kv_head: usize, across: &mut [f32], mut along: Option<&mut [f32]>) {
        let head_dim = self.parts.head_dim;
        let of_head = self.head(row, self.parts.heads + kv_head);
        let angles = self.angles(row);
        turn_over(self.len, head_dim, across, |token, out| {
            turn(of_head.row(token), token, angles, 1.0, out);
            if let Some(along) = &mut along {
                along[token * head_dim..][..head_dim].copy_from_slice(out);
            }
        });
    }

    fn values(&self, row: usize, kv_head: usize) -> Matrix<'a> {
        self.head(row, self.parts.heads + self.parts.kv_heads + kv_head)
    }
}

/// Turns a token's head by its angles, or back if `direction` is -1, as
/// [`RotaryTable`](crate::attention::rope::RotaryTable) does.
fn turn(x: &[f32], token: usize, angles: [&[f32]; 2], direction: f32, out: &mut [f32]) {
    let half = x.len() / 2;
    let [cos, sin] = angles.map(|all| &all[token * x.len()..][..half]);
    let ((first, second), (out_first, out_second)) = (x.split_at(half), out.split_at_mut(half));
    let outs = out_first.iter_mut().zip(out_second);
    let turns = cos.iter().zip(sin);
    for (((out_first, out_second), (first, second)), (cos, sin)) in
        outs.zip(first.iter().zip(second)).zip(turns)
    {
        let sin = direction * sin;
        *out_first = first * cos - second * sin;
        *out_second = second * cos + first * sin;
    }
}

/// `[width, len]` of what `read` gives of each of `len` tokens.
fn turn_over(len: usize, width: usize, out: &mut [f32], mut read: impl FnMut(usize, &mut [f32])) {
    let mut block = vec![0.0; TURNED * width];
    for start in (0..len).step_by(TURNED) {
        let tokens = start..(start + TURNED).min(len);
        for (token, out) in tokens.clone().zip(block.chunks_mut(width)) {
            read(token, out);
        }
        for (channel, line) in out.chunks_mut(len).enumerate() {
            for (at, value) in line[tokens.clone()].iter_mut().enumerate() {
                *value = block[at * width + channel];
            }
        }
    }
}

/// The tokens of `[width, len]`, one after the other.
fn turn_back(across: &[f32], len: usize, mut write: impl FnMut(usize, &[f32])) {
    let width = across.len() / len;
    let mut block = vec![0.0; TURNED * width];
    for start in (0..len).step_by(TURNED) {
        let tokens = start..(start + TURNED).min(len);
        for (channel, line) in across.chunks(len).enumerate() {
            for (at, &value) in line[tokens.clone()].iter().enumerate() {
                block[at * width + channel] = value;
            }
        }
        for (token, values) in tokens.zip(block.chunks(width)) {
            write(token, values);
        }
    }
}

/// The output `[batch, len, heads, head_dim]` and the log-sum-exp `[batch, len, heads]`. A task has a
/// block of queries with all their heads, which lie in one piece.
fn forward(projection: &Projection<'_>, table: &LayoutTable<'_>) -> (Vec<f32>, Vec<f32>) {
    let &Projection {
        batch, len, parts, ..
    } = projection;
    let (heads, head_dim) = (parts.heads, parts.head_dim);
    let width = heads * head_dim;
    let mut keys = vec![0.0; batch * parts.kv_heads * head_dim * len];
    let of_head = head_dim * len;
    keys.par_chunks_mut(of_head.max(1))
        .enumerate()
        .for_each(|(at, keys)| {
            projection.keys(at / parts.kv_heads, at % parts.kv_heads, keys, None);
        });

    let mut out = vec![0.0; batch * len * width];
    let mut lse = vec![0.0; batch * len * heads];
    let rows = out
        .chunks_mut((len * width).max(1))
        .zip(lse.chunks_mut((len * heads).max(1)));
    let blocks: Vec<_> = rows
        .enumerate()
        .flat_map(|(row, (out, lse))| {
            let blocks = out
                .chunks_mut(TILE_QUERIES * width)
                .zip(lse.chunks_mut(TILE_QUERIES * heads));
            blocks
                .enumerate()
                .map(move |(block, (out, lse))| (row, block * TILE_QUERIES, out, lse))
        })
        .collect();
    let scratch = || {
        (
            vec![0.0; TILE_QUERIES * TILE_KEYS],
            vec![0.0; TILE_QUERIES * head_dim],
            vec![0.0; TILE_QUERIES * head_dim],
        )
    };
    blocks.into_par_iter().for_each_init(
        scratch,
        |(scores, q, gathered), (row, start, out, lse)| {
            let count = out.len() / width;
            let queries = start..start + count;
            let (q, gathered) = (
                &mut q[..count * head_dim],
                &mut gathered[..count * head_dim],
            );
            for head in 0..heads {
                let kv_head = head / (heads / parts.kv_heads);
                let k = &keys[(row * parts.kv_heads + kv_head) * of_head..][..of_head];
                let k = Matrix::new(k, head_dim, len, len);
                let v = projection.values(row, kv_head);
                projection.queries(row, head, queries.clone(), q);
                let block = Block {
                    table,
                    row,
                    queries: queries.clone(),
                    head_dim,
                    q: Matrix::new(q, count, head_dim, head_dim),
                };
                gathered.fill(0.0);
                let mut of_head = [0.0; TILE_QUERIES];
                block.attend(k, v, scores, gathered, &mut of_head[..count]);
                for (i, values) in gathered.chunks(head_dim).enumerate() {
                    out[i * width + head * head_dim..][..head_dim].copy_from_slice(values);
                    lse[i * heads + head] = of_head[i];
                }
            }
        },
    );
    (out, lse)
}

/// What a row's backward pass reads.
struct Inputs<'a> {
    projection: &'a Projection<'a>,
    table: &'a LayoutTable<'a>,
    row: usize,
    /// `[len, heads * head_dim]`.
    out: &'a [f32],
    grad: &'a [f32],
    /// `[len, heads]`.
    lse: &'a [f32],
}

/// Of one key head; keys, values and their gradients are `[head_dim, len]`.
struct Scratch {
    keys: Vec<f32>,
    keys_along: Vec<f32>,
    values: Vec<f32>,
    key_gradients: Vec<f32>,
    value_gradients: Vec<f32>,
    q: Vec<f32>,
    q_gradients: Vec<f32>,
    scores: Vec<f32>,
    gradients: Vec<f32>,
}

impl Scratch {
    fn new(len: usize, head_dim: usize) -> Self {
        let zeros = |rows: usize, columns: usize| vec![0.0; rows * columns];
        Self {
            keys: zeros(len, head_dim),
            keys_along: zeros(len, head_dim),
            values: zeros(len, head_dim),
            key_gradients: zeros(len, head_dim),
            value_gradients: zeros(len, head_dim),
            q: zeros(TILE_QUERIES, head_dim),
            q_gradients: zeros(TILE_QUERIES, head_dim),
            scores: zeros(TILE_QUERIES, TILE_KEYS),
            gradients: zeros(TILE_QUERIES, TILE_KEYS),
        }
    }

    /// Writes the gradients of a key head, of its value head and of their query heads into the row's.
    fn key_head(&mut self, of: &Inputs<'_>, kv_head: usize, gradient: &mut [f32]) {
        let &Projection { len, parts, .. } = of.projection;
        let (head_dim, width) = (parts.head_dim, parts.width());
        let (keys, along) = (&mut self.keys, &mut self.keys_along);
        of.projection
            .keys(of.row, kv_head, keys, Some(along.as_mut_slice()));
        let v = of.projection.values(of.row, kv_head);
        turn_over(len, head_dim, &mut self.values, |token, out| {
            out.copy_from_slice(v.row(token));
        });
        self.key_gradients.fill(0.0);
        self.value_gradients.fill(0.0);
        let group = parts.heads / parts.kv_heads;
        for head in kv_head * group..(kv_head + 1) * group {
            for start in (0..len).step_by(TILE_QUERIES) {
                let queries = start..(start + TILE_QUERIES).min(len);
                self.queries(of, head, queries, gradient);
            }
        }
        let angles = of.projection.angles(of.row);
        let of_keys = (parts.heads + kv_head) * head_dim;
        turn_back(&self.key_gradients, len, |token, values| {
            let out = &mut gradient[token * width + of_keys..][..head_dim];
            turn(values, token, angles, -1.0, out);
        });
        let of_values = of_keys + parts.kv_heads * head_dim;
        turn_back(&self.value_gradients, len, |token, values| {
            gradient[token * width + of_values..][..head_dim].copy_from_slice(values);
        });
    }

    /// Adds what a block of queries gives to the keys' and values' gradients, and writes its own.
    fn queries(
        &mut self,
        of: &Inputs<'_>,
        head: usize,
        queries: Range<usize>,
        gradient: &mut [f32],
    ) {
        let &Projection { len, parts, .. } = of.projection;
        let (heads, head_dim) = (parts.heads, parts.head_dim);
        let count = queries.len();
        let [out, grad] = [of.out, of.grad].map(|values| {
            let of_head = Matrix::new(&values[head * head_dim..], len, head_dim, heads * head_dim);
            of_head.rows(queries.clone())
        });
        let mut lse = [0.0; TILE_QUERIES];
        for (lse, token) in lse.iter_mut().zip(queries.clone()) {
            *lse = of.lse[token * heads + head];
        }
        let outcome = Outcome::new(out, grad, &lse[..count]);
        let q = &mut self.q[..count * head_dim];
        of.projection.queries(of.row, head, queries.clone(), q);
        let q = Matrix::new(q, count, head_dim, head_dim);
        let across = [&self.keys, &self.values].map(|it| Matrix::new(it, head_dim, len, len));
        let k_along = Matrix::new(&self.keys_along, len, head_dim, head_dim);
        let dq = &mut self.q_gradients[..count * head_dim];
        dq.fill(0.0);
        let block = Block {
            table: of.table,
            row: of.row,
            queries: queries.clone(),
            head_dim,
            q,
        };
        let scale = block.scale();
        for (at, (keys, tile)) in block.tiles().enumerate() {
            let room = [&mut self.scores[..], &mut self.gradients[..]];
            let [weights, gradients] =
                block.weights_and_gradients(&outcome, across, (&keys, tile), room);
            let dv = &mut self.value_gradients[keys.start..];
            multiply(dv, len, true, 1.0, grad.transposed(), weights);
            let dk = &mut self.key_gradients[keys.start..];
            multiply(dk, len, true, scale, q.transposed(), gradients);
            multiply(dq, head_dim, at > 0, scale, gradients, k_along.rows(keys));
        }
        let angles = of.projection.angles(of.row);
        for (token, values) in queries.zip(dq.chunks(head_dim)) {
            let out = &mut gradient[token * parts.width() + head * head_dim..][..head_dim];
            turn(values, token, angles, -1.0, out);
        }
    }
}
