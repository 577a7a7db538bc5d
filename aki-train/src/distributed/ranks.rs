//! One process among those that train together.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::transport;
use crate::TrainError;

/// One process among those that train together, and what it asks of the others. With one process
/// nothing happens.
///
/// What one rank asks, all have to ask, in the same order, and each from one thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ranks {
    rank: usize,
    world_size: usize,
    local_rank: usize,
}

impl Ranks {
    /// One process.
    pub const ALONE: Self = Self {
        rank: 0,
        world_size: 1,
        local_rank: 0,
    };

    /// Number `rank` of `world_size`, and number `local_rank` of those on its machine.
    #[cfg(feature = "mpi")]
    pub(super) fn new(rank: usize, world_size: usize, local_rank: usize) -> Self {
        Self {
            rank,
            world_size,
            local_rank,
        }
    }

    /// Which one it is, from 0.
    pub fn rank(self) -> usize {
        self.rank
    }

    /// How many there are.
    pub fn world_size(self) -> usize {
        self.world_size
    }

    /// Which one it is of those on its machine, from 0.
    pub fn local_rank(self) -> usize {
        self.local_rank
    }

    /// Whether it is the one that writes and tells.
    pub fn is_first(self) -> bool {
        self.rank == 0
    }

    /// Whether there are others.
    pub fn are_several(self) -> bool {
        self.world_size > 1
    }

    /// Number in the common stream of this rank's item number `own`, where a step takes `batch` items a
    /// rank: those of rank 0, then those of rank 1, and so on.
    pub fn item(self, own: usize, batch: usize) -> usize {
        (own / batch * self.world_size + self.rank) * batch + own % batch
    }

    /// The name of a file that each rank has one of: `name.extension` is that of rank 0.
    pub fn file(self, name: &str, extension: &str) -> String {
        match self.rank {
            0 => format!("{name}.{extension}"),
            rank => format!("{name}-{rank}.{extension}"),
        }
    }

    /// Rank 0's number.
    pub fn of_first(self, own: f64) -> f64 {
        let mut bytes = own.to_le_bytes();
        self.broadcast(&mut bytes, 0);
        f64::from_le_bytes(bytes)
    }

    /// Whether it is so on any rank.
    pub fn any(self, own: bool) -> bool {
        let mut ranks = [f64::from(u8::from(own))];
        self.sum_f64(&mut ranks);
        ranks[0] > 0.0
    }

    /// The sums of what all ranks have, place by place, in the order of the ranks.
    pub fn sum(self, values: &mut [f32]) {
        if self.are_several() {
            transport::sum(values);
        }
    }

    /// As [`Self::sum`].
    pub fn sum_f64(self, values: &mut [f64]) {
        if self.are_several() {
            transport::sum(values);
        }
    }

    /// Gives all ranks the bytes of the rank `from`; they are as many on each.
    pub fn broadcast(self, bytes: &mut [u8], from: usize) {
        if self.are_several() {
            transport::broadcast(bytes, from);
        }
    }

    /// Waits until all ranks are here, leaving the cores to those that are not.
    pub fn barrier(self) {
        if self.are_several() {
            transport::barrier();
        }
    }

    /// Does `work` on rank 0 alone; the others sleep meanwhile.
    pub fn while_first(self, work: impl FnOnce()) {
        if self.is_first() {
            work();
        }
        self.barrier();
    }

    /// Does `work` on rank 0 alone, and gives all ranks what came of it.
    ///
    /// # Errors
    ///
    /// That of `work`, on rank 0; the others then wait for it to end them.
    pub fn first<T: Serialize + DeserializeOwned>(
        self,
        work: impl FnOnce() -> Result<T, TrainError>,
    ) -> Result<T, TrainError> {
        let own = self.is_first().then(work).transpose()?;
        let told = self.told(own.as_ref(), 0);
        Ok(own.unwrap_or_else(|| parsed(&told)))
    }

    /// What each rank has, in their order.
    pub fn all<T: Serialize + DeserializeOwned>(self, own: &T) -> Vec<T> {
        let told = (0..self.world_size).map(|from| {
            let own = (from == self.rank).then_some(own);
            parsed(&self.told(own, from))
        });
        told.collect()
    }

    /// The value of the rank `from`, which alone has it, written down.
    fn told<T: Serialize>(self, own: Option<&T>, from: usize) -> Vec<u8> {
        let own = own.map(|own| serde_json::to_vec(own).expect("plain values"));
        let mut text = own.unwrap_or_default();
        let mut len = (text.len() as u64).to_le_bytes();
        self.broadcast(&mut len, from);
        text.resize(u64::from_le_bytes(len) as usize, 0);
        self.broadcast(&mut text, from);
        text
    }
}

fn parsed<T: DeserializeOwned>(text: &[u8]) -> T {
    serde_json::from_slice(text).expect("what the same program wrote")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_items_of_a_step_are_dealt_in_order() {
        let step = |step: usize| {
            [0, 1, 2].map(|rank| {
                let ranks = Ranks {
                    rank,
                    world_size: 3,
                    ..Ranks::ALONE
                };
                [0, 1].map(|row| ranks.item(2 * step + row, 2))
            })
        };
        assert_eq!(step(0), [[0, 1], [2, 3], [4, 5]]);
        assert_eq!(step(1), [[6, 7], [8, 9], [10, 11]]);
        assert_eq!(Ranks::ALONE.item(17, 4), 17);
    }

    #[test]
    fn one_process_is_told_what_it_says() {
        let ranks = Ranks::ALONE;
        let mut values = [1.5, -2.0];
        ranks.sum_f64(&mut values);
        ranks.barrier();
        assert_eq!(values.map(f64::to_bits), [1.5, -2.0].map(f64::to_bits));
        let told = ranks.first(|| Ok(Some("step 3".to_owned())));
        assert_eq!(told.expect("no error"), Some("step 3".to_owned()));
        assert_eq!(ranks.all(&(1, 2)), [(1, 2)]);
        assert!(ranks.any(true) && !ranks.any(false));
        assert_eq!(ranks.file("data", "json"), "data.json");
        let fault = || Err::<(), _>(TrainError::Request("no".to_owned()));
        assert!(ranks.first(fault).is_err());
    }
}
