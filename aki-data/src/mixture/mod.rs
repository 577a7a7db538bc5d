//! Several sources as one stream of batches, in an order that can be resumed exactly.
//!
//! ```text
//! sources --Mixture: by weight--> places --threads: Preparer--> Prepared --BatchStream--> Batch
//!              |                                                              |
//!         MixtureState                                   padded, or packed by `pack`
//! ```
//!
//! Which source comes when, and which of its samples, is a function of the seed, the rank and the
//! number of ranks. How many threads work on the samples changes nothing. Where all sources have
//! records, none is broken and none are packed, the batches of all ranks are cut from one rank's.

mod batch_state;
mod batches;
mod collate;
mod config;
mod examine;
mod pack;
mod prepare;
mod state;
mod stream;
mod timings;

pub use self::batch_state::BatchState;
pub use self::batches::{BatchStream, Counts, Made};
pub use self::collate::collate;
pub use self::config::{BatchConfig, MixtureConfig};
pub use self::examine::Examined;
pub use self::pack::{WINDOW, pack};
pub use self::prepare::{Prepared, Preparer};
pub use self::state::MixtureState;
pub use self::stream::{Mixture, Place};
pub use self::timings::{Timings, Work};
