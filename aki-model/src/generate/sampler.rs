//! Choosing the next token from logits.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// How tokens are drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// 0 takes the likeliest token; higher is wilder.
    pub temperature: f32,
    /// Tokens are drawn from the smallest set whose probabilities sum to at least this; 1 is all.
    pub top_p: f32,
    /// Seed of the draws.
    pub seed: u64,
}

impl Default for Sampling {
    /// Greedy.
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_p: 1.0,
            seed: 0,
        }
    }
}

/// Draws tokens; same seed and same logits give the same tokens.
#[derive(Debug)]
pub struct Sampler {
    sampling: Sampling,
    rng: ChaCha8Rng,
}

impl Sampler {
    /// A sampler at the beginning of its stream of random numbers.
    pub fn new(sampling: Sampling) -> Self {
        let rng = ChaCha8Rng::seed_from_u64(sampling.seed);
        Self { sampling, rng }
    }

    /// The id drawn from `logits`, one a vocabulary entry. Equal logits go to the lowest id.
    ///
    /// # Panics
    ///
    /// If there are no logits.
    pub fn draw(&mut self, logits: &[f32]) -> u32 {
        let mut order: Vec<usize> = (0..logits.len()).collect();
        order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
        if self.sampling.temperature <= 0.0 {
            return order[0] as u32;
        }
        let top = logits[order[0]];
        let weight = |id: &usize| f64::from((logits[*id] - top) / self.sampling.temperature).exp();
        let total: f64 = order.iter().map(weight).sum();
        let mut kept = 0.0;
        let nucleus = order
            .iter()
            .take_while(|id| {
                let wanted = kept < f64::from(self.sampling.top_p) * total;
                kept += weight(id);
                wanted
            })
            .count()
            .max(1);
        let nucleus = &order[..nucleus];
        let mut left = self.rng.random::<f64>() * nucleus.iter().map(weight).sum::<f64>();
        for id in nucleus {
            left -= weight(id);
            if left < 0.0 {
                return *id as u32;
            }
        }
        nucleus[nucleus.len() - 1] as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greedy_takes_the_first_of_the_likeliest() {
        assert_eq!(
            Sampler::new(Sampling::default()).draw(&[0.0, 3.0, 3.0, -1.0]),
            1
        );
    }

    #[test]
    fn temperature_follows_the_probabilities_and_the_nucleus_cuts() {
        let logits = [2f32.ln(), 1f32.ln(), 1f32.ln()];
        let count = |top_p| {
            let mut sampler = Sampler::new(Sampling {
                temperature: 1.0,
                top_p,
                seed: 7,
            });
            let mut counts = [0usize; 3];
            for _ in 0..4000 {
                counts[sampler.draw(&logits) as usize] += 1;
            }
            counts
        };
        let counts = count(1.0);
        assert!(
            counts[0].abs_diff(2000) < 150 && counts[2].abs_diff(1000) < 150,
            "{counts:?}"
        );
        assert_eq!(count(0.5), [4000, 0, 0]);
    }
}
