//! Products with a packed matrix on the CPU: it is unpacked a tile at a time, never as a whole.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;

use super::blocks::{BLOCK, Bits, unpack_onto};
use super::ops::PackedOps;
use crate::attention::flex::heads::{as_f32, tensor};
use crate::linear::flex::{Sizes, by_tiles};

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
        let out = by_tiles(wide, sizes, |tile, row, within| {
            unpack_onto(tile, &stored[row * line..][..line], within, bits);
        });
        tensor(out, &[sizes.rows, sizes.to], dtype)
    }
}
