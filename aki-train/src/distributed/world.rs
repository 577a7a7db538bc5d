//! The beginning and the end of training by several processes.

use super::launcher::started_as_several;
use super::{Ranks, transport};
use crate::TrainError;

/// The ranks, from here until it is dropped: then each waits for the others to have come as far.
pub struct World {
    ranks: Ranks,
    _session: transport::Session,
}

impl World {
    /// Finds the other ranks, if the program was started as several. To be called before any thread is
    /// started.
    ///
    /// # Errors
    ///
    /// [`TrainError::Request`] if it was and they cannot be found: they would all do the same.
    pub fn join() -> Result<Self, TrainError> {
        let started = started_as_several(|name| std::env::var(name).ok());
        let (session, ranks) = transport::begin(started.is_some())?;
        match started {
            Some((variable, processes)) if !ranks.are_several() => {
                Err(TrainError::Request(format!(
                    "this is one of {processes} processes ({variable}), {}",
                    transport::NO_OTHERS
                )))
            }
            _ => Ok(Self {
                ranks,
                _session: session,
            }),
        }
    }

    /// This process.
    pub fn ranks(&self) -> Ranks {
        self.ranks
    }

    /// Ends all ranks because of an error, which `tell` tells, giving the exit code. What several of
    /// them find is told by one.
    pub fn end_all(&self, tell: impl FnOnce() -> u8) -> ! {
        transport::end_all(self.ranks, tell)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Waiting for the others, who wait for this one, would be for ever.
        if std::thread::panicking() && self.ranks.are_several() {
            self.end_all(|| 101);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_was_started_alone_is_alone() {
        // Tests are run by no launcher.
        let world = World::join().expect("alone");
        assert_eq!(world.ranks(), Ranks::ALONE);
    }
}
