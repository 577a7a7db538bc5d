//! Values by key, and which of them a run file was made of.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::ImportError;
use super::compose::Composed;
use super::interpolate::Resolved;
use super::merge::join;

/// A whole configuration.
pub(super) struct Settings {
    composed: Composed,
    tree: Map<String, Value>,
    used: BTreeSet<String>,
}

impl Settings {
    pub(super) fn new(composed: Composed, resolved: Resolved) -> Self {
        Self {
            composed,
            tree: resolved.tree,
            used: resolved.used,
        }
    }

    /// The value at a dotted key, unless it is missing or null. It counts as used.
    pub(super) fn get(&mut self, key: &str) -> Result<Option<&Value>, ImportError> {
        self.used.insert(key.to_owned());
        let mut names = key.split('.');
        let first = names.next().and_then(|name| self.tree.get(name));
        match names.fold(first, |value, name| value?.get(name)) {
            Some(Value::String(open)) if open == "???" => {
                Err(self.fault(key, "is left open (\"???\"); write it in"))
            }
            found => Ok(found.filter(|value| !value.is_null())),
        }
    }

    pub(super) fn text(&mut self, key: &str) -> Result<Option<String>, ImportError> {
        self.read(key, "a text", |value| value.as_str().map(str::to_owned))
    }

    pub(super) fn number(&mut self, key: &str) -> Result<Option<f64>, ImportError> {
        self.read(key, "a number", Value::as_f64)
    }

    /// A whole number, 0 or greater, that TOML holds even when 1 is added.
    pub(super) fn whole(&mut self, key: &str) -> Result<Option<u64>, ImportError> {
        self.read(key, "a whole number, 0 or greater,", |value| {
            value.as_u64().filter(|number| *number < i64::MAX as u64)
        })
    }

    /// One text or a list of them.
    pub(super) fn texts(&mut self, key: &str) -> Result<Option<Vec<String>>, ImportError> {
        self.read(key, "a text or a list of texts", |value| match value {
            Value::String(text) => Some(vec![text.clone()]),
            Value::Array(texts) => {
                let texts = texts.iter().map(|text| text.as_str().map(str::to_owned));
                texts.collect()
            }
            _ => None,
        })
    }

    /// The names in a table, in their order. The values in it don't count as used.
    pub(super) fn names(&mut self, key: &str) -> Result<Vec<String>, ImportError> {
        let was_used = self.used.contains(key);
        let names = self.read(key, "a table", |value| {
            Some(value.as_object()?.keys().cloned().collect())
        });
        if !was_used {
            self.used.remove(key);
        }
        Ok(names?.unwrap_or_default())
    }

    /// As a type, or an error that says what was expected.
    fn read<T>(
        &mut self,
        key: &str,
        expected: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>, ImportError> {
        let Some(value) = self.get(key)? else {
            return Ok(None);
        };
        if let Some(value) = read(value) {
            return Ok(Some(value));
        }
        let found = shown(value);
        Err(self.fault(key, &format!("{expected} is expected here, not {found}")))
    }

    /// An error about the value at `key`.
    pub(super) fn fault(&self, key: &str, reason: &str) -> ImportError {
        ImportError::Value {
            path: self.composed.origin(key).to_owned(),
            key: key.to_owned(),
            reason: reason.to_owned(),
        }
    }

    /// What no one asked for: keys and values.
    pub(super) fn unused(&self) -> Vec<(String, String)> {
        let mut unused = Vec::new();
        self.collect(&self.tree, "", &mut unused);
        unused
    }

    fn collect(&self, table: &Map<String, Value>, at: &str, unused: &mut Vec<(String, String)>) {
        for (name, value) in table {
            let key = join(at, name);
            if self.used.contains(&key) {
                continue;
            }
            match value {
                Value::Object(inner) if !inner.is_empty() => self.collect(inner, &key, unused),
                _ => unused.push((key, shown(value))),
            }
        }
    }

    /// The name of the file, for the head of a run file.
    pub(super) fn file(&self) -> String {
        let name = self.composed.file.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }
}

/// A value in a message: not too long.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("{}..", &text[..end]),
        None => text,
    }
}

/// The value, or else the original's usual one, which is told.
pub(super) fn or<T: std::fmt::Display>(
    value: Option<T>,
    usual: T,
    key: &str,
    notices: &mut Vec<String>,
) -> T {
    value.unwrap_or_else(|| {
        notices.push(format!(
            "{key} is not given; {usual} is taken, as usual in AKI's tuning"
        ));
        usual
    })
}
