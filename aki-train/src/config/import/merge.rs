//! One tree over another.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use serde_json::map::{Entry, Map};

/// Lays `content`, which `path` holds, over `target`, the table at `at`. Tables are united, key by key; anything else takes the place of what was there.
pub(super) fn lay_over(
    target: &mut Map<String, Value>,
    content: Map<String, Value>,
    at: &str,
    path: &Path,
    origins: &mut BTreeMap<String, PathBuf>,
) {
    for (name, value) in content {
        let key = join(at, &name);
        origins.insert(key.clone(), path.to_owned());
        let Value::Object(content) = value else {
            target.insert(name, value);
            continue;
        };
        lay_over(table(target.entry(name)), content, &key, path, origins);
    }
}

/// The table at an entry; another value that stands there goes.
pub(super) fn table(entry: Entry<'_>) -> &mut Map<String, Value> {
    let value = entry.or_insert(Value::Null);
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().expect("just made a table")
}

/// The dotted key of `name` in the table at `at`.
pub(super) fn join(at: &str, name: &str) -> String {
    match at {
        "" => name.to_owned(),
        _ => format!("{at}.{name}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tables_are_united_and_all_else_replaced() {
        let map = |value: Value| value.as_object().unwrap().clone();
        let mut tree =
            map(json!({"a": {"b": 1, "c": [1, 2]}, "d": 1, "e": {"f": 1}, "g": {"h": 1}}));
        let over = map(json!({"e": null, "a": {"c": [3], "i": 2}, "d": {"j": 1}, "g": {}}));
        let mut origins = BTreeMap::new();
        lay_over(&mut tree, over, "", Path::new("x.yaml"), &mut origins);
        let expected =
            json!({"a": {"b": 1, "c": [3], "i": 2}, "d": {"j": 1}, "e": null, "g": {"h": 1}});
        assert_eq!(Value::Object(tree), expected);
        assert!(origins.contains_key("a.c") && !origins.contains_key("a.b"));
    }
}
