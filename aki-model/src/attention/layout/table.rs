//! The layout as the engines read it: one table of integers, the same on the host and on a GPU.
//!
//! ```text
//! rules      [batch, query_len, 4]                first, last, unlock_start, unlock_end
//! summaries  [batch, ceil(query_len / 16), 8]     the rules of 16 queries together
//! text_ends  [batch, key_len]                     where the run of text from this key on ends
//! ```
//!
//! Query `i` sees key `j` if `first <= j < last`, or if `unlock_start <= j < unlock_end` and `j` is
//! text (`text_end > j`). This is the whole rule; [`LayoutTable::visible`] states it for the host
//! and the module `cube` for the kernels.

use std::ops::Range;

/// Queries a summary covers: the height of the smallest tile of any engine.
pub const SUMMARY_ROWS: usize = 16;
/// Integers a query.
pub const RULE_WIDTH: usize = 4;
/// Integers a summary.
pub const SUMMARY_WIDTH: usize = 8;

/// A layout's integers, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct LayoutTable<'a> {
    values: &'a [i32],
    batch: usize,
    query_len: usize,
    key_len: usize,
}

/// What a tile of the score matrix shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tile {
    /// No pair is visible.
    Empty,
    /// Every pair is visible.
    Full,
    /// Some pair may be hidden; the rule decides pair by pair.
    Partial,
}

/// The rules of several queries together: bounds that hold for any of them and for all of them.
///
/// The neutral element is [`Summary::NONE`]; summaries of neighbours join by minimum and maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The hull of the first intervals: outside it no query sees a key through them.
    pub hull: [i32; 2],
    /// The core of the first intervals: within it every query sees every key.
    pub core: [i32; 2],
    /// The hull of the unlocked intervals.
    pub unlock_hull: [i32; 2],
    /// The core of the unlocked intervals, of which only text counts.
    pub unlock_core: [i32; 2],
}

impl Summary {
    /// The summary of no query.
    pub const NONE: Self = Self {
        hull: [i32::MAX, 0],
        core: [0, i32::MAX],
        unlock_hull: [i32::MAX, 0],
        unlock_core: [0, i32::MAX],
    };

    /// The summary of one query.
    fn of(rule: [i32; RULE_WIDTH]) -> Self {
        let [first, last, unlock_start, unlock_end] = rule;
        let hull = |start: i32, end: i32| {
            if start < end {
                [start, end]
            } else {
                [i32::MAX, 0]
            }
        };
        Self {
            hull: hull(first, last),
            core: [first, last],
            unlock_hull: hull(unlock_start, unlock_end),
            unlock_core: [unlock_start, unlock_end],
        }
    }

    /// The summary of these queries and those.
    #[must_use]
    fn join(self, other: Self) -> Self {
        let wider = |a: [i32; 2], b: [i32; 2]| [a[0].min(b[0]), a[1].max(b[1])];
        let narrower = |a: [i32; 2], b: [i32; 2]| [a[0].max(b[0]), a[1].min(b[1])];
        Self {
            hull: wider(self.hull, other.hull),
            core: narrower(self.core, other.core),
            unlock_hull: wider(self.unlock_hull, other.unlock_hull),
            unlock_core: narrower(self.unlock_core, other.unlock_core),
        }
    }

    /// All keys that some query may see, from the first to the last.
    pub fn keys(&self) -> Range<usize> {
        let end = self.hull[1].max(self.unlock_hull[1]);
        let start = self.hull[0].min(self.unlock_hull[0]).min(end);
        start as usize..end as usize
    }

    fn from_values(values: &[i32]) -> Self {
        let pair = |at: usize| [values[at], values[at + 1]];
        Self {
            hull: pair(0),
            core: pair(2),
            unlock_hull: pair(4),
            unlock_core: pair(6),
        }
    }

    fn values(self) -> [i32; SUMMARY_WIDTH] {
        let pairs = [self.hull, self.core, self.unlock_hull, self.unlock_core];
        std::array::from_fn(|at| pairs[at / 2][at % 2])
    }
}

/// Packs rules and text runs into a table. `text[b * key_len + j]` tells whether key `j` of row
/// `b` is text.
pub(super) fn pack(
    rules: &[[i32; RULE_WIDTH]],
    text: &[bool],
    query_len: usize,
    key_len: usize,
) -> Vec<i32> {
    let mut values = rules.concat();
    for row in rules.chunks(query_len.max(1)) {
        for queries in row.chunks(SUMMARY_ROWS) {
            let summaries = queries.iter().map(|&rule| Summary::of(rule));
            values.extend(summaries.fold(Summary::NONE, Summary::join).values());
        }
    }
    let start = values.len();
    values.resize(start + text.len(), 0);
    for (row, ends) in values[start..].chunks_mut(key_len.max(1)).enumerate() {
        let mut end = key_len as i32;
        for j in (0..key_len).rev() {
            if !text[row * key_len + j] {
                end = j as i32;
            }
            ends[j] = end;
        }
    }
    values
}

impl<'a> LayoutTable<'a> {
    /// A view of a packed table.
    ///
    /// # Panics
    ///
    /// If there are not [`LayoutTable::len`] values.
    pub fn new(values: &'a [i32], batch: usize, query_len: usize, key_len: usize) -> Self {
        assert_eq!(
            values.len(),
            Self::len(batch, query_len, key_len),
            "a layout table of another size"
        );
        Self {
            values,
            batch,
            query_len,
            key_len,
        }
    }

    /// The integers, packed as [`AttentionOps`](crate::attention::AttentionOps) takes them.
    pub fn values(&self) -> &'a [i32] {
        self.values
    }

    /// Integers in a table.
    pub fn len(batch: usize, query_len: usize, key_len: usize) -> usize {
        let summaries = query_len.div_ceil(SUMMARY_ROWS);
        batch * (query_len * RULE_WIDTH + summaries * SUMMARY_WIDTH + key_len)
    }

    /// A query's `first`, `last`, `unlock_start` and `unlock_end`.
    pub fn rule(&self, row: usize, i: usize) -> [usize; RULE_WIDTH] {
        let at = (row * self.query_len + i) * RULE_WIDTH;
        std::array::from_fn(|k| self.values[at + k] as usize)
    }

    /// For each key of a row, where the run of text from it on ends; a key that is not text has
    /// its own place there.
    pub fn text_ends(&self, row: usize) -> &'a [i32] {
        let at = self.values.len() - (self.batch - row) * self.key_len;
        &self.values[at..at + self.key_len]
    }

    /// The visibility rule: whether query `i` of row `row` may look at key `j`.
    pub fn visible(&self, row: usize, i: usize, j: usize) -> bool {
        let [first, last, unlock_start, unlock_end] = self.rule(row, i);
        (first <= j && j < last)
            || (unlock_start <= j && j < unlock_end && self.text_ends(row)[j] as usize > j)
    }

    /// How many keys query `i` of row `row` may look at.
    pub fn seen(&self, row: usize, i: usize) -> usize {
        let [first, last, unlock_start, unlock_end] = self.rule(row, i);
        let text = self.text_ends(row);
        let unlocked = (unlock_start..unlock_end)
            .filter(|j| text[*j] as usize > *j && !(first..last).contains(j));
        (first..last).len() + unlocked.count()
    }

    /// The summary of a block of queries.
    ///
    /// # Panics
    ///
    /// If the block does not start at a multiple of 16.
    pub fn summary(&self, row: usize, queries: &Range<usize>) -> Summary {
        assert!(queries.start.is_multiple_of(SUMMARY_ROWS));
        let blocks = self.query_len.div_ceil(SUMMARY_ROWS);
        let summaries = self.batch * self.query_len * RULE_WIDTH + row * blocks * SUMMARY_WIDTH;
        (queries.start / SUMMARY_ROWS..queries.end.div_ceil(SUMMARY_ROWS))
            .map(|block| Summary::from_values(&self.values[summaries + block * SUMMARY_WIDTH..]))
            .fold(Summary::NONE, Summary::join)
    }

    /// What the tile of the summarised queries and of `keys` shows.
    pub fn tile(&self, row: usize, summary: &Summary, keys: &Range<usize>) -> Tile {
        let (start, end) = (keys.start as i32, keys.end as i32);
        let meets = |hull: [i32; 2]| hull[0] < end && start < hull[1];
        let fills = |core: [i32; 2]| core[0] <= start && end <= core[1];
        if !meets(summary.hull) && !meets(summary.unlock_hull) {
            Tile::Empty
        } else if fills(summary.core)
            || (fills(summary.unlock_core) && self.text_ends(row)[keys.start] >= end)
        {
            Tile::Full
        } else {
            Tile::Partial
        }
    }
}
