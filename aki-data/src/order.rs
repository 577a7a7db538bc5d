//! Which sample comes when: a pure function of seed and item number.

use std::sync::{Mutex, PoisonError};

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Keeps the permutation of pass 7 apart from the augmentation of item 7.
const ORDER_DOMAIN: u64 = 0x616b_692d_6f72_6465; // "aki-orde"
const ITEM_DOMAIN: u64 = 0x616b_692d_6974_656d; // "aki-item"

/// The order of an endless stream over `n` samples.
///
/// Item `i` lies in pass `i / n`; within a pass every sample comes exactly once,
/// in a permutation drawn from the seed and the number of the pass. Nothing has
/// to be stored to resume: item `i` is the same whoever asks, and when.
///
/// The current pass is cached, so a walk forward costs one shuffle a pass.
#[derive(Debug)]
pub struct Order {
    seed: u64,
    n: usize,
    cached: Mutex<Option<(usize, Vec<usize>)>>,
}

impl Order {
    /// The order that `seed` gives to `n` samples.
    pub fn new(seed: u64, n: usize) -> Self {
        Self {
            seed,
            n,
            cached: Mutex::new(None),
        }
    }

    /// The pass in which `item` lies.
    ///
    /// # Panics
    /// If there are no samples.
    pub fn pass(&self, item: usize) -> usize {
        assert!(self.n > 0, "an order over no samples has no items");
        item / self.n
    }

    /// Index of the sample that comes as number `item` of the stream.
    ///
    /// # Panics
    /// If there are no samples.
    pub fn index(&self, item: usize) -> usize {
        let pass = self.pass(item);
        // The cache is replaced whole, so a thread that panicked cannot have left it half done.
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        match cached.as_ref() {
            Some((cached_pass, indices)) if *cached_pass == pass => indices[item % self.n],
            _ => {
                let indices = permutation(self.seed, pass, self.n);
                let index = indices[item % self.n];
                *cached = Some((pass, indices));
                index
            }
        }
    }
}

/// The random numbers of one item (augmentation, choice of questions), a pure
/// function of the seed and the item's number in the stream.
pub fn item_rng(seed: u64, item: usize) -> ChaCha8Rng {
    keyed_rng(seed, ITEM_DOMAIN, item as u64, 0)
}

fn permutation(seed: u64, pass: usize, n: usize) -> Vec<usize> {
    let mut indices: Vec<usize> = (0..n).collect();
    shuffle(
        &mut indices,
        &mut keyed_rng(seed, ORDER_DOMAIN, pass as u64, 0),
    );
    indices
}

/// Fisher-Yates.
pub(crate) fn shuffle<T>(items: &mut [T], rng: &mut impl Rng) {
    for last in (1..items.len()).rev() {
        items.swap(last, rng.random_range(0..=last));
    }
}

/// The four numbers become the cipher's key, so that no two quadruples share a stream.
pub(crate) fn keyed_rng(seed: u64, domain: u64, number: u64, rank: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&domain.to_le_bytes());
    key[16..24].copy_from_slice(&number.to_le_bytes());
    key[24..].copy_from_slice(&rank.to_le_bytes());
    ChaCha8Rng::from_seed(key)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_pass_is_a_permutation(seed: u64, n in 1_usize..200, pass in 0_usize..1000) {
            let order = Order::new(seed, n);
            let mut indices: Vec<_> = (pass * n..(pass + 1) * n).map(|i| order.index(i)).collect();
            indices.sort_unstable();
            prop_assert_eq!(indices, (0..n).collect::<Vec<_>>());
        }

        #[test]
        fn an_item_does_not_depend_on_what_was_asked_before(
            seed: u64, n in 1_usize..50, items in proptest::collection::vec(0_usize..500, 1..20),
        ) {
            let walked = Order::new(seed, n);
            for item in items {
                prop_assert_eq!(walked.index(item), Order::new(seed, n).index(item));
            }
        }
    }

    /// Pinned so that an update of `rand` cannot silently reorder everyone's runs.
    #[test]
    fn the_order_of_seed_one_is_pinned() {
        let order = Order::new(1, 8);
        let indices: Vec<_> = (0..16).map(|item| order.index(item)).collect();
        assert_eq!(indices, [4, 1, 2, 0, 7, 5, 6, 3, 5, 6, 4, 1, 3, 0, 2, 7]);
    }

    #[test]
    fn items_seeds_and_passes_have_streams_of_their_own() {
        let first = |seed, item| item_rng(seed, item).next_u64();
        assert_eq!(first(1, 2), first(1, 2));
        assert_ne!(first(1, 2), first(1, 3));
        assert_ne!(first(1, 2), first(2, 2));
        assert_ne!(first(1, 2), keyed_rng(1, ORDER_DOMAIN, 2, 0).next_u64());
    }
}
