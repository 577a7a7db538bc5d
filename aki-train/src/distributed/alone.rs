//! Built without MPI: there are no other ranks.

use super::Ranks;
use crate::TrainError;

/// What is to be done about it if the program was started as several.
pub(super) const NO_OTHERS: &str =
    "and this aki was built without MPI; build it with --features mpi, or start it once";

/// Nothing has to be ended.
pub(super) struct Session;

#[expect(clippy::unnecessary_wraps, reason = "with MPI it may fail")]
pub(super) fn begin(_: bool) -> Result<(Session, Ranks), TrainError> {
    Ok((Session, Ranks::ALONE))
}

// None of these is called where there is one rank.

pub(super) fn sum<T>(_: &mut [T]) {}

pub(super) fn broadcast(_: &mut [u8], _: usize) {}

pub(super) fn barrier() {}

pub(super) fn end_all(_: Ranks, tell: impl FnOnce() -> u8) -> ! {
    std::process::exit(i32::from(tell()))
}
