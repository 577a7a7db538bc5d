//! How far scores would scatter with other questions, and by chance.
//!
//! What is drawn are clusters: rows that share a picture, or are one question in other orders, stand or
//! fall together, so that drawing them one by one would make intervals too narrow.

use aki_data::item_rng;
use rand::RngExt;

/// Draws of a bootstrap.
pub const RESAMPLES: usize = 1000;

/// Draws of a test: no p-value is below 1 in so many.
pub const SWAPS: usize = 2000;

/// Keep the two apart.
const SEEDS: [u64; 2] = [0x626f_6f74, 0x7377_6170];

/// Draws as many clusters as there are, with replacement, and gives how often each came, again and again.
pub fn draws(clusters: usize) -> impl Iterator<Item = Vec<u32>> {
    (0..RESAMPLES).map(move |draw| {
        let mut rng = item_rng(SEEDS[0], draw);
        let mut times = vec![0; clusters];
        for _ in 0..clusters {
            times[rng.random_range(0..clusters)] += 1;
        }
        times
    })
}

/// For each cluster whether two systems change places, again and again.
pub fn swaps(clusters: usize) -> impl Iterator<Item = Vec<bool>> {
    (0..SWAPS).map(move |draw| {
        let mut rng = item_rng(SEEDS[1], draw);
        (0..clusters).map(|_| rng.random()).collect()
    })
}

/// The 95 % intervals of columns, by the percentiles of their draws; none where fewer than two clusters
/// are, or where a draw has no value.
pub fn intervals(
    clusters: usize,
    width: usize,
    columns: impl Fn(&[u32]) -> Vec<Option<f64>>,
) -> Vec<Option<[f64; 2]>> {
    if clusters < 2 {
        return vec![None; width];
    }
    let mut drawn: Vec<Option<Vec<f64>>> = vec![Some(Vec::with_capacity(RESAMPLES)); width];
    for times in draws(clusters) {
        for (values, value) in drawn.iter_mut().zip(columns(&times)) {
            match (values.as_mut(), value) {
                (Some(values), Some(value)) => values.push(value),
                _ => *values = None,
            }
        }
    }
    let interval = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        [percentile(&values, 0.025), percentile(&values, 0.975)]
    };
    drawn
        .into_iter()
        .map(|values| values.map(interval))
        .collect()
}

/// Of sorted values, between two of them where need be.
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    sorted[below] + (sorted[above] - sorted[below]) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The mean of clusters of one row each.
    fn mean(values: &[f64], times: &[u32]) -> Vec<Option<f64>> {
        let sum = values.iter().zip(times).map(|(it, &n)| it * f64::from(n));
        vec![Some(
            sum.sum::<f64>() / f64::from(times.iter().sum::<u32>()),
        )]
    }

    /// Of a mean the interval is known: 1.96 standard errors to both sides.
    #[test]
    fn the_interval_of_a_mean_is_the_textbooks() {
        let values: Vec<f64> = (0..400).map(|it| f64::from(it % 4 == 0)).collect();
        let [low, high] = intervals(400, 1, |times| mean(&values, times))[0].expect("a value");
        let half = 1.96 * (0.25_f64 * 0.75 / 400.0).sqrt();
        assert!((low - (0.25 - half)).abs() < 0.006, "{low}");
        assert!((high - (0.25 + half)).abs() < 0.006, "{high}");
    }

    /// Ten rows of one picture say no more than one.
    #[test]
    fn rows_of_a_cluster_do_not_narrow_it() {
        let values: Vec<f64> = (0..40).map(|it| f64::from(it % 2)).collect();
        let once = intervals(40, 1, |times| mean(&values, times));
        let tenfold = intervals(40, 1, |times| {
            let times: Vec<u32> = times.iter().map(|it| it * 10).collect();
            mean(&values, &times)
        });
        assert_eq!(once, tenfold);
    }

    #[test]
    fn what_cannot_be_said_is_not() {
        assert_eq!(intervals(1, 2, |_| vec![Some(1.0); 2]), [None, None]);
        let some = |times: &[u32]| vec![Some(1.0), (times[0] > 0).then_some(1.0)];
        assert_eq!(intervals(3, 2, some), [Some([1.0, 1.0]), None]);
    }

    #[test]
    fn percentiles_lie_between_values() {
        assert!((percentile(&[1.0, 2.0, 3.0, 4.0], 0.5) - 2.5).abs() < 1e-12);
        assert!((percentile(&[1.0, 2.0], 1.0) - 2.0).abs() < 1e-12);
    }
}
