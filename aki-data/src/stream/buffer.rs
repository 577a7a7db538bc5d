//! A buffer that samples are drawn from at random.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Shuffles a stream within a window.
///
/// Before the first draw it is filled to `fill`. Then two samples come in for each
/// that goes out until it holds `capacity`, from then on one.
///
/// What is drawn depends on the random numbers and on how many samples there are,
/// never on what they are, so numbers in their place tell where each would be.
pub(super) struct Buffer<T> {
    slots: Vec<T>,
    rng: ChaCha8Rng,
    capacity: usize,
    fill: usize,
    drawn: u64,
}

impl<T> Buffer<T> {
    pub(super) fn new(capacity: usize, fill: usize, rng: ChaCha8Rng) -> Self {
        Self {
            slots: Vec::new(),
            rng,
            capacity,
            fill,
            drawn: 0,
        }
    }

    /// Samples drawn so far.
    pub(super) fn drawn(&self) -> u64 {
        self.drawn
    }

    /// What lies in it.
    pub(super) fn slots(&self) -> &[T] {
        &self.slots
    }

    /// Draws a sample, after taking in what is due; none once there are no more.
    pub(super) fn draw(&mut self, mut more: impl FnMut() -> Option<T>) -> Option<T> {
        let due = match self.drawn {
            0 => self.fill,
            // The slot that the last draw left free, and one more while it grows.
            _ => (self.slots.len() + 2).min(self.capacity),
        };
        while self.slots.len() < due {
            let Some(sample) = more() else { break };
            self.slots.push(sample);
        }
        if self.slots.is_empty() {
            return None;
        }
        self.drawn += 1;
        let drawn = self.rng.random_range(0..self.slots.len());
        Some(self.slots.swap_remove(drawn))
    }

    /// The same with other things in its slots.
    pub(super) fn try_map<U, E>(self, map: impl FnMut(T) -> Result<U, E>) -> Result<Buffer<U>, E> {
        Ok(Buffer {
            slots: self.slots.into_iter().map(map).collect::<Result<_, E>>()?,
            rng: self.rng,
            capacity: self.capacity,
            fill: self.fill,
            drawn: self.drawn,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;

    use super::*;

    fn buffer(capacity: usize, fill: usize, seed: u64) -> Buffer<u32> {
        Buffer::new(capacity, fill, ChaCha8Rng::seed_from_u64(seed))
    }

    #[test]
    fn it_is_filled_then_grows_by_one_a_draw() {
        let mut buffer = buffer(6, 3, 0);
        let mut taken = 0;
        let held: Vec<_> = (0..6)
            .map(|_| {
                let drawn = buffer.draw(|| {
                    taken += 1;
                    Some(taken)
                });
                assert!(drawn.is_some());
                (taken, buffer.slots().len())
            })
            .collect();
        assert_eq!(held, [(3, 2), (5, 3), (7, 4), (9, 5), (10, 5), (11, 5)]);
    }

    proptest! {
        #[test]
        fn each_sample_comes_out_once(
            seed: u64, n in 0_u32..60, fill in 1_usize..20, more in 0_usize..20,
        ) {
            let mut buffer = buffer(fill + more, fill, seed);
            let mut samples = 0..n;
            let mut drawn = Vec::new();
            while let Some(sample) = buffer.draw(|| samples.next()) {
                prop_assert!(buffer.slots().len() < fill + more);
                drawn.push(sample);
            }
            prop_assert_eq!(buffer.drawn(), u64::from(n));
            drawn.sort_unstable();
            prop_assert_eq!(drawn, (0..n).collect::<Vec<_>>());
        }
    }
}
