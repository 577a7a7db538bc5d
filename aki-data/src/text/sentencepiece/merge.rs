//! Byte-pair merging as SentencePiece does it.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::ops::Range;

/// Two neighbours that are a piece together.
struct Pair {
    score: f32,
    left: usize,
    right: usize,
    len: usize,
}

/// The highest score first; of equal ones (Llama's runs of blanks all have -1e9) the leftmost.
impl Ord for Pair {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_score = self.score.total_cmp(&other.score);
        by_score.then(other.left.cmp(&self.left))
    }
}

impl PartialOrd for Pair {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Pair {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Pair {}

/// A part of the text and its neighbours that are left.
struct Symbol {
    bytes: Range<usize>,
    before: Option<usize>,
    after: Option<usize>,
}

/// Merges neighbouring characters of `text` into pieces and returns the parts, in order. `score`
/// gives a piece's score, none if the text is no piece. A list of merges with fixed ranks, as
/// `tokenizers` has it, cannot break ties by position.
pub(super) fn merge(text: &str, score: impl Fn(&str) -> Option<f32>) -> Vec<&str> {
    let mut symbols: Vec<Symbol> = text
        .char_indices()
        .enumerate()
        .map(|(index, (start, char))| Symbol {
            bytes: start..start + char.len_utf8(),
            before: index.checked_sub(1),
            after: Some(index + 1),
        })
        .collect();
    let Some(last) = symbols.last_mut() else {
        return Vec::new();
    };
    last.after = None;
    let mut pairs = BinaryHeap::new();
    let add = |pairs: &mut BinaryHeap<Pair>,
               symbols: &[Symbol],
               left: Option<usize>,
               right: Option<usize>| {
        let (Some(left), Some(right)) = (left, right) else {
            return;
        };
        let joined = &text[symbols[left].bytes.start..symbols[right].bytes.end];
        if let Some(score) = score(joined) {
            let len = joined.len();
            pairs.push(Pair {
                score,
                left,
                right,
                len,
            });
        }
    };
    for right in 1..symbols.len() {
        add(&mut pairs, &symbols, Some(right - 1), Some(right));
    }
    while let Some(Pair {
        left, right, len, ..
    }) = pairs.pop()
    {
        let lens = [left, right].map(|index| symbols[index].bytes.len());
        // One of the two has gone into another pair.
        if lens.contains(&0) || lens[0] + lens[1] != len {
            continue;
        }
        symbols[left].bytes.end += lens[1];
        symbols[right].bytes.end = symbols[right].bytes.start;
        let (before, after) = (symbols[left].before, symbols[right].after);
        symbols[left].after = after;
        if let Some(after) = after {
            symbols[after].before = Some(left);
        }
        add(&mut pairs, &symbols, before, Some(left));
        add(&mut pairs, &symbols, Some(left), after);
    }
    let left = symbols
        .into_iter()
        .filter(|symbol| !symbol.bytes.is_empty());
    left.map(|symbol| &text[symbol.bytes]).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::time::Instant;

    use super::*;

    fn merged<'a>(text: &'a str, scores: &[(&str, f32)]) -> Vec<&'a str> {
        let scores: HashMap<_, _> = scores.iter().copied().collect();
        merge(text, |piece| scores.get(piece).copied())
    }

    #[test]
    fn the_best_pair_comes_first_and_then_the_leftmost() {
        assert_eq!(merged("abc", &[("ab", -2.), ("bc", -1.)]), ["a", "bc"]);
        assert_eq!(merged("abc", &[("ab", -1.), ("bc", -1.)]), ["ab", "c"]);
        let runs = [("--", -9.), ("---", -9.), ("----", -9.)];
        assert_eq!(merged("-------", &runs), ["----", "---"]);
        assert_eq!(merged("", &runs), Vec::<&str>::new());
    }

    #[test]
    fn a_long_text_takes_no_longer_than_it_should() {
        let text = "ab".repeat(500_000);
        let start = Instant::now();
        assert_eq!(merged(&text, &[("ab", -1.), ("abab", -2.)]).len(), 250_000);
        assert!(
            start.elapsed().as_secs() < 10,
            "a million characters: {:?}",
            start.elapsed()
        );
    }
}
