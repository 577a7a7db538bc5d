//! One query a row: keys and values are read once, where and as they are stored.
//!
//! A cache is a part of a larger tensor and may be in half precision, so to convert or to gather it
//! would take longer than to attend to it.

use burn::backend::flex::FlexTensor;
use burn::tensor::{DType, bf16, f16};
use pulp::Arch;
use rayon::prelude::*;

use super::heads::{as_f32, tensor};
use super::softmax::{TILE_KEYS, hide, softmax};
use super::{table, tiles};
use crate::attention::layout::{LayoutTable, Tile};
use crate::linear::vector::{Stored, dot_rows, sum_rows};

/// The output `[batch, heads, 1, head_dim]` and the log-sum-exp `[batch, heads, 1]`.
pub fn decode(
    q: FlexTensor,
    k: FlexTensor,
    v: FlexTensor,
    layout: &FlexTensor,
) -> (FlexTensor, FlexTensor) {
    let dtype = q.dtype();
    let shape: [usize; 4] = std::array::from_fn(|axis| q.layout().shape()[axis]);
    let table = table(layout, shape, k.layout().shape()[2]);
    let q = q.to_contiguous();
    let start = q.layout().start_offset();
    let wide = as_f32(&q);
    let q = &wide[start..];
    let (out, lse) = match dtype {
        DType::F32 => attend::<f32>(q, shape, k, v, &table),
        DType::F16 => attend::<f16>(q, shape, k, v, &table),
        _ => attend::<bf16>(q, shape, k, v, &table),
    };
    (
        tensor(out, &shape, dtype),
        tensor(lse, &shape[..3], DType::F32),
    )
}

/// Keys or values, `[batch, kv_heads, len, head_dim]`, whose channels are neighbours.
struct Stores<'a, W> {
    data: &'a [W],
    strides: [usize; 3],
}

impl<'a, W: Stored> Stores<'a, W> {
    fn new(tensor: &'a FlexTensor) -> Self {
        let layout = tensor.layout();
        Self {
            data: &W::all(tensor)[layout.start_offset()..],
            strides: std::array::from_fn(|axis| layout.strides()[axis] as usize),
        }
    }

    /// One head from a token on.
    fn head(&self, row: usize, head: usize, token: usize) -> &'a [W] {
        let [rows, heads, tokens] = self.strides;
        &self.data[row * rows + head * heads + token * tokens..]
    }
}

fn neighbours(tensor: FlexTensor) -> FlexTensor {
    let strides = tensor.layout().strides();
    if strides[3] == 1 && strides.iter().all(|&stride| stride >= 0) {
        tensor
    } else {
        tensor.to_contiguous()
    }
}

fn attend<W: Stored>(
    q: &[f32],
    [batch, heads, _, head_dim]: [usize; 4],
    k: FlexTensor,
    v: FlexTensor,
    table: &LayoutTable<'_>,
) -> (Vec<f32>, Vec<f32>) {
    let group = heads / k.layout().shape()[1];
    let [k, v] = [k, v].map(neighbours);
    let (k, v) = (Stores::<W>::new(&k), Stores::<W>::new(&v));
    let mut out = vec![0.0; batch * heads * head_dim];
    let mut lse = vec![0.0; batch * heads];
    if head_dim == 0 {
        return (out, lse);
    }
    let scale = 1.0 / (head_dim as f32).sqrt();
    let one = 0..1;
    out.par_chunks_mut(head_dim)
        .zip(&mut lse)
        .enumerate()
        .for_each_init(Vec::new, |weights, (at, (out, lse))| {
            let (row, kv_head) = (at / heads, at % heads / group);
            let seen = table.summary(row, &one).keys();
            if seen.is_empty() {
                return;
            }
            let q = &q[at * head_dim..(at + 1) * head_dim];
            weights.clear();
            weights.resize(seen.len(), f32::NEG_INFINITY);
            for (keys, tile) in tiles(table, row, &one) {
                let k_of_tile = k.head(row, kv_head, keys.start);
                let scores = &mut weights[keys.start - seen.start..keys.end - seen.start];
                debug_assert!(scores.len() <= TILE_KEYS);
                dot_rows(&[q], k_of_tile, k.strides[2], scores);
                if tile == Tile::Partial {
                    hide(table, row, &one, &keys, scores);
                }
            }
            let (sum, row_lse) = softmax(Arch::new(), weights, scale);
            *lse = row_lse;
            let v_seen = v.head(row, kv_head, seen.start);
            sum_rows(&[weights.as_slice()], v_seen, v.strides[2], out);
            for value in out {
                *value /= sum;
            }
        });
    (out, lse)
}
