//! Table 1 of the paper (arXiv 2503.02597).

use super::set::Benchmark;

/// A row of Table 1: what it is called, and a score for each of [`published_columns`].
pub type Published = (&'static str, [f64; 12]);

/// The columns of Table 1: those of each benchmark in turn.
pub fn published_columns() -> impl Iterator<Item = &'static str> {
    Benchmark::ALL
        .into_iter()
        .flat_map(Benchmark::columns)
        .copied()
}

/// The published rows of Table 1, and AKI-4B's of Table 2, which is last.
pub fn published() -> &'static [Published] {
    &[
        (
            "(I&T)PT + (I&T)SFT",
            [
                1226.3, 258.2, 64.9, 64.1, 47.0, 31.1, 24.2, 79.8, 24.3, 50.6, 45.2, 54.3,
            ],
        ),
        (
            "CCA",
            [
                1212.7, 243.6, 67.4, 65.3, 54.0, 34.6, 25.6, 81.9, 29.0, 52.7, 56.0, 62.8,
            ],
        ),
        (
            "(w/o T&I)PT",
            [
                1046.3, 226.4, 31.7, 45.1, 38.1, 27.2, 23.8, 65.0, 17.2, 40.1, 53.2, 54.8,
            ],
        ),
        (
            "(w/o I&T)PT",
            [
                1013.2, 208.6, 32.0, 43.3, 37.9, 27.7, 22.4, 70.4, 20.6, 39.5, 55.4, 53.0,
            ],
        ),
        (
            "(w/o T&I)SFT",
            [
                1194.8, 289.3, 58.5, 61.1, 40.2, 28.0, 21.9, 79.0, 22.8, 47.8, 41.4, 63.0,
            ],
        ),
        (
            "(w/o I&T)SFT",
            [
                1166.2, 264.3, 58.4, 60.8, 36.9, 26.7, 23.1, 76.8, 20.4, 46.9, 43.3, 61.2,
            ],
        ),
        (
            "DOT",
            [
                1267.8, 251.4, 43.8, 54.7, 47.5, 30.7, 25.6, 82.7, 25.0, 50.5, 52.2, 58.1,
            ],
        ),
        (
            "MMA",
            [
                1363.7, 315.4, 71.8, 67.1, 59.6, 37.3, 26.4, 82.7, 30.2, 52.3, 57.8, 64.1,
            ],
        ),
        (
            "AKI-4B",
            [
                1491.9, 362.9, 73.1, 69.4, 74.6, 38.7, 32.1, 86.9, 40.8, 58.9, 62.1, 71.8,
            ],
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_columns_are_those_of_table_1() {
        let columns: Vec<_> = published_columns().collect();
        assert_eq!(
            columns,
            [
                "MMEp",
                "MMEc",
                "MMB",
                "SEED-I",
                "LLaVA-W",
                "MMMU",
                "MathV-mini",
                "POPE",
                "MM-Vet",
                "RealWorldQA",
                "CV-2D",
                "CV-3D"
            ]
        );
        assert_eq!(published().len(), 9);
    }
}
