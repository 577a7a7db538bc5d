//! One file of a Hydra configuration.

use std::io::Read;
use std::path::Path;

use serde_json::{Map, Value};
use serde_saphyr::options::DuplicateKeyPolicy;

use super::ImportError;

/// Bytes of the longest file that is read.
const LONGEST: u64 = 1 << 20;

/// A file, taken apart.
pub(super) struct Document {
    /// Where the file itself says that its content belongs (`# @package a.b`).
    pub package: Option<String>,
    /// What it draws in.
    pub defaults: Option<Value>,
    /// The rest, in the order of the file.
    pub content: Map<String, Value>,
}

/// Reads a file. `by` names who asks for it.
pub(super) fn read(path: &Path, by: Option<&str>) -> Result<Document, ImportError> {
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(LONGEST + 1).read_to_string(&mut text))
        .map_err(|source| ImportError::Read {
            path: path.to_owned(),
            by: by.map(str::to_owned),
            source,
        })?;
    parse(&text).map_err(|reason| ImportError::Yaml {
        path: path.to_owned(),
        reason,
    })
}

fn parse(text: &str) -> Result<Document, String> {
    if text.len() as u64 > LONGEST {
        return Err(format!(
            "has more than {LONGEST} bytes, which no configuration has"
        ));
    }
    let package = package(text)?;
    let mut content = match tree(text)? {
        Value::Object(content) => content,
        // A file of comments.
        Value::Null => Map::new(),
        _ => return Err("holds no keys; a configuration is a mapping".to_owned()),
    };
    Ok(Document {
        package,
        defaults: content.shift_remove("defaults"),
        content,
    })
}

/// The file as a tree. The limits are far above what configurations have, and keep a hostile file
/// from taking memory (an alias of aliases of aliases) or the stack.
fn tree(text: &str) -> Result<Value, String> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: 32,
            max_nodes: 100_000,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 100_000,
        },
        reject_unsupported_tags: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let message = error.to_string();
        let lines = message
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty());
        lines.collect::<Vec<_>>().join("; ")
    })
}

/// The package named in the comments at the top.
fn package(text: &str) -> Result<Option<String>, String> {
    let lines = text.lines().map(str::trim);
    for line in lines.filter(|line| !line.is_empty()) {
        let Some(header) = line.strip_prefix('#') else {
            break;
        };
        let Some(header) = header.trim().strip_prefix('@') else {
            break;
        };
        match header.split_whitespace().collect::<Vec<_>>()[..] {
            ["package", package] => return Ok(Some(package.to_owned())),
            ["package", ..] => {
                return Err("\"# @package\" takes one name, such as _global_ or a.b".to_owned());
            }
            _ => {}
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_file_is_taken_apart() {
        let text = "# @package a.b\n\ndefaults: [x]\nlr: 2e-5\nbig: 1_000\non: yes\nz: ~\na: {b: \"no\"}\n";
        let document = parse(text).unwrap();
        assert_eq!(document.package.as_deref(), Some("a.b"));
        assert_eq!(document.defaults, Some(json!(["x"])));
        let expected = json!({"lr": 2e-5, "big": 1000, "on": true, "z": null, "a": {"b": "no"}});
        assert_eq!(Value::Object(document.content), expected);
        let comments = parse("# nothing\n").unwrap();
        assert!(comments.content.is_empty() && comments.package.is_none());
        // Only the lines at the top count.
        assert!(
            parse("# words\n# @package a\nx: 1")
                .unwrap()
                .package
                .is_none()
        );
    }

    #[test]
    fn what_is_no_configuration_is_refused() {
        for (text, expected) in [
            ("- a", "mapping"),
            ("a: [", "line"),
            ("a: 1\na: 2", "duplicate"),
            ("a: !!python/object:os.system x", "tag"),
            ("# @package a b\n", "one name"),
            ("a: 1\n---\nb: 2", "document"),
            ("a: .nan", ""),
        ] {
            let reason = parse(text)
                .err()
                .unwrap_or_else(|| panic!("{text:?} was taken"));
            assert!(reason.contains(expected), "{text:?}: {reason}");
            assert!(!reason.contains('\n'), "{reason}");
        }
    }

    #[test]
    fn bombs_are_refused() {
        let mut aliases = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let uses = vec![format!("*a{}", level - 1); 9].join(", ");
            writeln!(aliases, "a{level}: &a{level} [{uses}]").unwrap();
        }
        assert!(parse(&aliases).is_err());
        assert!(parse(&format!("a: {}", "[".repeat(100_000))).is_err());
        let nested: String = (0..100).map(|level| " ".repeat(level) + "a:\n").collect();
        assert!(parse(&nested).is_err());
        assert!(parse(&" ".repeat(LONGEST as usize + 1)).is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[-a-c0-9:{}\\[\\], &*#@!|>'\"\n\t~.%?]{0,60}|\\PC{0,40}") {
            let _ = parse(&text);
        }
    }
}
