//! Shards in remote stores: `http(s)://`, `s3://`, `gs://` and `az://`.
//!
//! A program built without the feature `remote` has the same types, of which no
//! [`RemoteShard`] can be made, and says so when it is given such a name.

#[cfg(not(feature = "remote"))]
mod absent;
#[cfg(feature = "remote")]
mod attempts;
#[cfg(feature = "remote")]
mod body;
mod config;
mod error;
#[cfg(feature = "remote")]
mod expand;
#[cfg(feature = "remote")]
mod runtime;
#[cfg(feature = "remote")]
mod shard;
#[cfg(feature = "remote")]
mod store;

#[cfg(not(feature = "remote"))]
pub use self::absent::RemoteShard;
#[cfg(not(feature = "remote"))]
pub(super) use self::absent::expand;
pub use self::config::{RemoteConfig, RemoteFailure, Retry};
pub(super) use self::error::RemoteError;
#[cfg(feature = "remote")]
pub(super) use self::expand::expand;
#[cfg(feature = "remote")]
pub use self::shard::RemoteShard;
