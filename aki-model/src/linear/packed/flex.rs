//! Products with a packed matrix on the CPU: a few rows by the words as they are; for many it is
//! unpacked a tile at a time, never as a whole.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use rayon::prelude::*;

use super::blocks::{BLOCK, Bits};
use super::ops::PackedOps;
use super::vector::{arranged, dot_packed, unpack};
use crate::attention::flex::heads::{as_f32, tensor};
use crate::linear::flex::{FEW_ROWS, Sizes, TASK_BYTES, by_tiles, turned_over};

impl PackedOps for Flex {
    fn packed_product(x: FlexTensor, words: FlexTensor, bits: Bits, turned: bool) -> FlexTensor {
        let dtype = x.dtype();
        let (x, words) = (x.to_contiguous(), words.to_contiguous());
        let wide = as_f32(&x);
        let wide = &wide[x.layout().start_offset()..];
        let line = words.layout().shape()[1];
        let (height, width) = (words.layout().shape()[0], bits.blocks(line) * BLOCK);
        let stored: &[i32] = &words.storage()[words.layout().start_offset()..];
        let sizes = Sizes {
            rows: x.layout().shape()[0],
            from: if turned { height } else { width },
            to: if turned { width } else { height },
            inputs_are_neighbours: !turned,
        };
        let out = if !turned && (1..=FEW_ROWS).contains(&sizes.rows) {
            few(&wide[..sizes.rows * width], sizes, stored, bits)
        } else {
            by_tiles(wide, sizes, |tile, row, within| {
                let len = tile.len();
                tile.resize(len + within.len(), 0.0);
                let row = &stored[row * line..][..line];
                unpack(&mut tile[len..], row, within.start / BLOCK, bits);
            })
        };
        tensor(out, &[sizes.rows, sizes.to], dtype)
    }
}

/// Every output is one task's work from its first to its last term, so the sums have one order whatever
/// the number of threads.
fn few(x: &[f32], sizes: Sizes, words: &[i32], bits: Bits) -> Vec<f32> {
    let Sizes { rows, from, to, .. } = sizes;
    let line = bits.words(from);
    let x: Vec<_> = x.chunks(from).map(|x| arranged(x, bits)).collect();
    let outputs = (TASK_BYTES / (line * size_of::<i32>())).max(1);
    let mut out = vec![0.0; to * rows];
    out.par_chunks_mut(outputs * rows)
        .enumerate()
        .for_each(|(task, out)| dot_packed(&x, &words[task * outputs * line..], line, bits, out));
    turned_over(out, rows)
}
