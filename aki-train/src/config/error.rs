//! Why a run file is refused, in words: what, where, and what to write instead.

use std::fmt;
use std::path::PathBuf;

/// Why a run file, or a setting laid over it, was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file couldn't be read.
    #[error("cannot read the run file {}; check that it is there and is UTF-8 text", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file isn't TOML.
    #[error("{origin} line {line}, column {column} is not TOML: {reason}")]
    Syntax {
        /// The file.
        origin: String,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// What was wrong and what would have been right.
        reason: String,
    },
    /// An override isn't of the form `path=value`.
    #[error("--set {setting} has no path; write --set key=value or --set table.key=value")]
    Malformed {
        /// The override.
        setting: String,
    },
    /// An override names an element of an array that isn't there.
    #[error(
        "--set {setting}: \"{array}\" has no element \"{element}\"; {}",
        list_elements(elements, origin)
    )]
    NoElement {
        /// The override.
        setting: String,
        /// The file.
        origin: String,
        /// The path of the array.
        array: String,
        /// The name or position asked for.
        element: String,
        /// The names of its elements, or their positions where they have none.
        elements: Vec<String>,
    },
    /// An override goes into a value that has nothing inside.
    #[error("--set {setting}: \"{key}\" is of type {found}, not a table; set it whole")]
    NotATable {
        /// The override.
        setting: String,
        /// The path of the value.
        key: String,
        /// The kind of the value.
        found: &'static str,
    },
    /// Keys that no run has; all of them, a line each.
    #[error("{}", list_unknown(keys))]
    UnknownKeys {
        /// The keys, in the order of the file, those of overrides last.
        keys: Vec<UnknownKey>,
    },
    /// A value of the wrong type, out of its range, or missing.
    #[error("bad value{} {place}: {reason}", quoted(key))]
    Value {
        /// The path of the value, empty for the whole file.
        key: String,
        /// Where it was set.
        place: Place,
        /// What was expected and what was found.
        reason: String,
    },
    /// The example can't be written as TOML, so no file could be read: a bug of ours.
    #[error("the example of a run file cannot be written as TOML: {reason}; please report this")]
    Example {
        /// What the serializer said.
        reason: String,
    },
}

/// A key that no run has.
#[derive(Clone, Debug, PartialEq)]
pub struct UnknownKey {
    /// Its dotted path, such as `stage.captions.stpes`.
    pub key: String,
    /// Where it was written.
    pub place: Place,
    /// What to write instead.
    pub advice: String,
}

/// Where a key or a value was written.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    /// In the file, with the line (from 1) unless it is the file as a whole.
    File {
        /// The file.
        origin: String,
        /// The line.
        line: Option<usize>,
    },
    /// In an override.
    Setting {
        /// The override.
        setting: String,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File {
                origin,
                line: Some(line),
            } => write!(f, "in {origin} line {line}"),
            Self::File { origin, line: None } => write!(f, "in {origin}"),
            Self::Setting { setting } => write!(f, "in --set {setting}"),
        }
    }
}

/// Serde's words for a wrong type, in terms of TOML rather than of Rust.
pub(super) fn reword(reason: &str) -> String {
    let wrong = reason
        .strip_prefix("invalid type: ")
        .or_else(|| reason.strip_prefix("invalid value: "))
        .and_then(|rest| rest.rsplit_once(", expected "));
    let Some((found, expected)) = wrong else {
        return reason.to_owned();
    };
    let expected = match expected {
        "usize" | "u64" => "a whole number, 0 or greater",
        "isize" | "i64" => "a whole number",
        "f32" | "f64" => "a number",
        "a sequence" => "an array",
        "a map" => "a table",
        other if other.starts_with("struct ") => "a table",
        other => other,
    };
    let found = match found {
        "map" => "a table",
        "sequence" => "an array",
        other => other,
    };
    format!("expected {expected}, found {found}")
}

/// The lines of a message, joined.
pub(super) fn one_line(message: &str) -> String {
    message
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join("; ")
}

fn quoted(key: &str) -> String {
    if key.is_empty() {
        String::new()
    } else {
        format!(" for \"{key}\"")
    }
}

fn list_unknown(keys: &[UnknownKey]) -> String {
    let lines: Vec<_> = keys
        .iter()
        .map(|UnknownKey { key, place, advice }| format!("unknown key \"{key}\" {place}; {advice}"))
        .collect();
    lines.join("\n")
}

fn list_elements(elements: &[String], origin: &str) -> String {
    if elements.is_empty() {
        return format!("it has none in {origin}");
    }
    let names: Vec<_> = elements.iter().map(|name| format!("\"{name}\"")).collect();
    format!("its elements are {}", names.join(", "))
}
