//! How many samples have which length.

use std::collections::BTreeMap;

use serde::Serialize;

/// Samples by length.
#[derive(Clone, Debug, Default)]
pub(super) struct Lengths(BTreeMap<usize, u64>);

/// What is told of lengths.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LengthReport {
    /// The shortest.
    pub min: usize,
    /// Half are no longer.
    pub median: usize,
    /// 95 of 100 are no longer.
    pub p95: usize,
    /// The longest.
    pub max: usize,
    /// The mean.
    pub mean: f64,
    /// Bars that double in width, from the first to the last that has samples.
    pub histogram: Vec<Bar>,
}

/// Samples of about the same length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Bar {
    /// Longer than half of it, and no longer than it.
    pub up_to: usize,
    /// How many.
    pub count: u64,
}

impl Lengths {
    pub(super) fn add(&mut self, length: usize) {
        *self.0.entry(length).or_default() += 1;
    }

    /// Samples.
    pub(super) fn count(&self) -> u64 {
        self.0.values().sum()
    }

    /// Lengths from the shortest, and how many samples have each.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, u64)> {
        self.0.iter().map(|(&length, &count)| (length, count))
    }

    /// What is to be told; nothing if there are no samples.
    pub(super) fn report(&self) -> Option<LengthReport> {
        let (&min, _) = self.0.first_key_value()?;
        let (&max, _) = self.0.last_key_value()?;
        let sum: f64 = self
            .iter()
            .map(|(length, n)| length as f64 * n as f64)
            .sum();
        let mut histogram: Vec<Bar> = Vec::new();
        for (length, count) in self.iter() {
            let up_to = length.max(1).next_power_of_two();
            let mut next = histogram.last().map_or(up_to, |bar| 2 * bar.up_to);
            while next <= up_to {
                histogram.push(Bar {
                    up_to: next,
                    count: 0,
                });
                next *= 2;
            }
            if let Some(bar) = histogram.last_mut() {
                bar.count += count;
            }
        }
        Some(LengthReport {
            min,
            median: self.quantile(1, 2),
            p95: self.quantile(19, 20),
            max,
            mean: sum / self.count() as f64,
            histogram,
        })
    }

    /// The least length that `numerator` of `denominator` samples do not exceed.
    fn quantile(&self, numerator: u64, denominator: u64) -> usize {
        let wanted = (self.count() * numerator).div_ceil(denominator);
        let mut seen = 0;
        let reached = |&(_, count): &(usize, u64)| {
            seen += count;
            seen >= wanted
        };
        self.iter().find(reached).map_or(0, |(length, _)| length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_double_and_none_is_missing_between() {
        let mut lengths = Lengths::default();
        assert_eq!(lengths.report(), None);
        for length in [5, 8, 9, 40, 64] {
            lengths.add(length);
        }
        let report = lengths.report().unwrap();
        let bars = [(8, 2), (16, 1), (32, 0), (64, 2)];
        assert_eq!(
            report.histogram,
            bars.map(|(up_to, count)| Bar { up_to, count })
        );
        let LengthReport {
            min,
            median,
            p95,
            max,
            mean,
            ..
        } = report;
        assert_eq!((min, median, p95, max), (5, 9, 64, 64));
        assert!((mean - 25.2).abs() < 1e-12);
    }
}
