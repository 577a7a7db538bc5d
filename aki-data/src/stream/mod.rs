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
