//! Columns of a benchmark's rows, whatever the benchmark.

use std::collections::BTreeMap;

use aki_data::benchmark::{Benchmark, Scorer};

use super::Answered;
use super::bootstrap::intervals;

/// Headline scores of rows, and of these rows drawn anew by cluster.
#[derive(Clone, Debug)]
pub enum Measure {
    /// Of a published benchmark.
    Published(Benchmark, Scorer),
    /// The share of right answers, in percent: of each cluster the values' sum, and how many there are.
    /// A row without a value makes it none.
    Accuracy(Vec<(Option<f64>, u32)>),
}

impl Measure {
    /// Of the benchmark with this name; accuracy if it is none of the published ones.
    pub fn new<'a>(name: &str, rows: impl IntoIterator<Item = &'a Answered>) -> Self {
        if let Some(benchmark) = Benchmark::named(name) {
            let rows = rows.into_iter().map(|row| (&row.question, &row.mark));
            let rows: Vec<_> = rows.collect();
            return Self::Published(benchmark, Scorer::new(benchmark, &rows));
        }
        let mut clusters: BTreeMap<usize, (Option<f64>, u32)> = BTreeMap::new();
        for row in rows {
            let cluster = clusters.entry(row.question.cluster);
            let (sum, count) = cluster.or_insert((Some(0.0), 0));
            *sum = sum.zip(row.mark.value).map(|(sum, value)| sum + value);
            *count += 1;
        }
        Self::Accuracy(clusters.into_values().collect())
    }

    /// What its columns are called.
    pub fn names(&self) -> &'static [&'static str] {
        match self {
            Self::Published(benchmark, _) => benchmark.columns(),
            Self::Accuracy(_) => &["accuracy"],
        }
    }

    /// How many clusters the rows are of.
    pub fn clusters(&self) -> usize {
        match self {
            Self::Published(_, scorer) => scorer.clusters(),
            Self::Accuracy(clusters) => clusters.len(),
        }
    }

    /// The 95 % intervals of the columns, by a bootstrap over clusters; none where there is none.
    pub fn intervals(&self) -> Vec<Option<[f64; 2]>> {
        intervals(self.clusters(), self.names().len(), |times| {
            self.columns(times)
        })
    }

    /// How many rows each column is of.
    pub fn of(&self) -> Vec<usize> {
        match self {
            Self::Published(_, scorer) => scorer.of(),
            Self::Accuracy(clusters) => {
                vec![clusters.iter().map(|&(_, count)| count as usize).sum()]
            }
        }
    }

    /// The columns if each cluster had come so many times.
    pub fn columns(&self, times: &[u32]) -> Vec<Option<f64>> {
        match self {
            Self::Published(_, scorer) => scorer.columns(times),
            Self::Accuracy(clusters) => {
                let (mut right, mut asked) = (Some(0.0), 0);
                for (&(sum, count), &times) in clusters.iter().zip(times).filter(|it| *it.1 > 0) {
                    let added = |(right, sum): (f64, f64)| right + sum * f64::from(times);
                    right = right.zip(sum).map(added);
                    asked += count * times;
                }
                let percent = |right: f64| 100.0 * right / f64::from(asked);
                vec![right.filter(|_| asked > 0).map(percent)]
            }
        }
    }
}
