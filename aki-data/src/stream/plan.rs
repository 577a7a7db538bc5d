//! Which shards a rank reads in a pass.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::config::{ShardDraw, StreamConfig};
use crate::order::{keyed_rng, shuffle};

/// Keep the streams of random numbers apart from each other and from `order`'s.
const SHARDS_DOMAIN: u64 = 0x616b_692d_7368_6172; // "aki-shar"
const RESAMPLE_DOMAIN: u64 = 0x616b_692d_7265_7361; // "aki-resa"
const BUFFER_DOMAIN: u64 = 0x616b_692d_6275_6666; // "aki-buff"

/// Numbers of the shards, in the order in which this rank reads them.
pub(super) fn plan(config: &StreamConfig, shards: usize, pass: u64) -> Vec<u32> {
    let shards = shards as u32;
    match config.draw {
        ShardDraw::Once => {
            let mut all: Vec<u32> = (0..shards).collect();
            // The same for all ranks, so that what they take of it is disjoint.
            shuffle(
                &mut all,
                &mut keyed_rng(config.seed, SHARDS_DOMAIN, pass, 0),
            );
            all.into_iter()
                .skip(config.rank)
                .step_by(config.world_size)
                .collect()
        }
        ShardDraw::Resampled => {
            let mut rng = rank_rng(config, RESAMPLE_DOMAIN, pass);
            let share = shards.div_ceil(config.world_size as u32);
            (0..share).map(|_| rng.random_range(0..shards)).collect()
        }
    }
}

/// The random numbers that a rank draws samples from its buffer with.
pub(super) fn buffer_rng(config: &StreamConfig, pass: u64) -> ChaCha8Rng {
    rank_rng(config, BUFFER_DOMAIN, pass)
}

fn rank_rng(config: &StreamConfig, domain: u64, pass: u64) -> ChaCha8Rng {
    keyed_rng(config.seed, domain, pass, config.rank as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranks_deal_all_shards_among_them(
            seed: u64, pass in 0_u64..9, world_size in 1_usize..9, more in 0_usize..40,
        ) {
            let shards = world_size + more;
            let mut all: Vec<u32> = (0..world_size)
                .flat_map(|rank| {
                    let config = StreamConfig { rank, world_size, ..StreamConfig::new(seed) };
                    plan(&config, shards, pass)
                })
                .collect();
            all.sort_unstable();
            prop_assert_eq!(all, (0..shards as u32).collect::<Vec<_>>());
        }
    }

    /// Pinned so that an update of `rand` cannot silently reorder everyone's runs.
    #[test]
    fn the_plans_of_seed_one_are_pinned() {
        let mut config = StreamConfig::new(1);
        assert_eq!(plan(&config, 8, 0), PLAN_ONCE);
        assert_ne!(plan(&config, 8, 1), PLAN_ONCE);
        config.draw = ShardDraw::Resampled;
        assert_eq!(plan(&config, 8, 0), PLAN_RESAMPLED);
        (config.rank, config.world_size) = (1, 2);
        assert_ne!(plan(&config, 8, 0), PLAN_RESAMPLED[..4]);
    }

    const PLAN_ONCE: [u32; 8] = [5, 6, 3, 0, 2, 1, 4, 7];
    const PLAN_RESAMPLED: [u32; 8] = [1, 0, 5, 4, 2, 4, 1, 5];
}
