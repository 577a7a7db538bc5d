//! Why a Hydra configuration is refused, in words: what, where, and what to write instead.

use std::path::PathBuf;

/// Why a Hydra configuration cannot be made into a run file.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A file cannot be read.
    #[error("cannot read {}{}; check that it is there and is UTF-8 text", path.display(), wanted(by.as_deref()))]
    Read {
        /// The file.
        path: PathBuf,
        /// The file and the entry that ask for it, unless the user did.
        by: Option<String>,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file isn't YAML, or not a configuration.
    #[error("{}: {reason}", path.display())]
    Yaml {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        reason: String,
    },
    /// A `defaults` list, or an entry of it, cannot be followed.
    #[error("{}: defaults: \"{entry}\" {reason}", path.display())]
    Defaults {
        /// The file with the list.
        path: PathBuf,
        /// The entry.
        entry: String,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// What stands in `${..}` has no value.
    #[error("{}: {key}: ${{{expression}}} {reason}", path.display())]
    Interpolation {
        /// The file.
        path: PathBuf,
        /// The dotted key whose value holds it.
        key: String,
        /// The text between the braces.
        expression: String,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// A value is missing, of the wrong type, or cannot be had here.
    #[error("{}: {key}: {reason}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The dotted key.
        key: String,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// The run file cannot be written as TOML: a bug of ours.
    #[error("the network cannot be written as TOML: {reason}; please report this")]
    Toml {
        /// What the serializer said.
        reason: String,
    },
}

fn wanted(by: Option<&str>) -> String {
    by.map(|by| format!(", which {by} asks for"))
        .unwrap_or_default()
}
