//! How much padding batches of some lengths have.

use std::collections::BTreeMap;

use aki_data::item_rng;
use aki_data::mixture::{WINDOW, pack};

use super::lengths::Lengths;

/// Lengths and how likely each is, of sources that are drawn by weight.
#[derive(Clone, Debug)]
pub(super) struct Mix(Vec<(usize, f64)>);

impl Mix {
    /// Of sources' weights and lengths; those without samples have no part in it.
    pub(super) fn new<'a>(sources: impl IntoIterator<Item = (f64, &'a Lengths)>) -> Self {
        let mut shares: BTreeMap<usize, f64> = BTreeMap::new();
        for (weight, lengths) in sources {
            let of_all = lengths.count() as f64;
            for (length, count) in lengths.iter() {
                *shares.entry(length).or_default() += weight * count as f64 / of_all;
            }
        }
        let sum: f64 = shares.values().sum();
        Self(
            shares
                .into_iter()
                .map(|(length, share)| (length, share / sum))
                .collect(),
        )
    }

    /// The expected share of padding in batches of `batch` rows, each as long as the longest.
    ///
    /// A row is no longer than `l` with probability `F(l)`, and neither is a batch with `F(l)^batch`.
    pub(super) fn padding(&self, batch: usize) -> Option<f64> {
        let (mut mean, mut longest, mut below, mut up_to) = (0.0, 0.0, 0.0, 0.0_f64);
        for &(length, share) in &self.0 {
            mean += length as f64 * share;
            up_to += share;
            let no_longer = up_to.min(1.0).powf(batch as f64);
            longest += length as f64 * (no_longer - below);
            below = no_longer;
        }
        (longest > 0.0).then(|| (1.0 - mean / longest).max(0.0))
    }

    /// The share of padding in rows of `capacity` tokens that as many samples are packed into as
    /// training packs at once, their lengths spread as those here.
    pub(super) fn packed_padding(&self, capacity: usize) -> Option<f64> {
        let (mut lengths, mut up_to) = (Vec::with_capacity(WINDOW), 0.0);
        for &(length, share) in &self.0 {
            up_to += share;
            let reached = (up_to * WINDOW as f64).round() as usize;
            lengths.resize(reached.clamp(lengths.len(), WINDOW), length);
        }
        lengths.retain(|&length| length <= capacity);
        let tokens: usize = lengths.iter().sum();
        let rows = pack(&lengths, capacity, &mut item_rng(0, 0)).len();
        (rows > 0).then(|| 1.0 - tokens as f64 / (rows * capacity) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(of: &[usize]) -> Lengths {
        let mut lengths = Lengths::default();
        for &length in of {
            lengths.add(length);
        }
        lengths
    }

    #[track_caller]
    fn near(found: Option<f64>, expected: f64) {
        let found = found.unwrap();
        assert!((found - expected).abs() < 1e-9, "{found} for {expected}");
    }

    #[test]
    fn padding_is_that_of_all_batches_that_can_be_drawn() {
        let one = lengths(&[10, 30]);
        let mix = Mix::new([(1.0, &one)]);
        near(mix.padding(1), 0.0);
        // Of four pairs three are 30 long: 20 of 25 on average.
        near(mix.padding(2), 0.2);
        let two = lengths(&[30]);
        let mix = Mix::new([(2.0, &one), (1.0, &two)]);
        // 10 with a third: the longest is 10 with a ninth.
        near(mix.padding(2), 1.0 - (70.0 / 3.0) / (250.0 / 9.0));
        assert_eq!(Mix::new([(1.0, &Lengths::default())]).padding(2), None);
    }

    #[test]
    fn packing_leaves_less() {
        let all = lengths(&[10, 30]);
        let mix = Mix::new([(1.0, &all)]);
        near(mix.packed_padding(40), 0.0);
        near(mix.packed_padding(45), 1.0 - 40.0 / 45.0);
        // What does not fit a row is not trained on.
        near(mix.packed_padding(20), 0.0);
        assert_eq!(mix.packed_padding(9), None);
    }
}
