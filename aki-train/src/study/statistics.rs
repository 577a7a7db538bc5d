//! Means over seeds, and how sure they are.

use serde::Serialize;

/// A value for each seed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// In the order of the seeds.
    pub values: Vec<f64>,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation, n - 1 in its denominator; none of one value.
    pub sd: Option<f64>,
}

impl Spread {
    /// Of at least one value.
    pub fn of(values: Vec<f64>) -> Self {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let sd = (values.len() > 1).then(|| (squares / (count - 1.0)).sqrt());
        Self { values, mean, sd }
    }
}

/// How much higher one spread is than another, seed by seed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// Mean of the differences.
    pub mean: f64,
    /// Where the true mean lies with 95 % confidence, by Student's t over seeds; none of one seed.
    pub bounds: Option<(f64, f64)>,
}

impl Interval {
    /// How much higher `values` are than `others`, of the same seeds.
    pub fn paired(values: &Spread, others: &Spread) -> Self {
        let pairs = values.values.iter().zip(&others.values);
        let Spread { values, mean, sd } =
            Spread::of(pairs.map(|(value, other)| value - other).collect());
        let reach = sd.map(|sd| t_975(values.len() - 1) * sd / (values.len() as f64).sqrt());
        Self {
            mean,
            bounds: reach.map(|reach| (mean - reach, mean + reach)),
        }
    }
}

/// The 97.5 % quantile of Student's t with so many degrees of freedom, at least 1.
fn t_975(degrees: usize) -> f64 {
    const FEW: [f64; 10] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    ];
    if let Some(quantile) = degrees.checked_sub(1).and_then(|index| FEW.get(index)) {
        return *quantile;
    }
    // Fisher's expansion about the normal quantile, to 0.001 from here on (Abramowitz and Stegun, 26.7.5).
    let (z, n) = (1.959_964_f64, degrees as f64);
    let [z3, z5, z7] = [3, 5, 7].map(|power| z.powi(power));
    let first = (z3 + z) / 4.0;
    let second = (5.0 * z5 + 16.0 * z3 + 3.0 * z) / 96.0;
    let third = (3.0 * z7 + 19.0 * z5 + 17.0 * z3 - 15.0 * z) / 384.0;
    z + first / n + second / n.powi(2) + third / n.powi(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(value: f64, expected: f64) {
        assert!((value - expected).abs() < 1e-3, "{value} {expected}");
    }

    #[test]
    fn means_and_deviations_are_worked_by_hand() {
        let spread = Spread::of(vec![1.0, 2.0, 6.0]);
        near(spread.mean, 3.0);
        near(spread.sd.expect("three values"), 7.0_f64.sqrt());
        assert_eq!(Spread::of(vec![0.5]).sd, None);
    }

    #[test]
    fn pairs_take_out_what_seeds_have_in_common() {
        let [one, two] = [vec![0.9, 0.5, 0.7], vec![0.8, 0.4, 0.5]].map(Spread::of);
        let Interval { mean, bounds } = Interval::paired(&one, &two);
        // Differences 0.1, 0.1, 0.2: deviation 0.057735, times 4.303 / sqrt(3).
        near(mean, 0.133_333);
        let (low, high) = bounds.expect("three pairs");
        near(low, -0.010_1);
        near(high, 0.276_8);
        assert_eq!(
            Interval::paired(&Spread::of(vec![1.0]), &Spread::of(vec![0.5])).bounds,
            None
        );
    }

    #[test]
    fn quantiles_are_those_of_tables() {
        for (degrees, quantile) in [
            (1, 12.706),
            (10, 2.228),
            (11, 2.201),
            (20, 2.086),
            (120, 1.980),
        ] {
            near(t_975(degrees), quantile);
        }
    }
}
