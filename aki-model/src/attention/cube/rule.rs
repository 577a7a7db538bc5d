//! The visibility rule on the device: what [`LayoutTable`](crate::attention::LayoutTable) is on the
//! host. All kernels share it.
//!
//! A tile of the score matrix is empty (skipped), full (no mask arithmetic) or partial (the rule
//! decides pair by pair). Keys past the end are never seen, as every interval ends at `key_len` or
//! before it, so a tile that reaches over the end is never full. Queries past the end see nothing,
//! but a full tile may hold some: their summaries are neutral.

use cubecl::prelude::*;

use crate::attention::layout::{RULE_WIDTH, SUMMARY_ROWS, SUMMARY_WIDTH};

/// A hidden score: far below any real one, so that its exponential is exactly 0, and finite, so
/// that a row which sees nothing makes no NaN.
pub const HIDDEN: f32 = -1e30;

/// No pair is visible.
pub const EMPTY: u32 = 0;
/// Some pair may be hidden.
pub const PARTIAL: u32 = 1;
/// Every pair is visible.
pub const FULL: u32 = 2;

/// [`next_key_tile`] and [`next_query_tile`]: there is none.
pub const NO_TILE: u32 = u32::MAX;

/// Where one batch row's integers stand in the layout buffer.
#[derive(CubeType, Clone, Copy)]
#[expand(derive(Clone, Copy))]
pub struct Table {
    rules: usize,
    summaries: usize,
    text_ends: usize,
    query_len: usize,
    key_len: usize,
}

/// The rules of several queries together, as the host's `Summary`.
#[derive(CubeType, Clone, Copy)]
#[expand(derive(Clone, Copy))]
pub struct Summary {
    hull_start: i32,
    hull_end: i32,
    core_start: i32,
    core_end: i32,
    unlock_hull_start: i32,
    unlock_hull_end: i32,
    unlock_core_start: i32,
    unlock_core_end: i32,
}

/// One query's rule.
#[derive(CubeType, Clone, Copy)]
#[expand(derive(Clone, Copy))]
pub struct Rule {
    first: i32,
    last: i32,
    unlock_start: i32,
    unlock_end: i32,
}

#[cube]
impl Table {
    /// The table of batch row `row` of `batch`.
    pub fn new(row: usize, batch: usize, query_len: usize, key_len: usize) -> Table {
        let blocks = query_len.div_ceil(SUMMARY_ROWS);
        let rules_end = batch * query_len * RULE_WIDTH;
        let summaries_end = rules_end + batch * blocks * SUMMARY_WIDTH;
        Table {
            rules: row * query_len * RULE_WIDTH,
            summaries: rules_end + row * blocks * SUMMARY_WIDTH,
            text_ends: summaries_end + row * key_len,
            query_len,
            key_len,
        }
    }

    /// The summary of `rows` queries from `start` on, both multiples of 16.
    pub fn summary(self, layout: &[i32], start: usize, #[comptime] rows: usize) -> Summary {
        let mut hull_start = i32::MAX.runtime();
        let mut hull_end = 0i32;
        let mut core_start = 0i32;
        let mut core_end = i32::MAX.runtime();
        let mut unlock_hull_start = i32::MAX.runtime();
        let mut unlock_hull_end = 0i32;
        let mut unlock_core_start = 0i32;
        let mut unlock_core_end = i32::MAX.runtime();
        #[unroll]
        for block in 0..comptime!(rows / SUMMARY_ROWS) {
            if start + block * SUMMARY_ROWS < self.query_len {
                let at = self.summaries + (start / SUMMARY_ROWS + block) * SUMMARY_WIDTH;
                hull_start = min(hull_start, layout[at]);
                hull_end = max(hull_end, layout[at + 1]);
                core_start = max(core_start, layout[at + 2]);
                core_end = min(core_end, layout[at + 3]);
                unlock_hull_start = min(unlock_hull_start, layout[at + 4]);
                unlock_hull_end = max(unlock_hull_end, layout[at + 5]);
                unlock_core_start = max(unlock_core_start, layout[at + 6]);
                unlock_core_end = min(unlock_core_end, layout[at + 7]);
            }
        }
        Summary {
            hull_start,
            hull_end,
            core_start,
            core_end,
            unlock_hull_start,
            unlock_hull_end,
            unlock_core_start,
            unlock_core_end,
        }
    }

    /// What the tile of the summarised queries and of `keys` keys from `start` on shows; `start`
    /// lies before the end of the keys.
    pub fn tile(
        self,
        layout: &[i32],
        summary: Summary,
        start: usize,
        #[comptime] keys: usize,
    ) -> u32 {
        let first = start as i32;
        let end = (start + keys) as i32;
        let meets = (summary.hull_start < end && first < summary.hull_end)
            || (summary.unlock_hull_start < end && first < summary.unlock_hull_end);
        let mut kind = EMPTY.runtime();
        if meets {
            let within = summary.core_start <= first && end <= summary.core_end;
            let unlocked = summary.unlock_core_start <= first
                && end <= summary.unlock_core_end
                && layout[self.text_ends + start] >= end;
            kind = select(within || unlocked, FULL, PARTIAL);
        }
        kind
    }

    /// The rule of query `i`; one past the end sees nothing.
    pub fn rule(self, layout: &[i32], i: usize) -> Rule {
        let at = self.rules + min(i, self.query_len - 1) * RULE_WIDTH;
        let inside = i < self.query_len;
        Rule {
            first: layout[at],
            last: select(inside, layout[at + 1], 0),
            unlock_start: layout[at + 2],
            unlock_end: select(inside, layout[at + 3], 0),
        }
    }

    /// Where the run of text from key `j` on ends; past the end of the keys there is none.
    pub fn text_end(self, layout: &[i32], j: usize) -> i32 {
        select(
            j < self.key_len,
            layout[self.text_ends + min(j, self.key_len - 1)],
            0,
        )
    }
}

#[cube]
impl Rule {
    /// Whether the query may look at key `j`.
    pub fn visible(self, j: usize, text_end: i32) -> bool {
        self.sees(j, text_end > j as i32)
    }

    /// Whether the query may look at key `j`, given whether that is text.
    pub fn sees(self, j: usize, text: bool) -> bool {
        let j = j as i32;
        (self.first <= j && j < self.last)
            || (self.unlock_start <= j && j < self.unlock_end && text)
    }
}

#[cube]
impl Summary {
    /// The first key that some query may see.
    pub fn first_key(self) -> u32 {
        min(self.hull_start, self.unlock_hull_start) as u32
    }

    /// The end of the keys that some query may see.
    pub fn end_key(self) -> u32 {
        max(self.hull_end, self.unlock_hull_end) as u32
    }
}

/// The first tile of `keys` keys at or behind tile `from` that the summarised queries see
/// something of, as `4 * tile + kind`, or [`NO_TILE`].
///
/// The first unit searches. The others wait for it, and the answer is uniform in the sense of
/// WGSL, whose barriers are allowed under uniform control flow only. Between two calls the cube
/// must meet at a barrier.
#[cube]
pub fn next_key_tile(
    table: Table,
    layout: &[i32],
    summary: Summary,
    from: u32,
    answer: &mut Shared<[u32]>,
    #[comptime] keys: usize,
) -> u32 {
    if UNIT_POS == 0 {
        let start = min(summary.hull_start, summary.unlock_hull_start) as u32;
        let end = max(summary.hull_end, summary.unlock_hull_end) as u32;
        let mut tile = max(from, start / comptime!(keys as u32));
        let mut kind = EMPTY.runtime();
        while kind == EMPTY && tile * comptime!(keys as u32) < end {
            kind = table.tile(layout, summary, tile as usize * keys, keys);
            tile += 1;
        }
        answer[0] = select(kind == EMPTY, NO_TILE, (tile - 1) * 4 + kind);
    }
    workgroup_uniform_load(&answer[0])
}

/// The first tile of `queries` queries at or behind tile `from` that sees something of the `keys`
/// keys from `start` on; else as [`next_key_tile`].
#[cube]
pub fn next_query_tile(
    table: Table,
    layout: &[i32],
    start: usize,
    from: u32,
    answer: &mut Shared<[u32]>,
    #[comptime] queries: usize,
    #[comptime] keys: usize,
) -> u32 {
    if UNIT_POS == 0 {
        let mut tile = from;
        let mut kind = EMPTY.runtime();
        while kind == EMPTY && (tile as usize) * queries < table.query_len {
            let summary = table.summary(layout, tile as usize * queries, queries);
            kind = table.tile(layout, summary, start, keys);
            tile += 1;
        }
        answer[0] = select(kind == EMPTY, NO_TILE, (tile - 1) * 4 + kind);
    }
    workgroup_uniform_load(&answer[0])
}
