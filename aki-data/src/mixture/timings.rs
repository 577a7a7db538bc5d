//! Where the time goes that batches take to make.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What the threads do. Whatever is left of their time they wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Shards and picture files are read.
    Read,
    /// Pictures are decoded.
    Decode,
    /// Pictures are resized and augmented.
    Resize,
    /// Texts are turned into ids and labels.
    Text,
    /// Pictures are normalised, and put with the texts into a batch.
    Collate,
}

impl Work {
    /// All kinds, in the order in which a sample meets them.
    pub const ALL: [Self; 5] = [
        Self::Read,
        Self::Text,
        Self::Decode,
        Self::Resize,
        Self::Collate,
    ];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Decode => "decode",
            Self::Resize => "resize",
            Self::Text => "text",
            Self::Collate => "collate",
        }
    }
}

/// The time that all threads together have spent on each kind of work.
///
/// It is always kept: two looks at the clock a piece of work are some 50 ns, where a sample takes
/// milliseconds.
#[derive(Debug, Default)]
pub struct Timings([AtomicU64; Work::ALL.len()]);

impl Timings {
    /// Spent on a kind of work so far.
    pub fn spent(&self, work: Work) -> Duration {
        Duration::from_nanos(self.0[work as usize].load(Ordering::Relaxed))
    }

    /// Does a piece of work and adds its time.
    pub(crate) fn time<T>(&self, work: Work, piece: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let done = piece();
        let spent = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.0[work as usize].fetch_add(spent, Ordering::Relaxed);
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_work_has_a_place_of_its_own() {
        let timings = Timings::default();
        for (slept, work) in (1..).zip(Work::ALL) {
            let piece = || std::thread::sleep(Duration::from_millis(slept));
            timings.time(work, piece);
            timings.time(work, || ());
            assert!(timings.spent(work) >= Duration::from_millis(slept));
        }
        let mut places = Work::ALL.map(|work| work as usize);
        places.sort_unstable();
        assert_eq!(places, [0, 1, 2, 3, 4]);
        let mut names = Work::ALL.map(Work::name);
        names.sort_unstable();
        assert_eq!(names, ["collate", "decode", "read", "resize", "text"]);
    }
}
