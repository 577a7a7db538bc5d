//! Puts values in the place of `${..}`. See [`super::expression`] for what may stand there.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::ImportError;
use super::compose::Composed;
use super::expression::{Piece, call, key, pieces, unquoted};
use super::python::in_text;

/// Most values and bytes that are written, so that texts of texts of texts come to an end.
const MOST: usize = 1 << 20;
/// Tables in tables and references to references, together; more would be too much for the stack.
const DEEPEST: usize = 160;

/// A tree without `${..}`.
pub(super) struct Resolved {
    /// The tree.
    pub tree: Map<String, Value>,
    /// The keys that other values were made of.
    pub used: BTreeSet<String>,
}

/// Fills the tree in. `env` gives the environment's variables.
pub(super) fn resolve(
    composed: &Composed,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Resolved, ImportError> {
    let mut resolver = Resolver {
        composed,
        env,
        open: Vec::new(),
        used: BTreeSet::new(),
        left: MOST,
        depth: 0,
    };
    let tree = resolver.table(&composed.tree, &[])?;
    Ok(Resolved {
        tree,
        used: resolver.used,
    })
}

struct Resolver<'a> {
    composed: &'a Composed,
    env: &'a dyn Fn(&str) -> Option<String>,
    /// The keys that are being looked up, each for the one before.
    open: Vec<String>,
    used: BTreeSet<String>,
    left: usize,
    depth: usize,
}

impl Resolver<'_> {
    fn table(
        &mut self,
        table: &Map<String, Value>,
        at: &[String],
    ) -> Result<Map<String, Value>, ImportError> {
        let mut filled = Map::new();
        for (name, value) in table {
            let at = [at, std::slice::from_ref(name)].concat();
            filled.insert(name.clone(), self.value(value, &at)?);
        }
        Ok(filled)
    }

    /// `value`, which stands at `at`, filled in.
    fn value(&mut self, value: &Value, at: &[String]) -> Result<Value, ImportError> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(self.fault(at, "", "leads too deep; write the value out".to_owned()));
        }
        self.spend(1, at)?;
        let filled = match value {
            Value::String(text) => self.text(text, at)?,
            Value::Array(values) => {
                let values = values.iter().enumerate().map(|(index, value)| {
                    let at = [at, &[index.to_string()]].concat();
                    self.value(value, &at)
                });
                Value::Array(values.collect::<Result<_, _>>()?)
            }
            Value::Object(table) => Value::Object(self.table(table, at)?),
            plain => plain.clone(),
        };
        self.depth -= 1;
        Ok(filled)
    }

    /// A text filled in: a value of any kind if it is one `${..}` and no more.
    fn text(&mut self, text: &str, at: &[String]) -> Result<Value, ImportError> {
        self.spend(text.len(), at)?;
        let pieces = pieces(text)
            .map_err(|open| self.fault(at, open, "has no end; close it with \"}\"".to_owned()))?;
        if let [Piece::Expression(expression)] = pieces[..] {
            return self.expression(expression, at);
        }
        let mut filled = String::new();
        for piece in &pieces {
            match piece {
                Piece::Text(text) => filled += text,
                Piece::Expression(expression) => {
                    let value = self.expression(expression, at)?;
                    let Some(text) = in_text(&value) else {
                        let reason = "is a list or a table, which cannot stand inside a text";
                        return Err(self.fault(at, expression, reason.to_owned()));
                    };
                    self.spend(text.len(), at)?;
                    filled += &text;
                }
            }
        }
        Ok(Value::String(filled))
    }

    fn expression(&mut self, expression: &str, at: &[String]) -> Result<Value, ImportError> {
        self.depth += 1;
        if self.depth > DEEPEST {
            let reason = "leads too deep; write the value out".to_owned();
            return Err(self.fault(at, expression, reason));
        }
        let value = match call(expression) {
            Some(("oc.env", arguments)) => self.environment(expression, &arguments, at)?,
            Some((name, _)) => {
                let reason = format!(
                    "calls \"{name}\", which is not supported; only oc.env is. Write the value out"
                );
                return Err(self.fault(at, expression, reason));
            }
            None => self.reference(expression, at)?,
        };
        self.depth -= 1;
        Ok(value)
    }

    /// `oc.env:NAME` or `oc.env:NAME,default`: always a text, unless the default is null.
    fn environment(
        &mut self,
        expression: &str,
        arguments: &[&str],
        at: &[String],
    ) -> Result<Value, ImportError> {
        let (name, default) = match *arguments {
            [name] if !name.is_empty() => (name, None),
            [name, default] if !name.is_empty() => (name, Some(default)),
            _ => {
                let reason = "needs a name, or a name and a default".to_owned();
                return Err(self.fault(at, expression, reason));
            }
        };
        let name = match self.text(unquoted(name).unwrap_or(name), at)? {
            Value::String(name) => name,
            other => other.to_string(),
        };
        if let Some(value) = (self.env)(&name) {
            self.spend(value.len(), at)?;
            return Ok(Value::String(value));
        }
        match default {
            None => {
                let reason = format!(
                    "has no value: the environment has no variable \"{name}\"; set it, or give a \
                     default after a comma"
                );
                Err(self.fault(at, expression, reason))
            }
            Some("null") => Ok(Value::Null),
            Some(default) => {
                let value = self.text(unquoted(default).unwrap_or(default), at)?;
                in_text(&value).map(Value::String).ok_or_else(|| {
                    self.fault(
                        at,
                        expression,
                        "has a list or a table as its default".to_owned(),
                    )
                })
            }
        }
    }

    fn reference(&mut self, expression: &str, at: &[String]) -> Result<Value, ImportError> {
        // A key may itself hold `${..}`.
        let text = match expression.contains("${") {
            false => expression.to_owned(),
            true => match self.text(expression, at)? {
                Value::String(text) => text,
                other => other.to_string(),
            },
        };
        let (up, keys) = key(&text).map_err(|reason| self.fault(at, expression, reason))?;
        let from = match up {
            0 => &[][..],
            _ => at
                .len()
                .checked_sub(up)
                .map(|length| &at[..length])
                .ok_or_else(|| {
                    self.fault(
                        at,
                        expression,
                        "leads out of the top; take dots away".to_owned(),
                    )
                })?,
        };
        let path = [from, &keys].concat();
        let dotted = path.join(".");
        if self.open.contains(&dotted) {
            let reason = format!(
                "goes in a circle: {} -> {dotted}; give one of them a value",
                self.open.join(" -> ")
            );
            return Err(self.fault(at, expression, reason));
        }
        self.open.push(dotted.clone());
        let value = self.look_up(&path, expression, at)?;
        self.open.pop();
        if value == "???" {
            let reason = "stands for \"???\", a value left open; write it in".to_owned();
            return Err(self.fault(at, expression, reason));
        }
        self.used.insert(dotted);
        Ok(value)
    }

    /// The filled-in value at `path`. References on the way to it are followed.
    fn look_up(
        &mut self,
        path: &[String],
        expression: &str,
        at: &[String],
    ) -> Result<Value, ImportError> {
        let composed = self.composed;
        let missing = |resolver: &Self, key: &[String]| {
            let reason = format!(
                "has no value: there is no \"{}\"; write it in",
                key.join(".")
            );
            resolver.fault(at, expression, reason)
        };
        let mut found = path.first().and_then(|name| composed.tree.get(name));
        for number in 1..=path.len() {
            let (here, rest) = path.split_at(number);
            let value = found.ok_or_else(|| missing(self, here))?;
            if rest.is_empty() || value.as_str().is_some_and(|text| text.contains("${")) {
                let filled = self.value(value, here)?;
                let inner = rest
                    .iter()
                    .try_fold(&filled, |value, name| inside(value, name));
                return inner.cloned().ok_or_else(|| missing(self, path));
            }
            found = inside(value, &rest[0]);
        }
        Err(missing(self, path))
    }

    fn spend(&mut self, amount: usize, at: &[String]) -> Result<(), ImportError> {
        self.left = self.left.checked_sub(amount).ok_or_else(|| {
            let reason =
                format!("grows past {MOST} bytes together with the rest; write the value out");
            self.fault(at, "..", reason)
        })?;
        Ok(())
    }

    fn fault(&self, at: &[String], expression: &str, reason: String) -> ImportError {
        let key = at.join(".");
        ImportError::Interpolation {
            path: self.composed.origin(&key).to_owned(),
            key,
            expression: expression.chars().take(200).collect(),
            reason,
        }
    }
}

/// The value under `name`: a key of a table or a place in a list.
fn inside<'v>(value: &'v Value, name: &str) -> Option<&'v Value> {
    match value {
        Value::Object(table) => table.get(name),
        Value::Array(list) => list.get(name.parse::<usize>().ok()?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use proptest::prelude::*;
    use serde_json::json;

    use super::super::compose::compose;
    use super::*;

    fn env(name: &str) -> Option<String> {
        (name == "HOME").then(|| "/home/a".to_owned())
    }

    fn filled(text: &str) -> Result<Resolved, ImportError> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("top.yaml");
        std::fs::write(&file, text).unwrap();
        resolve(&compose(&file)?, &env)
    }

    #[track_caller]
    fn becomes(text: &str, key: &str, expected: Value) {
        let tree = filled(text).unwrap().tree;
        assert_eq!(tree[key], expected);
    }

    #[test]
    fn references() {
        let text = r#"
root: /data
n: 3
lr: 2e-5
list: [a, {b: c}]
alias: ${list}
self: {a: 1, b: "${.a}", inner: {c: "${..a}/${.d}", d: x}}
path: ${root}/vqa/${n}_${lr}
whole: ${n}
item: ${list[1].b}
through: ${alias.1.b}
which: self
nested: ${${which}.a}
escaped: \${root}
none: ~
mixed: ${none}-${yes}
yes_: true
"yes": true
"#;
        becomes(text, "path", json!("/data/vqa/3_2e-05"));
        becomes(text, "whole", json!(3));
        becomes(text, "alias", json!(["a", {"b": "c"}]));
        becomes(text, "item", json!("c"));
        becomes(text, "through", json!("c"));
        becomes(text, "nested", json!(1));
        becomes(text, "escaped", json!("${root}"));
        becomes(text, "mixed", json!("None-True"));
        becomes(
            text,
            "self",
            json!({"a": 1, "b": 1, "inner": {"c": "1/x", "d": "x"}}),
        );
        assert!(filled(text).unwrap().used.contains("root"));
    }

    #[test]
    fn environment() {
        becomes("a: ${oc.env:HOME}/x", "a", json!("/home/a/x"));
        becomes("a: ${oc.env:GONE,/data}", "a", json!("/data"));
        becomes("a: ${oc.env:GONE,'x, y'}", "a", json!("x, y"));
        becomes("a: ${oc.env:GONE,null}", "a", json!(null));
        becomes("r: 3\na: ${oc.env:GONE,${r}}", "a", json!("3"));
    }

    #[test]
    fn faults_say_where() {
        for (text, parts) in [
            (
                "a: {b: \"${c}\"}",
                &["top.yaml", "a.b", "${c}", "no \"c\""][..],
            ),
            ("c: 1\na: ${c.d}", &["no \"c.d\""]),
            ("c: [1]\na: ${c.1}", &["no \"c.1\""]),
            ("a: ${b}\nb: ${a}", &["circle", "b -> a"]),
            ("a: ${a}", &["circle"]),
            ("a: {b: \"${a}\"}", &["circle"]),
            ("a: x${b}\nb: ${..c}", &["out of the top"]),
            (
                "a: ${now:%Y}",
                &["a: ${now:%Y}", "\"now\"", "not supported"],
            ),
            ("a: ${oc.env:GONE}", &["GONE", "default"]),
            ("a: ${oc.env:}", &["needs a name"]),
            ("a: ${b", &["no end"]),
            ("a: ${}", &["names no key"]),
            ("b: [1]\na: x${b}", &["list or a table"]),
            ("b: ???\na: ${b}", &["left open"]),
        ] {
            let message = filled(text)
                .err()
                .unwrap_or_else(|| panic!("{text}"))
                .to_string();
            for part in parts {
                assert!(message.contains(part), "{text}: {message}");
            }
        }
    }

    #[test]
    fn texts_that_multiply_are_stopped() {
        let mut text = "a0: xxxxxxxxxx\n".to_owned();
        for level in 1..40 {
            let inner = level - 1;
            writeln!(text, "a{level}: ${{a{inner}}}${{a{inner}}}").unwrap();
        }
        assert!(
            filled(&text)
                .err()
                .unwrap()
                .to_string()
                .contains("grows past")
        );
        let mut chain = String::new();
        for n in 0..2000 {
            writeln!(chain, "a{n}: ${{a{}}}", n + 1).unwrap();
        }
        assert!(
            filled(&chain)
                .err()
                .unwrap()
                .to_string()
                .contains("too deep")
        );
        let nested = format!("a: {}b{}", "${".repeat(5000), "}".repeat(5000));
        assert!(filled(&nested).is_err());
    }

    proptest! {
        #[test]
        fn no_values_make_it_panic(values in prop::collection::vec(r"([ab.:,'\\]|\$\{|\}|\[0\]|oc\.env){0,10}", 0..4)) {
            let table: Map<_, _> = ["a", "b", "c", "d"].into_iter().zip(&values)
                .map(|(key, value)| (key.to_owned(), json!({"a": [value], "b": value}))).collect();
            let _ = filled(&Value::Object(table).to_string());
        }
    }
}
