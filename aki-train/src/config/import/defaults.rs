//! The `defaults` list: which files a file draws in, and where they go.

use serde_json::Value;

/// An entry of the list.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Entry {
    /// `_self_`: here the file's own content is laid over what came before.
    Own,
    /// Another file.
    File(Wanted),
    /// An entry about Hydra itself, which has no part in the run.
    Hydra(String),
}

/// A file that is asked for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wanted {
    /// The folder; below the asking file's unless `absolute`.
    pub group: String,
    /// Whether `group` is below the folder of the whole configuration.
    pub absolute: bool,
    /// The file without `.yaml`.
    pub name: String,
    /// Where the content goes, if the entry says so (`group@package`).
    pub package: Option<String>,
    /// Whether it may be missing.
    pub optional: bool,
    /// The entry as it is written, for messages.
    pub entry: String,
}

/// What is wrong with an entry: the entry, and what would be right.
pub(super) type Fault = (String, String);

/// Reads a list. Without `_self_` the own content comes last, over what the list draws in.
pub(super) fn entries(list: Option<&Value>) -> Result<Vec<Entry>, Fault> {
    let mut entries = Vec::new();
    match list {
        None | Some(Value::Null) => {}
        Some(Value::Array(items)) => {
            for item in items {
                read(item, &mut entries)?;
            }
        }
        Some(other) => return Err(fault(&other.to_string(), "must be a list")),
    }
    match entries.iter().filter(|entry| **entry == Entry::Own).count() {
        0 => entries.push(Entry::Own),
        1 => {}
        _ => return Err(fault("_self_", "stands there twice; leave one")),
    }
    Ok(entries)
}

fn read(item: &Value, entries: &mut Vec<Entry>) -> Result<(), Fault> {
    match item {
        Value::String(text) if text == "_self_" => entries.push(Entry::Own),
        Value::String(text) => {
            let (path, package) = split_package(text);
            let (group, name) = path.rsplit_once('/').unwrap_or(("", path));
            // "/name" is a file of the top folder.
            let absolute = path.starts_with('/');
            entries.push(wanted(text, (group, absolute), name, package, false)?);
        }
        Value::Object(item) if item.len() == 1 => {
            for (key, value) in item {
                group(key, value, entries)?;
            }
        }
        other => {
            return Err(fault(
                &other.to_string(),
                "is no entry; write a file's name, or one \"group: name\"",
            ));
        }
    }
    Ok(())
}

/// `[optional] group[@package]: name`, or a list of names.
fn group(key: &str, value: &Value, entries: &mut Vec<Entry>) -> Result<(), Fault> {
    let mut words: Vec<_> = key.split_whitespace().collect();
    let group = words.pop().unwrap_or_default();
    let (path, package) = split_package(group);
    if path.trim_start_matches('/').split('/').next() == Some("hydra") {
        entries.push(Entry::Hydra(format!("{key}: {value}")));
        return Ok(());
    }
    if path.trim_matches('/').is_empty() {
        return Err(fault(key, "names no group"));
    }
    let mut optional = false;
    for word in words {
        match word {
            "optional" => optional = true,
            "override" => {
                return Err(fault(
                    key,
                    "overrides a choice, which is not supported; write the choice in the list \
                     where it was first made",
                ));
            }
            _ => return Err(fault(key, "has a blank in its name")),
        }
    }
    let names = match value {
        Value::Null => &[][..],
        Value::String(_) => std::slice::from_ref(value),
        Value::Array(names) => names,
        _ => return Err(fault(key, "needs a file's name or a list of names")),
    };
    for name in names {
        let Value::String(name) = name else {
            return Err(fault(key, "needs a file's name or a list of names"));
        };
        let entry = format!("{key}: {name}");
        let absolute = path.starts_with('/');
        let (folder, name) = match name.rsplit_once('/') {
            Some((folder, name)) => (format!("{path}/{folder}"), name),
            None => (path.to_owned(), name.as_str()),
        };
        entries.push(wanted(
            &entry,
            (&folder, absolute),
            name,
            package,
            optional,
        )?);
    }
    Ok(())
}

fn wanted(
    entry: &str,
    (group, absolute): (&str, bool),
    name: &str,
    package: Option<&str>,
    optional: bool,
) -> Result<Entry, Fault> {
    let group = group.trim_start_matches('/');
    let name = name.strip_suffix(".yaml").unwrap_or(name);
    if name == "???" {
        return Err(fault(entry, "is left open; write the file's name in"));
    }
    if entry.contains("${") {
        return Err(fault(
            entry,
            "chooses by another value, which is not supported; write the file's name in",
        ));
    }
    if name == "_self_" {
        return Err(fault(entry, "must stand alone, as \"_self_\""));
    }
    let plain = |part: &str| {
        let odd = |c: char| c.is_control() || c.is_whitespace() || "\\:@".contains(c);
        !part.is_empty() && part != "." && part != ".." && !part.contains(odd)
    };
    let parts = group.split('/').filter(|_| !group.is_empty());
    if !parts.chain([name]).all(plain) {
        return Err(fault(
            entry,
            "names no file below the configuration's folder",
        ));
    }
    Ok(Entry::File(Wanted {
        group: group.to_owned(),
        absolute,
        name: name.to_owned(),
        package: package.map(str::to_owned),
        optional,
        entry: entry.to_owned(),
    }))
}

fn split_package(text: &str) -> (&str, Option<&str>) {
    match text.split_once('@') {
        Some((path, package)) => (path, Some(package)),
        None => (text, None),
    }
}

fn fault(entry: &str, reason: &str) -> Fault {
    (entry.to_owned(), reason.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn file(group: &str, absolute: bool, name: &str, package: Option<&str>, entry: &str) -> Entry {
        Entry::File(Wanted {
            group: group.to_owned(),
            absolute,
            name: name.to_owned(),
            package: package.map(str::to_owned),
            optional: false,
            entry: entry.to_owned(),
        })
    }

    #[test]
    fn all_forms_are_read() {
        let list = json!([
            "base", "_self_", "/top.yaml", "a/b/c@x.y",
            {"g": "n"}, {"/g/h@_here_": "i/n"}, {"g": ["m", "n+"]}, {"none": null},
            {"override hydra/launcher": "basic"}
        ]);
        let expected = [
            file("", false, "base", None, "base"),
            Entry::Own,
            file("", true, "top", None, "/top.yaml"),
            file("a/b", false, "c", Some("x.y"), "a/b/c@x.y"),
            file("g", false, "n", None, "g: n"),
            file("g/h/i", true, "n", Some("_here_"), "/g/h@_here_: i/n"),
            file("g", false, "m", None, "g: m"),
            file("g", false, "n+", None, "g: n+"),
            Entry::Hydra("override hydra/launcher: \"basic\"".to_owned()),
        ];
        assert_eq!(entries(Some(&list)).unwrap(), expected);
        let optional = entries(Some(&json!([{"optional g": "n"}]))).unwrap();
        assert!(matches!(&optional[..], [Entry::File(file), Entry::Own] if file.optional));
        assert_eq!(entries(None).unwrap(), [Entry::Own]);
    }

    #[test]
    fn what_is_not_supported_is_named() {
        for (list, expected) in [
            (json!("base"), "list"),
            (json!([1]), "no entry"),
            (json!([{"a": "b", "c": "d"}]), "no entry"),
            (json!(["_self_", "_self_"]), "twice"),
            (json!([{"override g": "n"}]), "not supported"),
            (json!([{"g": "${x}"}]), "not supported"),
            (json!([{"g": "???"}]), "left open"),
            (json!([{"g": 3}]), "name"),
            (json!([{"g": [["x"]]}]), "name"),
            (json!([{"g": "../x"}]), "below"),
            (json!(["../x"]), "below"),
            (json!([""]), "below"),
            (json!([{"/": "x"}]), "no group"),
            (json!(["a:b"]), "below"),
            (json!([{"strange g": "n"}]), "blank"),
        ] {
            let (entry, reason) = entries(Some(&list)).unwrap_err();
            assert!(reason.contains(expected), "{list}: {entry} {reason}");
        }
    }
}
