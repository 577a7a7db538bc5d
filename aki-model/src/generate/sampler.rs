//! Choosing the next token from logits.

use std::cmp::Ordering;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// How tokens are drawn. The settings apply in the order of the fields, as in Hugging Face's
/// `transformers`.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// Makes tokens of the prompt and the answer less likely: their logits are divided by this where
    /// positive and multiplied by it where negative, once however often a token stands there; 1
    /// changes nothing.
    pub repetition_penalty: f32,
    /// Divides the logits; 0 takes the likeliest token, higher is wilder.
    pub temperature: f32,
    /// Only so many of the likeliest tokens are drawn from, those of the lowest ids where some are
    /// alike; 0 is all.
    pub top_k: usize,
    /// Of these, the smallest set of the likeliest whose probabilities sum to at least this; 1 is all.
    pub top_p: f32,
    /// Of these, the tokens at least so likely as this share of the likeliest one's probability; 0 is
    /// all.
    pub min_p: f32,
    /// Seed of the draws.
    pub seed: u64,
}

impl Default for Sampling {
    /// Greedy.
    fn default() -> Self {
        Self {
            repetition_penalty: 1.0,
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
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

    /// The id drawn from `logits`, one a vocabulary entry, which are changed on the way. `context` is
    /// what the repetition penalty looks at: the ids of prompt and answer. Equal logits go to the
    /// lowest id, and what is not a number is never drawn.
    ///
    /// # Panics
    ///
    /// If there are no logits.
    pub fn draw(&mut self, logits: &mut [f32], context: &[u32]) -> u32 {
        for logit in logits.iter_mut().filter(|logit| logit.is_nan()) {
            *logit = f32::NEG_INFINITY;
        }
        penalise(logits, context, self.sampling.repetition_penalty);
        let likeliest = argmax(logits);
        let top = logits[likeliest as usize];
        if self.sampling.temperature <= 0.0 || !top.is_finite() {
            return likeliest;
        }
        let temperature = self.sampling.temperature;
        let weights: Vec<f64> = logits
            .iter()
            .map(|logit| f64::from((logit - top) / temperature).exp())
            .collect();
        let ids = self.candidates(logits, &weights);
        let weight = |id: &u32| weights[*id as usize];
        let mut left = self.rng.random::<f64>() * ids.iter().map(weight).sum::<f64>();
        for id in &ids {
            left -= weight(id);
            if left < 0.0 {
                return *id;
            }
        }
        // Rounding may leave a crumb.
        likeliest
    }

    /// The ids to draw from, in order. Only as many of the likeliest are sorted as are needed.
    fn candidates(&self, logits: &[f32], weights: &[f64]) -> Vec<u32> {
        let Sampling {
            top_k,
            top_p,
            min_p,
            ..
        } = self.sampling;
        let mut ids: Vec<u32> = (0..logits.len() as u32).collect();
        if 0 < top_k && top_k < ids.len() {
            ids.select_nth_unstable_by(top_k - 1, |&a, &b| likelier(logits, a, b));
            ids.truncate(top_k);
            ids.sort_unstable();
        }
        if top_p < 1.0 {
            let total: f64 = ids.iter().map(|&id| weights[id as usize]).sum();
            let wanted = f64::from(top_p) * total;
            let nucleus = nucleus(&mut ids, logits, weights, wanted);
            ids.truncate(nucleus);
        }
        if min_p > 0.0 {
            // The likeliest weighs 1, and is among them.
            let least = f64::from(min_p.min(1.0));
            ids.retain(|&id| weights[id as usize] >= least);
        }
        ids.sort_unstable();
        ids
    }
}

/// Moves the likeliest to the front and gives the number of those whose weights sum to `wanted`, 1 at
/// least.
fn nucleus(ids: &mut [u32], logits: &[f32], weights: &[f64], wanted: f64) -> usize {
    let (mut sum, mut sorted) = (0.0, 0);
    while sorted < ids.len() {
        // Most often few tokens share nearly all of the probability.
        let more = (8 * sorted).max(64).min(ids.len() - sorted);
        let rest = &mut ids[sorted..];
        if more < rest.len() {
            rest.select_nth_unstable_by(more - 1, |&a, &b| likelier(logits, a, b));
        }
        rest[..more].sort_unstable_by(|&a, &b| likelier(logits, a, b));
        for &id in &rest[..more] {
            sorted += 1;
            sum += weights[id as usize];
            if sum >= wanted {
                return sorted;
            }
        }
    }
    sorted
}

/// The likelier of two tokens comes first, and of equals the lower id.
pub(super) fn likelier(logits: &[f32], a: u32, b: u32) -> Ordering {
    let (of_a, of_b) = (logits[a as usize], logits[b as usize]);
    of_b.partial_cmp(&of_a)
        .unwrap_or(Ordering::Equal)
        .then(a.cmp(&b))
}

fn argmax(logits: &[f32]) -> u32 {
    let mut top = 0;
    for (id, &logit) in logits.iter().enumerate() {
        if logit > logits[top] {
            top = id;
        }
    }
    top as u32
}

fn penalise(logits: &mut [f32], context: &[u32], penalty: f32) {
    if (penalty - 1.0).abs() < f32::EPSILON {
        return;
    }
    let mut done = vec![false; logits.len()];
    for &id in context {
        let id = id as usize;
        if let (Some(logit), Some(done)) = (logits.get_mut(id), done.get_mut(id))
            && !std::mem::replace(done, true)
        {
            *logit = if *logit < 0.0 {
                *logit * penalty
            } else {
                *logit / penalty
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn greedy_takes_the_first_of_the_likeliest() {
        let mut sampler = Sampler::new(Sampling::default());
        assert_eq!(sampler.draw(&mut [0.0, 3.0, 3.0, f32::NAN, -1.0], &[]), 1);
        assert_eq!(sampler.draw(&mut [f32::NAN, f32::NEG_INFINITY], &[]), 0);
    }

    #[test]
    fn the_penalty_counts_a_token_once() {
        let mut logits = [2.0f32, -1.0, 1.5];
        penalise(&mut logits, &[0, 0, 1, 7], 2.0);
        assert_eq!(
            logits.map(f32::to_bits),
            [1.0f32, -2.0, 1.5].map(f32::to_bits)
        );
        let mut sampler = Sampler::new(Sampling {
            repetition_penalty: 2.0,
            ..Sampling::default()
        });
        assert_eq!(sampler.draw(&mut [2.0, -1.0, 1.5], &[0]), 2);
    }

    #[test]
    fn draws_follow_the_probabilities_and_the_nucleus_cuts() {
        let logits = [2f32.ln(), 1f32.ln(), 1f32.ln()];
        let count = |top_p| {
            let mut sampler = Sampler::new(Sampling {
                temperature: 1.0,
                top_p,
                seed: 7,
                ..Sampling::default()
            });
            let mut counts = [0usize; 3];
            for _ in 0..4000 {
                counts[sampler.draw(&mut logits.clone(), &[]) as usize] += 1;
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

    /// What stays of the vocabulary, by sorting all of it.
    fn plainly(sampling: &Sampling, logits: &[f32], weights: &[f64]) -> Vec<u32> {
        let weight = |id: &u32| weights[*id as usize];
        let mut order: Vec<u32> = (0..logits.len() as u32).collect();
        order.sort_by(|&a, &b| logits[b as usize].total_cmp(&logits[a as usize]));
        if sampling.top_k > 0 {
            order.truncate(sampling.top_k);
        }
        let mut by_id = order.clone();
        by_id.sort_unstable();
        let total: f64 = by_id.iter().map(weight).sum();
        let mut before = 0.0;
        let mut kept = Vec::new();
        for id in order {
            if sampling.top_p < 1.0
                && before >= f64::from(sampling.top_p) * total
                && !kept.is_empty()
            {
                break;
            }
            before += weight(&id);
            kept.push(id);
        }
        kept.retain(|id| weight(id) >= f64::from(sampling.min_p) || *id == argmax(logits));
        kept.sort_unstable();
        kept
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        /// Few values, so that many logits are alike.
        #[test]
        fn what_is_kept_is_what_sorting_all_keeps(
            coarse in prop::collection::vec(1i32..40, 1..700),
            top_k in prop::sample::select(vec![0usize, 1, 3, 50, 65, 600, 1000]),
            top_p in prop::sample::select(vec![0.0f32, 0.1, 0.5, 0.9, 0.999, 1.0]),
            min_p in prop::sample::select(vec![0.0f32, 0.01, 0.3, 1.0]),
            temperature in prop::sample::select(vec![0.3f32, 1.0, 5.0]),
        ) {
            let logits: Vec<f32> = coarse.iter().map(|&x| x as f32 / 4.0).collect();
            let top = logits[argmax(&logits) as usize];
            let weights: Vec<f64> = logits
                .iter()
                .map(|logit| f64::from((logit - top) / temperature).exp())
                .collect();
            let sampling = Sampling { temperature, top_k, top_p, min_p, ..Sampling::default() };
            let expected = plainly(&sampling, &logits, &weights);
            let mut sampler = Sampler::new(sampling);
            prop_assert_eq!(&sampler.candidates(&logits, &weights), &expected);
            let drawn = sampler.draw(&mut logits.clone(), &[]);
            prop_assert!(expected.contains(&drawn));
        }
    }
}
