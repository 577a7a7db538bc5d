//! Sources of training data, as a run file names them.
//!
//! ```text
//! [[data.source]] --SourceConfig--> Source --in file order--> Example     (to look at, to check)
//!                                     |
//!                                     +------mixture::Mixture--> Example  (to train on)
//! ```
//!
//! Whatever a source is made of, what comes of it is an [`Example`]: pictures and a text.

mod check;
mod config;
mod example;
mod open;
mod source;

pub use self::config::{SourceConfig, SourceKind};
pub use self::example::{Encoded, Example, Text};
pub use self::source::Source;
pub(crate) use self::source::{Data, Raw};
