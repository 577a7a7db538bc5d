//! An object that cannot be read.

/// Why an object could not be read, in spite of all attempts. Readers hand it on in
/// an [`std::io::Error`].
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub(in crate::shards) struct RemoteError {
    /// What is wrong, and what to do.
    pub(in crate::shards) reason: String,
    /// Whether the store says that it has no such object, or shows none.
    pub(in crate::shards) missing: bool,
}
