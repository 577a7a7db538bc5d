//! What a batch is made of: captions or questions.

use rand::{Rng, RngExt};

use crate::shards::{Sample, Turn};

/// What the model learns from a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// One row a picture: its caption.
    Captions,
    /// One row a question about the picture.
    Questions {
        /// At most so many questions of a picture, drawn anew each time it comes;
        /// none for all of them.
        per_picture: Option<usize>,
    },
}

impl Target {
    /// Whether `sample` has what this target needs.
    pub fn accepts(&self, sample: &Sample) -> bool {
        match self {
            Self::Captions => sample.caption.is_some(),
            Self::Questions { .. } => !sample.turns.is_empty(),
        }
    }
}

/// At most `limit` different turns, in their order in the sample.
pub(super) fn draw_turns<'a>(
    turns: &'a [Turn],
    limit: Option<usize>,
    rng: &mut impl Rng,
) -> Vec<&'a Turn> {
    let count = limit.unwrap_or(turns.len()).min(turns.len());
    // The first `count` steps of a Fisher-Yates shuffle.
    let mut indices: Vec<usize> = (0..turns.len()).collect();
    if count < turns.len() {
        for place in 0..count {
            indices.swap(place, rng.random_range(place..turns.len()));
        }
    }
    indices.truncate(count);
    indices.sort_unstable();
    indices.into_iter().map(|index| &turns[index]).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::item_rng;

    fn turns(count: usize) -> Vec<Turn> {
        (0..count)
            .map(|index| Turn {
                question: format!("{index:03}"),
                answer: String::new(),
                kind: String::new(),
            })
            .collect()
    }

    proptest! {
        #[test]
        fn drawn_turns_differ_and_keep_their_order(
            count in 0_usize..12, limit in prop::option::of(0_usize..15), item: usize,
        ) {
            let turns = turns(count);
            let drawn = draw_turns(&turns, limit, &mut item_rng(5, item));
            prop_assert_eq!(drawn.len(), limit.unwrap_or(count).min(count));
            prop_assert!(drawn.windows(2).all(|pair| pair[0].question < pair[1].question));
        }
    }

    #[test]
    fn every_turn_is_drawn_at_some_time() {
        let turns = turns(6);
        let mut seen = [0; 6];
        for item in 0..600 {
            for turn in draw_turns(&turns, Some(2), &mut item_rng(0, item)) {
                seen[turn.question.parse::<usize>().expect("a number")] += 1;
            }
        }
        assert!(
            seen.iter().all(|&count| (150..250).contains(&count)),
            "{seen:?}"
        );
    }
}
