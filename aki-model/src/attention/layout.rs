//! The visibility rule. It exists once, here; every engine, the dense oracle and the mask picture
//! ask this module.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::document::{Document, LayoutError};

/// Which tokens a query token may look at beside itself.
///
/// The pictures show one document of a system token `s`, a picture of three tokens `i`, a question
/// `q` and an answer `a`; a `1` says that the row may look at the column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// Every token sees itself and what came before.
    ///
    /// ```text
    ///       s i i i q q a a
    ///     s 1 . . . . . . .
    ///     i 1 1 . . . . . .
    ///     i 1 1 1 . . . . .
    ///     i 1 1 1 1 . . . .
    ///     q 1 1 1 1 1 . . .
    ///     q 1 1 1 1 1 1 . .
    ///     a 1 1 1 1 1 1 1 .
    ///     a 1 1 1 1 1 1 1 1
    /// ```
    Causal,
    /// Everything up to the end of the question sees all of it; answers are causal.
    ///
    /// ```text
    ///       s i i i q q a a
    ///     s 1 1 1 1 1 1 . .
    ///     i 1 1 1 1 1 1 . .
    ///     i 1 1 1 1 1 1 . .
    ///     i 1 1 1 1 1 1 . .
    ///     q 1 1 1 1 1 1 . .
    ///     q 1 1 1 1 1 1 . .
    ///     a 1 1 1 1 1 1 1 .
    ///     a 1 1 1 1 1 1 1 1
    /// ```
    Prefix,
    /// Modality-mutual attention: causal, and media rows also see the question's text after them.
    ///
    /// ```text
    ///       s i i i q q a a
    ///     s 1 . . . . . . .
    ///     i 1 1 . . 1 1 . .
    ///     i 1 1 1 . 1 1 . .
    ///     i 1 1 1 1 1 1 . .
    ///     q 1 1 1 1 1 . . .
    ///     q 1 1 1 1 1 1 . .
    ///     a 1 1 1 1 1 1 1 .
    ///     a 1 1 1 1 1 1 1 1
    /// ```
    Mma,
}

/// Who may look at whom in a batch: `O(T)` integers, built once a batch.
///
/// For query token `i` and key token `j` of a row
///
/// ```text
/// visible(i, j) = first[i] <= j < last[i]
///              or unlock_start[i] <= j < unlock_end[i]  and  j is text
/// ```
///
/// The first interval is the causal one, `[document start, i + 1)`, or wider for
/// [`Policy::Prefix`]. The second is what MMA unlocks: for a media token of span `[m0, m1)` it is
/// `[m1, question_end)`, of which the tokens of other media stay hidden. Padding has two empty
/// intervals. Nothing of size T x T is needed to describe or to walk it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttentionLayout {
    batch: usize,
    query_len: usize,
    key_len: usize,
    /// Four integers a query token, row after row: `first`, `last`, `unlock_start`, `unlock_end`.
    rules: Vec<[u32; 4]>,
    /// For each key token, whether the second interval may show it.
    text: Vec<bool>,
    /// For each query token, its place in its document.
    positions: Vec<u32>,
    everything: bool,
}

impl AttentionLayout {
    /// Lays out a batch of rows of `len` tokens each; `rows[b]` lists row `b`'s documents in order.
    ///
    /// # Errors
    ///
    /// [`LayoutError`] if documents, media spans or question ends overlap or do not fit.
    pub fn from_spans(
        policy: Policy,
        len: usize,
        rows: &[Vec<Document>],
    ) -> Result<Self, LayoutError> {
        let mut layout = Self {
            batch: rows.len(),
            query_len: len,
            key_len: len,
            rules: vec![[0; 4]; rows.len() * len],
            text: vec![true; rows.len() * len],
            positions: vec![0; rows.len() * len],
            everything: false,
        };
        for (row, documents) in rows.iter().enumerate() {
            let mut after = 0;
            for document in documents {
                document.check(row, after, len)?;
                after = document.tokens.end;
                layout.place(policy, row, document);
            }
        }
        Ok(layout)
    }

    fn place(&mut self, policy: Policy, row: usize, document: &Document) {
        let Range { start, end } = document.tokens;
        let offset = row * self.key_len;
        let open_end = match policy {
            Policy::Prefix => document.question_end.unwrap_or(start),
            Policy::Causal | Policy::Mma => start,
        };
        for i in start..end {
            let last = if i < open_end { open_end } else { i + 1 };
            self.rules[offset + i] = [start as u32, last as u32, 0, 0];
            self.positions[offset + i] = (i - start) as u32;
        }
        for span in &document.media {
            self.text[offset + span.start..offset + span.end].fill(false);
            if let (Policy::Mma, Some(question_end)) = (policy, document.question_end)
                && span.end < question_end
            {
                for rule in &mut self.rules[offset + span.start..offset + span.end] {
                    rule[2] = span.end as u32;
                    rule[3] = question_end as u32;
                }
            }
        }
    }

    /// A layout in which each of `query_len` queries sees all `key_len` keys: vision towers,
    /// resamplers, and decoding one token against a cache.
    ///
    /// Positions count up to the last key, as a decoded token's do.
    pub fn everything(batch: usize, query_len: usize, key_len: usize) -> Self {
        let first = key_len.saturating_sub(query_len) as u32;
        Self {
            batch,
            query_len,
            key_len,
            rules: vec![[0, key_len as u32, 0, 0]; batch * query_len],
            text: vec![true; batch * key_len],
            positions: (0..batch)
                .flat_map(|_| first..first + query_len as u32)
                .collect(),
            everything: true,
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

    /// Each query token's place in its document, row after row; 0 for padding.
    pub fn positions(&self) -> &[u32] {
        &self.positions
    }

    /// Whether every query sees every key, so that no mask is needed.
    pub fn is_everything(&self) -> bool {
        self.everything
    }

    /// Whether some query sees nothing (padding does).
    pub fn has_empty_rows(&self) -> bool {
        (0..self.rules.len()).any(|at| self.is_empty_row(at))
    }

    fn is_empty_row(&self, at: usize) -> bool {
        let [first, last, unlock_start, unlock_end] = self.rules[at];
        let keys = at / self.query_len * self.key_len;
        first >= last && !(unlock_start..unlock_end).any(|j| self.text[keys + j as usize])
    }

    /// The visibility rule: whether query `i` of row `row` may look at key `j`.
    ///
    /// A key past the end is not visible.
    ///
    /// # Panics
    ///
    /// If `row` lies outside the layout.
    pub fn visible(&self, row: usize, i: usize, j: usize) -> bool {
        let [first, last, unlock_start, unlock_end] =
            self.rules[row * self.query_len + i].map(|position| position as usize);
        (first <= j && j < last)
            || (unlock_start <= j && j < unlock_end && self.text[row * self.key_len + j])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn picture(layout: &AttentionLayout, row: usize) -> Vec<String> {
        (0..layout.query_len())
            .map(|i| {
                (0..layout.key_len())
                    .map(|j| if layout.visible(row, i, j) { '1' } else { '.' })
                    .collect()
            })
            .collect()
    }

    fn example(policy: Policy) -> Vec<String> {
        let document = Document {
            tokens: 0..8,
            media: vec![1..4],
            question_end: Some(6),
        };
        picture(
            &AttentionLayout::from_spans(policy, 8, &[vec![document]]).unwrap(),
            0,
        )
    }

    #[test]
    fn the_pictures_in_the_docs() {
        assert_eq!(
            example(Policy::Mma),
            [
                "1.......", "11..11..", "111.11..", "111111..", "11111...", "111111..", "1111111.",
                "11111111"
            ]
        );
        assert_eq!(
            example(Policy::Causal),
            [
                "1.......", "11......", "111.....", "1111....", "11111...", "111111..", "1111111.",
                "11111111"
            ]
        );
        assert_eq!(
            example(Policy::Prefix),
            [
                "111111..", "111111..", "111111..", "111111..", "111111..", "111111..", "1111111.",
                "11111111"
            ]
        );
    }

    #[test]
    fn two_pictures_do_not_see_each_other_ahead() {
        let document = Document {
            tokens: 0..7,
            media: vec![0..2, 3..5],
            question_end: Some(6),
        };
        let layout = AttentionLayout::from_spans(Policy::Mma, 8, &[vec![document]]).unwrap();
        assert_eq!(
            picture(&layout, 0),
            [
                "1.1..1..", "111..1..", "111.....", "1111.1..", "111111..", "111111..", "1111111.",
                "........"
            ]
        );
        assert!(layout.has_empty_rows());
    }

    #[test]
    fn bad_spans_are_refused() {
        let lay = |document| AttentionLayout::from_spans(Policy::Mma, 8, &[vec![document]]);
        let outside = Document {
            tokens: 2..9,
            ..Document::default()
        };
        assert!(matches!(
            lay(outside),
            Err(LayoutError::Document { len: 8, .. })
        ));
        let media = vec![0..3, 2..4];
        let overlap = Document {
            tokens: 0..8,
            media,
            question_end: None,
        };
        assert!(matches!(
            lay(overlap),
            Err(LayoutError::Media { after: 3, .. })
        ));
        let late = Document {
            tokens: 0..4,
            media: vec![],
            question_end: Some(5),
        };
        assert!(matches!(
            lay(late),
            Err(LayoutError::Question {
                question_end: 5,
                ..
            })
        ));
    }

    #[test]
    fn everything_sees_everything() {
        let layout = AttentionLayout::everything(2, 3, 5);
        assert!((0..3).all(|i| (0..5).all(|j| layout.visible(1, i, j))));
        assert_eq!(layout.positions(), [2, 3, 4, 2, 3, 4]);
        assert!(!layout.has_empty_rows());
    }

    /// A document drawn: lengths of its alternating text and media pieces, where its question ends,
    /// and the padding behind it.
    type Drawn = (Vec<(usize, usize)>, usize, usize);

    fn documents() -> impl Strategy<Value = Vec<Drawn>> {
        let piece = (0usize..5, 0usize..5);
        let document = (prop::collection::vec(piece, 0..4), 0usize..30, 0usize..3);
        prop::collection::vec(document, 0..4)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3000))]

        /// The rule as the paper words it, token by token, against the intervals.
        #[test]
        fn the_rule_restated_by_brute_force(
            drawn in documents(),
            policy in prop::sample::select(vec![Policy::Causal, Policy::Prefix, Policy::Mma]),
        ) {
            // One entry a token: (document, span or none); `None` is padding.
            let mut tokens: Vec<Option<(usize, Option<usize>)>> = Vec::new();
            let (mut laid, mut spans) = (Vec::new(), 0);
            for (d, (pieces, question, padding)) in drawn.iter().enumerate() {
                let start = tokens.len();
                let mut media = Vec::new();
                for &(text, picture) in pieces {
                    tokens.extend(vec![Some((d, None)); text]);
                    if picture > 0 {
                        media.push(tokens.len()..tokens.len() + picture);
                        tokens.extend(vec![Some((d, Some(spans))); picture]);
                        spans += 1;
                    }
                }
                let end = tokens.len();
                let question_end = (start + question <= end).then_some(start + question);
                laid.push(Document { tokens: start..end, media, question_end });
                tokens.extend(vec![None; *padding]);
            }
            let layout = AttentionLayout::from_spans(policy, tokens.len(), &[laid.clone()]).unwrap();
            for (i, query) in tokens.iter().enumerate() {
                let mut seen = 0;
                for (j, key) in tokens.iter().enumerate() {
                    let expected = match (query, key) {
                        (Some((di, si)), Some((dj, sj))) if di == dj => {
                            let question = laid[*di].question_end.unwrap_or(0);
                            let unlocked = match policy {
                                Policy::Causal => false,
                                Policy::Prefix => i < question && j < question,
                                Policy::Mma => {
                                    si.is_some() && sj.is_none() && j < question
                                }
                            };
                            j <= i || unlocked
                        }
                        _ => false,
                    };
                    seen += usize::from(expected);
                    prop_assert_eq!(layout.visible(0, i, j), expected, "{} {} {:?}", i, j, policy);
                }
                prop_assert_eq!(query.is_none(), seen == 0);
            }
            prop_assert_eq!(layout.has_empty_rows(), tokens.iter().any(Option::is_none));
        }
    }
}
