//! Several samples in one row.

use rand::Rng;

use crate::order::shuffle;

/// Samples that are packed together. More fill rows better, and are more to read again on resuming.
pub const WINDOW: usize = 192;

/// Puts items of some `lengths` into rows of `capacity` tokens: best fit, longest first. Returns
/// the items of each row in their order; rows come in an order drawn from `rng`, since the longest
/// would come first else.
///
/// Longest first leaves little: of 200 texts of up to 660 tokens in rows of 2,048 some 2 %, nearly
/// all of it in the last row.
///
/// # Panics
/// If an item is longer than a row.
pub fn pack(lengths: &[usize], capacity: usize, rng: &mut impl Rng) -> Vec<Vec<usize>> {
    let mut items: Vec<usize> = (0..lengths.len()).collect();
    items.sort_by_key(|&item| std::cmp::Reverse(lengths[item]));
    let mut rows: Vec<(usize, Vec<usize>)> = Vec::new();
    for item in items {
        assert!(lengths[item] <= capacity, "an item is no longer than a row");
        let fitting = rows.iter_mut().filter(|(free, _)| *free >= lengths[item]);
        match fitting.min_by_key(|(free, _)| *free) {
            Some((free, row)) => {
                *free -= lengths[item];
                row.push(item);
            }
            None => rows.push((capacity - lengths[item], vec![item])),
        }
    }
    let mut rows: Vec<Vec<usize>> = rows.into_iter().map(|(_, row)| row).collect();
    for row in &mut rows {
        row.sort_unstable();
    }
    shuffle(&mut rows, rng);
    rows
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::RngExt;

    use super::*;
    use crate::item_rng;

    /// Tokens of the turn texts: the system line has some 33, the tags and line ends 7.
    const TEMPLATE: f64 = 40.0;
    const MEDIA: f64 = 144.0;

    /// A source of instruction tuning: its weight, how many of its samples have a picture, and the
    /// tokens of question and answer together.
    struct Lengths {
        weight: f64,
        pictured: f64,
        middle: f64,
        spread: f64,
        /// Whether `spread` is of the logarithm: a few are much longer than the others.
        tail: bool,
    }

    const fn lengths(weight: f64, middle: f64, spread: f64) -> Lengths {
        Lengths {
            weight,
            pictured: 1.0,
            middle,
            spread,
            tail: false,
        }
    }

    /// Estimates at 1.3 tokens a word, and a token a digit, not counts: of each source the length of
    /// its instruction, of a question and of an answer as its paper or makers give them.
    const SOURCES: [Lengths; 9] = [
        // "Answer the question using a single word or phrase." 10; a question 8, an answer 2.
        lengths(0.103, 20.0, 3.0), // VQAv2
        lengths(0.103, 24.0, 4.0), // GQA
        // "Please answer yes or no." besides.
        lengths(0.026, 29.0, 4.0), // VSR
        lengths(0.103, 26.0, 7.0), // OCR-VQA: titles of books
        // The longer instruction 13, a question 11, four options with letters 30, a letter.
        lengths(0.103, 58.0, 9.0), // A-OKVQA
        // Hints from none to a page; half of the questions have a picture.
        Lengths {
            pictured: 0.49,
            tail: true,
            ..lengths(0.103, 110.0, 0.55) // ScienceQA
        },
        // The instruction 8, a box 33, a phrase 3 to 10.
        lengths(0.356, 47.0, 3.0), // RefCOCO, +, g and Visual Genome's regions
        // Of LLaVA's pairs 72 % are of conversations, the others describe or reason.
        Lengths {
            tail: true,
            ..lengths(0.103 * 0.72, 65.0, 0.4)
        },
        Lengths {
            tail: true,
            ..lengths(0.103 * 0.28, 170.0, 0.35)
        },
    ];

    /// Tokens of sample number `item`, its text cut at 512 as in the original.
    fn drawn(item: usize) -> usize {
        let mut rng = item_rng(7, item);
        let mut left = rng.random::<f64>() * SOURCES.iter().map(|it| it.weight).sum::<f64>();
        let source = SOURCES.iter().find(|it| {
            left -= it.weight;
            left < 0.0
        });
        let source = source.expect("one of them");
        let pictured = rng.random::<f64>() < source.pictured;
        // Near enough to a normal number: a sum of twelve even ones.
        let normal = (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
        let said = match source.tail {
            true => source.middle * (source.spread * normal).exp(),
            false => source.middle + source.spread * normal,
        };
        let text = (TEMPLATE + said).round().clamp(TEMPLATE + 5.0, 512.0);
        (text + if pictured { MEDIA } else { 0.0 }) as usize
    }

    /// What docs/benchmarks/data.md says of packing.
    #[test]
    fn packed_rows_of_instruction_tuning_have_little_padding() {
        let lengths: Vec<usize> = (0..100 * WINDOW).map(drawn).collect();
        let tokens: usize = lengths.iter().sum();
        let padding = |places: usize| 100.0 * (1.0 - tokens as f64 / places as f64);
        let told = |places| format!("{:.1} %", padding(places));
        let packed = |capacity| {
            let windows = lengths.chunks(WINDOW).zip(0..);
            let rows = windows.map(|(window, item)| pack(window, capacity, &mut item_rng(0, item)));
            capacity * rows.map(|rows| rows.len()).sum::<usize>()
        };
        for capacity in [2048, 4096] {
            assert!(padding(packed(capacity)) < 5.0, "rows of {capacity}");
        }
        // Batches of 4 as long as their longest, and the original's, which are always the longest.
        let unpacked = |batch: &[usize]| 4 * batch.iter().max().expect("four");
        let places = [
            packed(2048),
            packed(4096),
            lengths.chunks(4).map(unpacked).sum(),
            lengths.len() * (512 + 1 + 144 - 1),
        ];
        assert_eq!(
            places.map(told),
            ["4.1 %", "3.9 %", "14.9 %", "64.8 %"],
            "{tokens}"
        );
    }

    proptest! {
        #[test]
        fn every_item_is_in_one_row_and_no_row_is_too_long(
            lengths in prop::collection::vec(1_usize..50, 0..60), more in 0_usize..50, seed: u64,
        ) {
            let capacity = 50 + more;
            let rows = pack(&lengths, capacity, &mut item_rng(seed, 0));
            for row in &rows {
                prop_assert!(row.iter().map(|&item| lengths[item]).sum::<usize>() <= capacity);
                prop_assert!(row.is_sorted() && !row.is_empty());
            }
            let mut items: Vec<_> = rows.into_iter().flatten().collect();
            items.sort_unstable();
            prop_assert_eq!(items, (0..lengths.len()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_best_fit_is_taken() {
        let mut rows = pack(&[3, 6, 4, 7], 10, &mut item_rng(0, 0));
        rows.sort();
        assert_eq!(rows, [[0, 3], [1, 2]]);
    }
}
