//! Which rule a document follows.

use serde::{Deserialize, Serialize};

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
    /// Every token sees its whole document.
    Bidirectional,
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
    /// Concentric causal attention (CCA): the tokens of a picture stand in rings, see their own
    /// ring and those outside it, and share one position a ring; text goes on after the innermost.
    ///
    /// A media span is a square grid whose tokens have been put in [`ring_order`], outermost ring
    /// first. (The latents of a resampler stand on no grid: any order of theirs is ring order.)
    /// The picture's span here is a grid of 2 x 2, which is one ring:
    ///
    /// ```text
    ///       s i i i i q a
    ///     s 1 . . . . . .
    ///     i 1 1 1 1 1 . .
    ///     i 1 1 1 1 1 . .
    ///     i 1 1 1 1 1 . .
    ///     i 1 1 1 1 1 . .
    ///     q 1 1 1 1 1 1 .
    ///     a 1 1 1 1 1 1 1
    /// ```
    Cca,
}

impl Policy {
    /// Its name in files and on pages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Causal => "causal",
            Self::Bidirectional => "bidirectional",
            Self::Prefix => "prefix",
            Self::Mma => "mma",
            Self::Cca => "cca",
        }
    }
}

/// The order in which [`Policy::Cca`] wants the tokens of a `side` x `side` grid: for each place
/// the raster index (`row * side + column`) of the token that belongs there, outermost ring first
/// and in raster order within a ring.
pub fn ring_order(side: usize) -> Vec<usize> {
    let ring = |token: usize| {
        let (row, column) = (token / side, token % side);
        row.min(column).min(side - 1 - row).min(side - 1 - column)
    };
    let mut order: Vec<usize> = (0..side * side).collect();
    order.sort_by_key(|&token| ring(token));
    order
}

/// The side of a square grid of `tokens` tokens, or `None` if they form no square.
pub(super) fn grid_side(tokens: usize) -> Option<usize> {
    let side = tokens.isqrt();
    (side * side == tokens).then_some(side)
}

/// Tokens in the rings of a `side` x `side` grid, outermost first.
pub(super) fn ring_sizes(side: usize) -> impl Iterator<Item = usize> {
    (0..side.div_ceil(2)).map(move |ring| {
        let (outer, inner) = (side - 2 * ring, (side - 2 * ring).saturating_sub(2));
        outer * outer - inner * inner
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_from_outside_in() {
        assert_eq!(ring_order(3), [0, 1, 2, 3, 5, 6, 7, 8, 4]);
        assert_eq!(
            ring_order(4),
            [0, 1, 2, 3, 4, 7, 8, 11, 12, 13, 14, 15, 5, 6, 9, 10]
        );
        for side in 1..8 {
            assert_eq!(ring_sizes(side).sum::<usize>(), side * side);
            assert_eq!(grid_side(side * side), Some(side));
        }
        assert_eq!(ring_sizes(5).collect::<Vec<_>>(), [16, 8, 1]);
        assert_eq!(grid_side(12), None);
    }
}
