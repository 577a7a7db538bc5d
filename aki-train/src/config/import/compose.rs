//! Lays the files of a configuration over each other, as Hydra does.
//!
//! Content goes to a *package*, a path in the whole tree. It is, in this order: what the entry says
//! (`group@package`, below the package of the asking file), what the file says (`# @package`, from
//! the top), or the group's path below the package of the asking file. `_global_` is the top.

use std::collections::{BTreeMap, HashSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::ImportError;
use super::defaults::{Entry, Wanted, entries};
use super::merge::{lay_over, table};
use super::yaml::{Document, read};

/// Most files of one configuration; each counts as often as it is drawn in.
const MOST_FILES: usize = 1000;
/// Most parts of a package's path; deeper trees would be too much for the stack.
const DEEPEST: usize = 32;

/// All files in one.
pub(super) struct Composed {
    /// The file that was asked for.
    pub file: PathBuf,
    /// The tree, `${..}` not yet filled in.
    pub tree: Map<String, Value>,
    /// The file that each value comes from, by dotted key.
    origins: BTreeMap<String, PathBuf>,
    /// What has no part in the run.
    pub notices: Vec<String>,
}

impl Composed {
    /// The file that `key`, or else the table it is missing from, comes from.
    pub(super) fn origin(&self, key: &str) -> &Path {
        let mut key = key;
        loop {
            if let Some(path) = self.origins.get(key) {
                return path;
            }
            match key.rsplit_once('.') {
                Some((table, _)) => key = table,
                None => return &self.file,
            }
        }
    }
}

/// Reads `file` and all that it draws in.
pub(super) fn compose(file: &Path) -> Result<Composed, ImportError> {
    let mut composer = Composer {
        folder: file.parent().unwrap_or(Path::new("")).to_owned(),
        composed: Composed {
            file: file.to_owned(),
            tree: Map::new(),
            origins: BTreeMap::new(),
            notices: Vec::new(),
        },
        open: vec![file.to_owned()],
        taken: HashSet::new(),
    };
    let document = read(file, None)?;
    let package = package(&[], document.package.as_deref().unwrap_or_default());
    let package = package.map_err(|reason| ImportError::Yaml {
        path: file.to_owned(),
        reason,
    })?;
    composer.add(file, document, "", &package)?;
    Ok(composer.composed)
}

struct Composer {
    folder: PathBuf,
    composed: Composed,
    /// The files that are being read, each asked for by the one before.
    open: Vec<PathBuf>,
    /// What was drawn in, and to where.
    taken: HashSet<(PathBuf, Vec<String>)>,
}

impl Composer {
    /// Adds a file of the folder `group`, and what it draws in, at `package`.
    fn add(
        &mut self,
        path: &Path,
        document: Document,
        group: &str,
        package: &[String],
    ) -> Result<(), ImportError> {
        let fault = |(entry, reason)| ImportError::Defaults {
            path: path.to_owned(),
            entry,
            reason,
        };
        let mut content = Some(document.content);
        for entry in entries(document.defaults.as_ref()).map_err(fault)? {
            match entry {
                Entry::Own => {
                    let content = content.take().unwrap_or_default();
                    self.merge(path, content, package);
                }
                Entry::Hydra(entry) => self
                    .composed
                    .notices
                    .push(format!("defaults: \"{entry}\" is about Hydra itself")),
                Entry::File(wanted) => self.draw_in(path, &wanted, group, package)?,
            }
        }
        Ok(())
    }

    fn draw_in(
        &mut self,
        by: &Path,
        wanted: &Wanted,
        parent_group: &str,
        parent_package: &[String],
    ) -> Result<(), ImportError> {
        let fault = |reason: String| ImportError::Defaults {
            path: by.to_owned(),
            entry: wanted.entry.clone(),
            reason,
        };
        let parent_group = if wanted.absolute { "" } else { parent_group };
        let parts = [parent_group, &wanted.group];
        let group = parts
            .map(str::to_owned)
            .into_iter()
            .filter(|part| !part.is_empty());
        let group = group.collect::<Vec<_>>().join("/");
        let path = self
            .folder
            .join(&group)
            .join(format!("{}.yaml", wanted.name));
        if self.open.contains(&path) {
            let names = self.open.iter().skip_while(|open| **open != path);
            let names: Vec<_> = names.map(|open| open.display().to_string()).collect();
            return Err(fault(format!(
                "goes in a circle: {} asks for {} again; take one of the entries out",
                names.join(", which asks for "),
                path.display()
            )));
        }
        if self.taken.len() >= MOST_FILES || self.open.len() >= DEEPEST {
            return Err(fault(format!(
                "is one file too many; at most {MOST_FILES} can be drawn in, {DEEPEST} deep"
            )));
        }
        let source = format!("{} (\"{}\")", by.display(), wanted.entry);
        let document = match read(&path, Some(&source)) {
            Err(ImportError::Read { source, .. })
                if wanted.optional && source.kind() == ErrorKind::NotFound =>
            {
                self.composed.notices.push(format!(
                    "defaults: \"{}\" is left out, since {} is not there",
                    wanted.entry,
                    path.display()
                ));
                return Ok(());
            }
            document => document?,
        };
        let package = match (&wanted.package, &document.package) {
            (Some(asked), _) => package(parent_package, asked),
            (None, Some(header)) => package(&[], header),
            (None, None) => package(parent_package, &wanted.group.replace('/', ".")),
        }
        .map_err(fault)?;
        if !self.taken.insert((path.clone(), package.clone())) {
            return Err(fault(
                "is drawn in twice to the same place; leave one".to_owned(),
            ));
        }
        self.open.push(path.clone());
        self.add(&path, document, &group, &package)?;
        self.open.pop();
        Ok(())
    }

    fn merge(&mut self, path: &Path, content: Map<String, Value>, package: &[String]) {
        let mut target = &mut self.composed.tree;
        for part in package {
            target = table(target.entry(part.as_str()));
        }
        lay_over(
            target,
            content,
            &package.join("."),
            path,
            &mut self.composed.origins,
        );
    }
}

/// The package `name`, below `parent` or from the top.
fn package(parent: &[String], name: &str) -> Result<Vec<String>, String> {
    let mut package = parent.to_owned();
    for part in name.split('.').filter(|_| !name.is_empty()) {
        match part {
            "_global_" => package.clear(),
            "_here_" => {}
            "" | "_group_" | "_name_" => {
                return Err(format!(
                    "goes to the package \"{name}\", which is not supported; write _global_, \
                     _here_ or a path such as a.b"
                ));
            }
            _ if package.len() == DEEPEST => {
                return Err(format!("goes more than {DEEPEST} tables deep"));
            }
            _ => package.push(part.to_owned()),
        }
    }
    Ok(package)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;
    use tempfile::TempDir;

    use super::*;

    fn folder(files: &[(&str, &str)]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    fn composed(files: &[(&str, &str)]) -> Result<Composed, ImportError> {
        compose(&folder(files).path().join("top.yaml"))
    }

    #[track_caller]
    fn becomes(files: &[(&str, &str)], expected: Value) {
        let tree = composed(files).unwrap().tree;
        // As text, so that the order counts.
        assert_eq!(Value::Object(tree).to_string(), expected.to_string());
    }

    #[track_caller]
    fn fails(files: &[(&str, &str)], expected: &[&str]) {
        let message = composed(files).err().expect("an error").to_string();
        for part in expected {
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn own_content_stands_where_self_does() {
        let base = ("base.yaml", "a: 1\nb: {c: 1, d: [1, 2]}\n");
        let own = "a: 2\nb: {d: [3]}\n";
        let last = json!({"a": 2, "b": {"c": 1, "d": [3]}});
        becomes(
            &[("top.yaml", &format!("defaults: [base]\n{own}")), base],
            last.clone(),
        );
        becomes(
            &[
                ("top.yaml", &format!("defaults: [base, _self_]\n{own}")),
                base,
            ],
            last,
        );
        becomes(
            &[
                ("top.yaml", &format!("defaults: [_self_, base]\n{own}")),
                base,
            ],
            json!({"a": 1, "b": {"d": [1, 2], "c": 1}}),
        );
    }

    #[test]
    fn groups_lists_and_nested_lists() {
        becomes(
            &[
                (
                    "top.yaml",
                    "defaults: [_self_, {sets: [one, two]}, {optional sets: gone}]\nx: 1",
                ),
                ("sets/one.yaml", "one: {n: 1}"),
                (
                    "sets/two.yaml",
                    "defaults: [deep/three, /other]\ntwo: {n: 2}",
                ),
                ("sets/deep/three.yaml", "n: 3"),
                ("other.yaml", "other: 4"),
            ],
            json!({"x": 1, "sets": {"one": {"n": 1}, "deep": {"n": 3}, "other": 4, "two": {"n": 2}}}),
        );
    }

    #[test]
    fn packages() {
        becomes(
            &[
                (
                    "top.yaml",
                    "defaults: [{g@p.q: a}, {g@_global_: b}, {g@_here_: a}, g/h, {g: c}]",
                ),
                ("g/a.yaml", "# @package ignored\na: 1"),
                ("g/b.yaml", "defaults: [{h: i}]\nb: 2"),
                (
                    "g/c.yaml",
                    "# @package _global_\ndefaults: [{h@k: i}]\nc: 3",
                ),
                ("g/h.yaml", "# @package r.s\nh: 4"),
                ("g/h/i.yaml", "i: 5"),
            ],
            json!({"p": {"q": {"a": 1}}, "h": {"i": 5}, "b": 2, "a": 1, "r": {"s": {"h": 4}},
                "k": {"i": 5}, "c": 3}),
        );
    }

    #[test]
    fn values_know_their_files() {
        let composed = composed(&[
            (
                "top.yaml",
                "defaults: [_self_, {g: a}]\nx: 1\ng: {a: {z: 1}}",
            ),
            ("g/a.yaml", "a: {y: 1}"),
        ])
        .unwrap();
        for (key, file) in [
            ("x", "top.yaml"),
            ("g.a.y", "a.yaml"),
            ("g.a.z", "top.yaml"),
            ("q.r", "top.yaml"),
            ("g.a.gone", "a.yaml"),
        ] {
            assert!(composed.origin(key).ends_with(file), "{key}");
        }
    }

    #[test]
    fn what_cannot_be_followed_says_where() {
        fails(&[], &["cannot read", "top.yaml"]);
        fails(
            &[("top.yaml", "defaults: [{g: a}]")],
            &["cannot read", "a.yaml", "top.yaml (\"g: a\") asks for"],
        );
        fails(
            &[
                ("top.yaml", "defaults: [a]"),
                ("a.yaml", "defaults: [b]"),
                ("b.yaml", "defaults: [a]"),
            ],
            &["b.yaml: defaults: \"a\"", "circle"],
        );
        fails(&[("top.yaml", "defaults: [top]")], &["circle"]);
        fails(
            &[("top.yaml", "defaults: [a, a]"), ("a.yaml", "x: 1")],
            &["twice"],
        );
        fails(
            &[
                ("top.yaml", "defaults: [{g@_group_.a: a}]"),
                ("g/a.yaml", ""),
            ],
            &["_group_"],
        );
        fails(
            &[("top.yaml", "defaults: [a]"), ("a.yaml", "- 1")],
            &["a.yaml", "mapping"],
        );
        let deep = vec!["p"; 40].join(".");
        fails(
            &[("top.yaml", &format!("# @package {deep}\nx: 1"))],
            &["top.yaml", "deep"],
        );
        fails(
            &[
                ("top.yaml", &format!("defaults: [a@{deep}]")),
                ("a.yaml", "x: 1"),
            ],
            &["deep"],
        );
    }

    #[test]
    fn files_that_multiply_are_stopped() {
        let files: Vec<_> = (0..20)
            .map(|n| {
                (
                    format!("f{n}.yaml"),
                    format!("defaults: [f{0}@a, f{0}@b]", n + 1),
                )
            })
            .collect();
        let mut files: Vec<_> = files
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str()))
            .collect();
        files.extend([("f20.yaml", "x: 1"), ("top.yaml", "defaults: [f0]")]);
        fails(&files, &["too many"]);
    }

    proptest! {
        #[test]
        fn no_list_makes_it_panic(entries in prop::collection::vec("[a-b_/@.~:$ ]{0,8}|(top|a|g/a)(@[a-b._]{0,6})?", 0..6)) {
            let list: Vec<_> = entries.iter().map(|entry| json!(entry)).collect();
            let text = format!("defaults: {}\nx: 1", Value::Array(list));
            let _ = composed(&[("top.yaml", &text), ("a.yaml", "a: 1"), ("g/a.yaml", "a: {b: 1}")]);
        }
    }
}
