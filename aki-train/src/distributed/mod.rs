//! Training by several processes, the ranks: each has the whole network and learns from its own part of
//! a step's batch.
//!
//! ```text
//! rank 0: rows 0..b   -> gradients --+                  +-> norm, clipping, optimizer -> weights
//! rank 1: rows b..2b  -> gradients --+-> sum in order --+-> norm, clipping, optimizer -> the same
//! ```
//!
//! Every label of a step counts the same, whichever rank has it: the labels of all ranks are counted
//! first ([`Ranks::sum_f64`]), each rank's gradients are divided by their number, and then they are
//! added up ([`sum_gradients`]). So `n` ranks with `b` rows each learn what one rank with `n * b` rows
//! would, but for the rounding of sums. Sums are made here, in the order of the ranks, and not by the
//! MPI library: their bits do not depend on its algorithms.
//!
//! What one rank asks of the others, all have to ask, in the same order. A rank that fails alone
//! therefore does not wait for anyone: it ends all of them ([`World::end_all`]).
//!
//! Numbers go through the memory of the processes, not from card to card, and only once a backward
//! pass is through: Burn gives its gradients all at once, so there is nothing to overlap it with.
//!
//! Without the feature `mpi` there is one rank, and a program that was started as several refuses.

#[cfg_attr(feature = "mpi", path = "mpi.rs")]
#[cfg_attr(not(feature = "mpi"), path = "alone.rs")]
mod transport;

mod gradients;
mod launcher;
mod ranks;
mod shares;
mod weights;
mod world;

pub use gradients::sum_gradients;
pub use ranks::Ranks;
pub use shares::Shares;
pub use weights::begin_alike;
pub use world::World;
