//! The engine for the CPU: blocked, parallel over batch rows, heads and blocks of queries, with the
//! matrix products of the `gemm` crate. Half precision is computed in f32.

mod backward;
mod block;
mod decode;
mod forward;
pub(crate) mod gemm;
pub(crate) mod heads;
mod projected;
pub(crate) mod softmax;

use std::ops::Range;

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::DType;

use self::heads::{Heads, as_f32, readable, tensor};
use self::softmax::TILE_KEYS;
use super::Kernels;
use super::engine::tell_once;
use super::layout::{LayoutTable, Tile};
use super::ops::AttentionOps;

impl AttentionOps for Flex {
    fn attention_forward(
        q: FlexTensor,
        k: FlexTensor,
        v: FlexTensor,
        layout: FlexTensor,
        _: Kernels,
    ) -> (FlexTensor, FlexTensor) {
        tell();
        let dtype = q.dtype();
        if q.layout().shape()[2] == 1 {
            return decode::decode(q, k, v, &layout);
        }
        let [q, k, v] = [q, k, v].map(readable);
        let (q, k, v) = (Heads::new(&q), Heads::new(&k), Heads::new(&v));
        let shape = q.shape;
        let (out, lse) = forward::forward(&q, &k, &v, &table(&layout, shape, k.shape[2]));
        (
            tensor(out, &shape, dtype),
            tensor(lse, &shape[..3], DType::F32),
        )
    }

    fn attention_backward(
        q: FlexTensor,
        k: FlexTensor,
        v: FlexTensor,
        out: FlexTensor,
        lse: FlexTensor,
        grad: FlexTensor,
        layout: FlexTensor,
        _: Kernels,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        let dtype = q.dtype();
        let [q, k, v, out, grad] = [q, k, v, out, grad].map(readable);
        let lse = lse.to_contiguous();
        let inputs = backward::Inputs {
            q: Heads::new(&q),
            k: Heads::new(&k),
            v: Heads::new(&v),
            out: Heads::new(&out),
            grad: Heads::new(&grad),
            lse: &as_f32(&lse),
        };
        let (of_q, of_k) = (inputs.q.shape, inputs.k.shape);
        let [dq, dk, dv] = backward::backward(&inputs, &table(&layout, of_q, of_k[2]));
        (
            tensor(dq, &of_q, dtype),
            tensor(dk, &of_k, dtype),
            tensor(dv, &of_k, dtype),
        )
    }
}

fn tell() {
    tell_once("attention runs on the blocked CPU engine: the device is Flex");
}

fn table(layout: &FlexTensor, shape: [usize; 4], key_len: usize) -> LayoutTable<'_> {
    LayoutTable::new(layout.storage::<i32>(), shape[0], shape[2], key_len)
}

/// The tiles of a block of queries that show anything, from left to right.
fn tiles<'a>(
    table: &'a LayoutTable<'a>,
    row: usize,
    queries: &Range<usize>,
) -> impl Iterator<Item = (Range<usize>, Tile)> + 'a {
    let summary = table.summary(row, queries);
    // Beyond these keys no query of the block sees anything.
    let seen = summary.keys();
    seen.clone()
        .step_by(TILE_KEYS)
        .map(move |start| start..(start + TILE_KEYS).min(seen.end))
        .map(move |keys| (keys.clone(), table.tile(row, &summary, &keys)))
        .filter(|(_, tile)| *tile != Tile::Empty)
}
