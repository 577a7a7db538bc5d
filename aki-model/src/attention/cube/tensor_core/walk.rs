//! The tiles that show something, one after the other.
//!
//! Each unit of a plane looks at one of 32 tiles; two bits a tile are kept. All planes look at the
//! same tiles and find the same, so no barrier is needed. A step of a walk then costs a few
//! instructions, and 32 empty tiles cost one look.

use cubecl::prelude::*;

use crate::attention::cube::rule::{EMPTY, FULL, NO_TILE, PARTIAL, Table};

#[derive(CubeType)]
pub struct Walk {
    /// The first tile that no unit has looked at; bit 0 is the tile 32 before it.
    unseen: u32,
    /// Which tiles show something and have not been taken.
    left: u32,
    /// Which tiles show everything.
    full: u32,
}

#[cube]
impl Walk {
    /// A walk from the first tile on.
    pub fn new() -> Walk {
        Walk {
            unseen: 0u32,
            left: 0u32,
            full: 0u32,
        }
    }

    /// Walks from the first tile on again.
    pub fn restart(&mut self) {
        self.unseen = 0u32;
        self.left = 0u32;
    }

    /// The next tile of `keys` keys that the `queries` queries from `first_query` on see something
    /// of, as `4 * tile + kind`, or [`NO_TILE`].
    pub fn next_keys(
        &mut self,
        table: Table,
        layout: &[i32],
        first_query: usize,
        #[comptime] queries: usize,
        #[comptime] keys: usize,
    ) -> u32 {
        if self.left == 0 {
            // Read again rather than kept: the registers are full.
            let summary = table.summary(layout, first_query, queries);
            let end = summary.end_key();
            self.unseen = max(self.unseen, summary.first_key() / comptime!(keys as u32));
            while self.left == 0 && self.unseen * comptime!(keys as u32) < end {
                let start = (self.unseen + UNIT_POS_PLANE) * comptime!(keys as u32);
                let mut kind = EMPTY.runtime();
                if start < end {
                    kind = table.tile(layout, summary, start as usize, keys);
                }
                self.look(kind);
            }
        }
        self.take()
    }

    /// The next tile of `queries` queries that sees something of the `keys` keys from `first_key`
    /// on; else as [`Walk::next_keys`].
    pub fn next_queries(
        &mut self,
        table: Table,
        layout: &[i32],
        first_key: usize,
        query_len: usize,
        #[comptime] queries: usize,
        #[comptime] keys: usize,
    ) -> u32 {
        while self.left == 0 && (self.unseen as usize) * queries < query_len {
            let start = (self.unseen + UNIT_POS_PLANE) as usize * queries;
            let mut kind = EMPTY.runtime();
            if start < query_len {
                let summary = table.summary(layout, start, queries);
                kind = table.tile(layout, summary, first_key, keys);
            }
            self.look(kind);
        }
        self.take()
    }

    /// Keeps what the units of the plane have found.
    fn look(&mut self, kind: u32) {
        self.left = plane_ballot(kind != EMPTY).extract(0usize);
        self.full = plane_ballot(kind == FULL).extract(0usize);
        self.unseen += 32u32;
    }

    fn take(&mut self) -> u32 {
        let bit = self.left & (!self.left + 1u32);
        let kind = select(self.full & bit != 0, FULL, PARTIAL);
        let tile = self.unseen - 32u32 + u32::trailing_zeros(bit);
        let none = self.left == 0;
        self.left = self.left ^ bit;
        select(none, NO_TILE, tile * 4 + kind)
    }
}
