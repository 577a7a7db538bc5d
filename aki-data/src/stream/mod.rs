//! Samples from shards of any number and size, in an order that can be resumed.
//!
//! ```text
//! shards --plan--> this rank's, shuffled --SampleReader--> --buffer--> drawn --prefetch--> worked on
//!                                                                       |
//!                                                                  StreamState
//! ```
//!
//! Which sample comes when is a function of the seed, the pass, the rank and the
//! number of ranks. Threads change nothing: one reads and draws, and what others
//! make of the samples is handed out in the order drawn.
//!
//! Damage is part of the shards, so it has its places in the order. A remote store
//! that fails is not: a shard that had to be given up
//! ([`RemoteFailure::Skip`](crate::shards::RemoteFailure)) gives fewer samples than in
//! a run where the store answers, and what is drawn behind it differs between the two.
//! The state says where shards were given up, so a resumed run goes on with the very
//! samples of the run that wrote it. While it looks for its place, a store that fails
//! refuses the resuming, as the samples that lay in the buffer are then not to be had.

mod buffer;
mod config;
mod pass;
mod plan;
mod prefetch;
mod resume;
mod shards;
mod state;

pub use self::config::{ShardDraw, StreamConfig};
pub use self::prefetch::{Prefetch, prefetch};
pub use self::shards::{Drawn, ShardStream};
pub use self::state::StreamState;
