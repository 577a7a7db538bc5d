//! How likely tokens were.

use super::sampler::likelier;

/// The log-probability of a token that was drawn, and those of the likeliest: `log softmax(logits)` of the
/// logits as the network gives them, before temperature, penalties and anything left out.
#[derive(Clone, Debug, PartialEq)]
pub struct Logprobs {
    /// That of the token drawn.
    pub drawn: f32,
    /// The likeliest ids with theirs, the likeliest first and of equals the lower id.
    pub likeliest: Vec<(u32, f32)>,
}

impl Logprobs {
    /// Those of `id` and of the `top` likeliest tokens, from logits, one a vocabulary entry. A logit that is
    /// not a number counts as minus infinity.
    ///
    /// # Panics
    ///
    /// If `id` has no logit.
    pub fn new(logits: &[f32], id: u32, top: usize) -> Self {
        let number = |logit: f32| match logit.is_nan() {
            true => f32::NEG_INFINITY,
            false => logit,
        };
        let logits: Vec<f32> = logits.iter().copied().map(number).collect();
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = logits
            .iter()
            .map(|logit| f64::from(logit - largest).exp())
            .sum();
        let logprob = |id: u32| (f64::from(logits[id as usize] - largest) - sum.ln()) as f32;
        let mut ids: Vec<u32> = (0..logits.len() as u32).collect();
        if 0 < top && top < ids.len() {
            ids.select_nth_unstable_by(top - 1, |&a, &b| likelier(&logits, a, b));
        }
        ids.truncate(top);
        ids.sort_unstable_by(|&a, &b| likelier(&logits, a, b));
        Self {
            drawn: logprob(id),
            likeliest: ids.into_iter().map(|id| (id, logprob(id))).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_sum_to_one_and_the_likeliest_come_first() {
        let logits = [2f32.ln(), 4f32.ln(), f32::NAN, 1f32.ln(), 1f32.ln()];
        let all = Logprobs::new(&logits, 0, 9);
        assert!((all.drawn.exp() - 0.25).abs() < 1e-6, "{all:?}");
        let ids: Vec<u32> = all.likeliest.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids, [1, 0, 3, 4, 2]);
        let sum: f32 = all.likeliest.iter().map(|(_, it)| it.exp()).sum();
        assert!((sum - 1.0).abs() < 1e-6, "{sum}");
        assert_eq!(Logprobs::new(&logits, 0, 2).likeliest, all.likeliest[..2]);
        assert_eq!(Logprobs::new(&logits, 2, 0).likeliest, []);
        assert!(all.likeliest[4].1 < -1e30, "{all:?}");
    }
}
