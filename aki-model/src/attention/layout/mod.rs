//! The visibility rule. It exists once, here; every engine, the dense oracle and the mask picture
//! ask this module.

mod document;
mod policy;
mod table;

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::{DType, Device, Int, Tensor, TensorData};

pub use document::{Document, LayoutError};
pub use policy::{Policy, ring_order};
pub use table::{LayoutTable, RULE_WIDTH, SUMMARY_ROWS, SUMMARY_WIDTH, Summary, Tile};

use super::rope::{RotaryConfig, RotaryTable};
use policy::{grid_side, ring_sizes};

/// Who may look at whom in a batch: `O(T)` integers, built once a batch.
///
/// For query token `i` and key token `j` of a row
///
/// ```text
/// visible(i, j) = first[i] <= j < last[i]
///              or unlock_start[i] <= j < unlock_end[i]  and  j is text
/// ```
///
/// The first interval is the causal one, `[document start, i + 1)`, or wider for the other
/// policies. The second is what MMA unlocks: for a media token of span `[m0, m1)` it is
/// `[m1, question_end)`, of which the tokens of other media stay hidden. Padding has two empty
/// intervals. Nothing of size T x T is needed to describe or to walk it: a tile of the score
/// matrix is called empty, full or partial from a few integers ([`LayoutTable::tile`]).
///
/// Clones share their memory.
#[derive(Clone, Debug)]
pub struct AttentionLayout {
    batch: usize,
    query_len: usize,
    key_len: usize,
    /// See [`table`].
    values: Arc<[i32]>,
    /// For each query token, its place in its document.
    positions: Arc<[u32]>,
    /// For each row, how many places its longest document has.
    lens: Arc<[u32]>,
    everything: bool,
    on_device: Memo<Device, Tensor<1, Int>>,
    rotary: Memo<(Device, RotaryConfig), RotaryTable>,
}

/// What was asked for last, kept for the next to ask: all layers of a network ask for the same.
#[derive(Clone, Debug)]
struct Memo<K, V>(Arc<Mutex<Option<(K, V)>>>);

impl<K, V> Default for Memo<K, V> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: PartialEq, V: Clone> Memo<K, V> {
    fn get(&self, key: K, make: impl FnOnce(&K) -> V) -> V {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*held {
            Some((of, value)) if *of == key => value.clone(),
            _ => {
                let value = make(&key);
                *held = Some((key, value.clone()));
                value
            }
        }
    }
}

/// How many places the longest document of each row has, given all places.
fn longest(positions: &[u32], batch: usize) -> Arc<[u32]> {
    let len = positions.len() / batch.max(1);
    let row = |row: usize| positions[row * len..(row + 1) * len].iter().max();
    (0..batch)
        .map(|at| row(at).map_or(0, |last| last + 1))
        .collect()
}

/// What a layout is built from: rules and positions of every query, and which keys are text.
struct Draft {
    rules: Vec<[i32; RULE_WIDTH]>,
    text: Vec<bool>,
    positions: Vec<u32>,
}

impl Draft {
    fn place(
        &mut self,
        policy: Policy,
        row: usize,
        len: usize,
        document: &Document,
    ) -> Result<(), LayoutError> {
        let Range { start, end } = document.tokens;
        let offset = row * len;
        let open_end = match policy {
            Policy::Prefix => document.question_end.unwrap_or(start),
            Policy::Bidirectional => end,
            Policy::Causal | Policy::Mma | Policy::Cca => start,
        };
        for i in start..end {
            let last = if i < open_end { open_end } else { i + 1 };
            self.rules[offset + i] = [start as i32, last as i32, 0, 0];
            self.positions[offset + i] = (i - start) as u32;
        }
        for span in &document.media {
            self.text[offset + span.start..offset + span.end].fill(false);
            match (policy, document.question_end) {
                (Policy::Mma, Some(question_end)) if span.end < question_end => {
                    for rule in &mut self.rules[offset + span.start..offset + span.end] {
                        rule[2] = span.end as i32;
                        rule[3] = question_end as i32;
                    }
                }
                (Policy::Cca, _) => self.place_rings(row, len, span, end)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Lets each token of a span see its whole ring, and gives a ring one position.
    fn place_rings(
        &mut self,
        row: usize,
        len: usize,
        span: &Range<usize>,
        document_end: usize,
    ) -> Result<(), LayoutError> {
        let side = grid_side(span.len()).ok_or(LayoutError::Grid {
            row,
            start: span.start,
            end: span.end,
        })?;
        let offset = row * len;
        let (mut at, mut position) = (span.start, self.positions[offset + span.start]);
        for size in ring_sizes(side) {
            for i in at..at + size {
                self.rules[offset + i][1] = (at + size) as i32;
                self.positions[offset + i] = position;
            }
            at += size;
            position += 1;
        }
        for (after, i) in (span.end..document_end).enumerate() {
            self.positions[offset + i] = position + after as u32;
        }
        Ok(())
    }

    fn finish(self, batch: usize, query_len: usize, key_len: usize) -> AttentionLayout {
        // The table is in i32, and a tile's end may lie past the last key.
        assert!(key_len < 1 << 30, "a row of {key_len} tokens is too long");
        AttentionLayout {
            batch,
            query_len,
            key_len,
            everything: key_len > 0
                && self
                    .rules
                    .iter()
                    .all(|&[first, last, ..]| first == 0 && last as usize == key_len),
            values: table::pack(&self.rules, &self.text, query_len, key_len).into(),
            lens: longest(&self.positions, batch),
            positions: self.positions.into(),
            on_device: Memo::default(),
            rotary: Memo::default(),
        }
    }
}

impl PartialEq for AttentionLayout {
    fn eq(&self, other: &Self) -> bool {
        (self.batch, self.query_len, self.key_len) == (other.batch, other.query_len, other.key_len)
            && self.values == other.values
            && self.positions == other.positions
    }
}

impl Eq for AttentionLayout {}

impl AttentionLayout {
    /// Lays out a batch of rows of `len` tokens each; `rows[b]` lists row `b`'s documents in order.
    ///
    /// # Errors
    ///
    /// [`LayoutError`] if documents, media spans or question ends overlap or do not fit, or if a
    /// media span is no square grid under [`Policy::Cca`].
    ///
    /// # Panics
    ///
    /// If `len` is 2^30 or more.
    pub fn from_spans(
        policy: Policy,
        len: usize,
        rows: &[Vec<Document>],
    ) -> Result<Self, LayoutError> {
        let mut draft = Draft {
            rules: vec![[0; RULE_WIDTH]; rows.len() * len],
            text: vec![true; rows.len() * len],
            positions: vec![0; rows.len() * len],
        };
        for (row, documents) in rows.iter().enumerate() {
            let mut after = 0;
            for document in documents {
                document.check(row, after, len)?;
                after = document.tokens.end;
                draft.place(policy, row, len, document)?;
            }
        }
        Ok(draft.finish(rows.len(), len, len))
    }

    /// A layout in which each of `query_len` queries sees all `key_len` keys, as in vision towers
    /// and resamplers. Positions count up to the last key.
    pub fn everything(batch: usize, query_len: usize, key_len: usize) -> Self {
        let first = key_len.saturating_sub(query_len) as u32;
        let draft = Draft {
            rules: vec![[0, key_len as i32, 0, 0]; batch * query_len],
            text: vec![true; batch * key_len],
            positions: (0..batch)
                .flat_map(|_| first..first + query_len as u32)
                .collect(),
        };
        draft.finish(batch, query_len, key_len)
    }

    /// A layout for one new token a row, at the position `positions[row]` of its document, which
    /// sees the keys `seen[row]` out of `key_len`: those cached and its own. What else a cache has
    /// room for stays hidden.
    ///
    /// # Panics
    ///
    /// If there are not as many positions as rows, or a row sees more than there is.
    pub fn decode(seen: &[Range<usize>], positions: &[u32], key_len: usize) -> Self {
        assert_eq!(seen.len(), positions.len());
        assert!(seen.iter().all(|keys| keys.end <= key_len));
        let draft = Draft {
            rules: seen
                .iter()
                .map(|keys| [keys.start as i32, keys.end as i32, 0, 0])
                .collect(),
            text: vec![true; seen.len() * key_len],
            positions: positions.to_vec(),
        };
        draft.finish(seen.len(), 1, key_len)
    }

    /// Prompts of unequal length as one batch: each layout's rows, padded on the left to the longest,
    /// so that all end at the same place. Who sees whom and at which positions stays as it was.
    ///
    /// # Panics
    ///
    /// If a layout's queries are not its keys.
    pub fn left_padded(prompts: &[&Self]) -> Self {
        let len = prompts.iter().map(|prompt| prompt.key_len).max();
        let len = len.unwrap_or(0);
        let batch = prompts.iter().map(|prompt| prompt.batch).sum::<usize>();
        let mut draft = Draft {
            rules: vec![[0; RULE_WIDTH]; batch * len],
            text: vec![true; batch * len],
            positions: vec![0; batch * len],
        };
        let mut end = 0;
        for prompt in prompts {
            let own = prompt.query_len;
            assert_eq!(own, prompt.key_len, "a prompt's queries are its keys");
            let table = prompt.table();
            for row in 0..prompt.batch {
                end += len;
                let (padding, start) = (len - own, end - own);
                for (i, &text_end) in table.text_ends(row).iter().enumerate() {
                    let [first, last, unlock_start, unlock_end] =
                        table.rule(row, i).map(|place| (place + padding) as i32);
                    let within = |from: i32, to: i32| if from < to { [from, to] } else { [0, 0] };
                    let ([first, last], [unlock_start, unlock_end]) =
                        (within(first, last), within(unlock_start, unlock_end));
                    draft.rules[start + i] = [first, last, unlock_start, unlock_end];
                    draft.text[start + i] = text_end as usize > i;
                    draft.positions[start + i] = prompt.positions[row * own + i];
                }
            }
        }
        draft.finish(batch, len, len)
    }

    /// A prompt with `new` tokens after it, each of which sees all before it and itself. Who sees whom
    /// within the prompt stays as it was.
    ///
    /// # Panics
    ///
    /// If there are several rows, or the queries are not the keys.
    #[must_use]
    pub fn followed_by(&self, new: usize) -> Self {
        let own = self.query_len;
        assert_eq!((self.batch, self.key_len), (1, own), "a prompt is one row");
        let table = self.table();
        let position = self.positions.last().map_or(0, |last| last + 1);
        let after = own..own + new;
        let draft = Draft {
            rules: (0..own)
                .map(|i| table.rule(0, i).map(|place| place as i32))
                .chain(after.map(|i| [0, i as i32 + 1, 0, 0]))
                .collect(),
            text: (table.text_ends(0).iter().zip(0..).map(|(&end, j)| end > j))
                .chain(std::iter::repeat_n(true, new))
                .collect(),
            positions: (self.positions.iter().copied())
                .chain(position..position + new as u32)
                .collect(),
        };
        draft.finish(1, own + new, own + new)
    }

    /// How many tokens, `most` at most, two texts begin with that stand and see in the one as in the other, and see
    /// nothing behind them: what was computed of them in the one holds in the other.
    ///
    /// # Panics
    ///
    /// If there are several rows, or the queries are not the keys.
    pub fn common(&self, other: &Self, most: usize) -> usize {
        for it in [self, other] {
            let own = it.query_len;
            assert_eq!((it.batch, it.key_len), (1, own), "a prompt is one row");
        }
        let [own, others] = [self, other].map(Self::table);
        let is_text = |table: &LayoutTable, i: usize| table.text_ends(0)[i] as usize > i;
        let (mut common, mut reach) = (0, 0);
        for i in 0..most.min(self.query_len).min(other.query_len) {
            let rule = own.rule(0, i);
            let is_same = rule == others.rule(0, i)
                && self.positions[i] == other.positions[i]
                && is_text(&own, i) == is_text(&others, i);
            if !is_same {
                break;
            }
            let [_, last, _, unlock_end] = rule;
            reach = reach.max(last).max(unlock_end);
            if reach <= i + 1 {
                common = i + 1;
            }
        }
        common
    }

    /// The layout of some of the queries against all keys: a chunk of a prompt against the cache of
    /// what stands before it, or the few rows that are looked at by themselves.
    ///
    /// # Panics
    ///
    /// If one of the `queries` lies outside the layout.
    #[must_use]
    pub fn queries(&self, queries: impl ExactSizeIterator<Item = usize> + Clone) -> Self {
        assert!(queries.clone().all(|i| i < self.query_len));
        let table = self.table();
        let rows = 0..self.batch;
        let draft = Draft {
            rules: rows
                .clone()
                .flat_map(|row| queries.clone().map(move |i| table.rule(row, i)))
                .map(|rule| rule.map(|position| position as i32))
                .collect(),
            text: rows
                .clone()
                .flat_map(|row| table.text_ends(row).iter().zip(0..))
                .map(|(&end, j)| end > j)
                .collect(),
            positions: rows
                .flat_map(|row| queries.clone().map(move |i| row * self.query_len + i))
                .map(|at| self.positions[at])
                .collect(),
        };
        Self {
            lens: self.lens.clone(),
            ..draft.finish(self.batch, queries.len(), self.key_len)
        }
    }

    /// Rows in the batch.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Query tokens a row.
    pub fn query_len(&self) -> usize {
        self.query_len
    }

    /// Key tokens a row.
    pub fn key_len(&self) -> usize {
        self.key_len
    }

    /// Each query token's position, row after row: its place in its document (under
    /// [`Policy::Cca`] a ring of media tokens counts as one place); 0 for padding.
    pub fn positions(&self) -> &[u32] {
        &self.positions
    }

    /// Whether every query sees every key, so that no mask is needed.
    pub fn is_everything(&self) -> bool {
        self.everything
    }

    /// Whether some query sees nothing (padding does).
    pub fn has_empty_rows(&self) -> bool {
        self.seen().any(|keys| keys == 0)
    }

    /// How many pairs of a query and a key the rule shows, in all rows.
    pub fn visible_pairs(&self) -> usize {
        self.seen().sum()
    }

    /// How many keys each query sees, row after row.
    fn seen(&self) -> impl Iterator<Item = usize> {
        let table = self.table();
        (0..self.batch).flat_map(move |row| (0..self.query_len).map(move |i| table.seen(row, i)))
    }

    /// The visibility rule: whether query `i` of row `row` may look at key `j`.
    ///
    /// # Panics
    ///
    /// If `row`, `i` or `j` lies outside the layout.
    pub fn visible(&self, row: usize, i: usize, j: usize) -> bool {
        self.table().visible(row, i, j)
    }

    /// The integers that the engines read.
    pub fn table(&self) -> LayoutTable<'_> {
        LayoutTable::new(&self.values, self.batch, self.query_len, self.key_len)
    }

    /// The table on a device, as `i32`; uploaded once, however many layers ask.
    pub(super) fn on_device(&self, device: &Device) -> Tensor<1, Int> {
        self.on_device.get(device.clone().inner(), |device| {
            let data = TensorData::new(self.values.to_vec(), [self.values.len()]);
            Tensor::from_data(data, (device, DType::I32))
        })
    }

    /// The rotary angles of the positions; made once, however many layers ask.
    pub(super) fn rotary(&self, config: &RotaryConfig, device: &Device) -> RotaryTable {
        let key = (device.clone().inner(), config.clone());
        self.rotary.get(key, |(device, config)| {
            config.table(&self.positions, &self.lens, device)
        })
    }
}

#[cfg(test)]
mod tests;
