//! The keys that a run file may have, learnt from an example of the run it describes.
//!
//! Serde's `deny_unknown_fields` stops at the first stray key and can't guess what was meant.
//! Here the whole file is compared with an example, so that every stray key is reported at
//! once, each with its place and the nearest key that would have been right.

use std::ops::Range;

use toml::Spanned;
use toml::de::DeValue;

use super::nearest::nearest;

/// What may stand at one place of a run file.
#[derive(Clone, Debug, PartialEq)]
pub enum KnownKeys {
    /// Anything; serde alone judges it. An empty table in the example is one with free keys.
    Any,
    /// A table with no other keys than these, in the order of the example.
    Table(Vec<(String, KnownKeys)>),
    /// An array of tables, each with no other keys than these.
    Tables(Box<KnownKeys>),
}

/// A key of the file that the example lacks.
#[derive(Clone, Debug, PartialEq)]
pub struct Stray {
    /// The dotted path of the key, such as `stage.captions.stpes`.
    pub path: String,
    /// The bytes of the key in the text.
    pub span: Range<usize>,
    /// What to write in its place.
    pub advice: String,
}

impl KnownKeys {
    /// Learns the keys of `example`.
    ///
    /// The keys of all elements of an array of tables are united, so that an element can show
    /// an optional key that another lacks.
    pub fn learn(example: &toml::Value) -> Self {
        match example {
            toml::Value::Table(table) if !table.is_empty() => Self::Table(
                table
                    .iter()
                    .map(|(key, value)| (key.clone(), Self::learn(value)))
                    .collect(),
            ),
            toml::Value::Array(elements) => elements
                .iter()
                .map(Self::learn)
                .reduce(Self::unite)
                .filter(|element| *element != Self::Any)
                .map_or(Self::Any, |element| Self::Tables(Box::new(element))),
            _ => Self::Any,
        }
    }

    /// The keys of either.
    fn unite(self, other: Self) -> Self {
        match (self, other) {
            (Self::Table(mut keys), Self::Table(others)) => {
                for (name, inner) in others {
                    match keys.iter_mut().find(|(known, _)| *known == name) {
                        Some((_, known)) => *known = known.clone().unite(inner),
                        None => keys.push((name, inner)),
                    }
                }
                Self::Table(keys)
            }
            (Self::Tables(one), Self::Tables(two)) => Self::Tables(Box::new(one.unite(*two))),
            // An element without a table, or with an empty one, shows nothing: the other does.
            (Self::Any, known) | (known, _) => known,
        }
    }

    /// What may stand under `name`, a key of a table or the position or name of an element.
    pub fn under(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Any => None,
            Self::Table(keys) => keys
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, inner)| inner),
            Self::Tables(element) => Some(element),
        }
    }

    /// The keys of `document` that are not known, in the order of the text.
    pub fn strays(&self, document: &DeValue<'_>) -> Vec<Stray> {
        let mut strays = Vec::new();
        self.collect_strays(self, document, "", &mut strays);
        strays.sort_by_key(|stray| stray.span.start);
        strays
    }

    fn collect_strays(
        &self,
        root: &Self,
        value: &DeValue<'_>,
        path: &str,
        strays: &mut Vec<Stray>,
    ) {
        match (self, value) {
            (Self::Table(known), DeValue::Table(table)) => {
                for (key, inner) in table {
                    let name: &str = key.get_ref();
                    let path = join(path, name);
                    match self.under(name) {
                        Some(keys) => keys.collect_strays(root, inner.get_ref(), &path, strays),
                        None => strays.push(Stray {
                            path,
                            span: key.span(),
                            advice: advise(name, known, root),
                        }),
                    }
                }
            }
            (Self::Tables(element), DeValue::Array(values)) => {
                for (position, value) in values.iter().enumerate() {
                    let path = element_path(path, position, value);
                    element.collect_strays(root, value.get_ref(), &path, strays);
                }
            }
            // A table where none belongs, or none where one does, is serde's to report.
            _ => {}
        }
    }

    /// The path of a key called `name` anywhere below, shallowest first in the example's order.
    fn find(&self, name: &str, path: &str) -> Option<String> {
        match self {
            Self::Any => None,
            Self::Table(keys) => {
                let here = keys
                    .iter()
                    .any(|(known, _)| known == name)
                    .then(|| join(path, name));
                here.or_else(|| {
                    keys.iter()
                        .find_map(|(known, inner)| inner.find(name, &join(path, known)))
                })
            }
            Self::Tables(element) => element.find(name, &join(path, "NAME")),
        }
    }
}

/// What to write for `name`, which none of `known` is: a similar key beside it, else the same key elsewhere in the file,
/// else one of the keys that belong there.
fn advise(name: &str, known: &[(String, KnownKeys)], root: &KnownKeys) -> String {
    if let Some(key) = nearest(name, known.iter().map(|(key, _)| key.as_str())) {
        return format!("did you mean \"{key}\"?");
    }
    if let Some(path) = root.find(name, "") {
        return format!("did you mean \"{path}\"?");
    }
    let keys: Vec<_> = known.iter().map(|(key, _)| format!("\"{key}\"")).collect();
    format!("the keys here are {}", keys.join(", "))
}

/// The path of the innermost key or value of `document` that has exactly this `span`, empty for
/// the document itself.
pub fn path_at(document: &Spanned<DeValue<'_>>, span: &Range<usize>) -> String {
    fn search(value: &Spanned<DeValue<'_>>, span: &Range<usize>, path: String) -> Option<String> {
        let inner = match value.get_ref() {
            DeValue::Table(table) => table.iter().find_map(|(key, value)| {
                let path = join(&path, key.get_ref());
                search(value, span, path.clone()).or_else(|| (key.span() == *span).then_some(path))
            }),
            DeValue::Array(values) => values.iter().enumerate().find_map(|(position, value)| {
                search(value, span, element_path(&path, position, value))
            }),
            _ => None,
        };
        inner.or_else(|| (value.span() == *span).then_some(path))
    }
    search(document, span, String::new()).unwrap_or_default()
}

/// `path.name` of an element of an array that has a name, as `--set` takes it; else `path[position]`.
pub fn element_path(path: &str, position: usize, value: &Spanned<DeValue<'_>>) -> String {
    match element_name(value) {
        Some(name) => join(path, name),
        None => format!("{path}[{position}]"),
    }
}

/// The `name` of an element of an array.
pub fn element_name<'a>(value: &'a Spanned<DeValue<'_>>) -> Option<&'a str> {
    let name = value.get_ref().as_table()?.get("name")?;
    name.get_ref().as_str().filter(|name| !name.is_empty())
}

/// `path.name`, or `name` at the top of the file.
pub fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(example: &str) -> KnownKeys {
        KnownKeys::learn(&toml::Value::Table(example.parse().unwrap()))
    }

    fn strays(example: &str, text: &str) -> Vec<(String, String)> {
        let document = toml::de::DeTable::parse(text).unwrap().into_inner();
        let strays = known(example).strays(&DeValue::Table(document));
        strays
            .into_iter()
            .map(|stray| (stray.path, stray.advice))
            .collect()
    }

    #[test]
    fn elements_of_an_array_show_their_keys_together() {
        let example = "[[stage]]\nname = 'a'\n[stage.data]\nx = 1\n\
                       [[stage]]\nlimit = 3\n[stage.data]\ny = 1\n";
        let text = "[[stage]]\nname = 'b'\nlimit = 1\ndata = { x = 1, y = 2, z = 3 }\n";
        let stray = (
            "stage.b.data.z".to_owned(),
            "the keys here are \"x\", \"y\"".to_owned(),
        );
        assert_eq!(strays(example, text), [stray]);
    }

    #[test]
    fn advice_prefers_a_similar_key_then_the_right_table() {
        let example = "seed = 1\n[optimizer]\nlearning_rate = 1.0\n[[stage]]\nsteps = 1\n";
        let text = "sede = 1\nlearning_rate = 2.0\nsteps = 3\n[optimizer]\nlearn_rate = 1\n";
        let advice: Vec<_> = strays(example, text)
            .into_iter()
            .map(|(_, advice)| advice)
            .collect();
        assert_eq!(
            advice,
            [
                "did you mean \"seed\"?",
                "did you mean \"optimizer.learning_rate\"?",
                "did you mean \"stage.NAME.steps\"?",
                "did you mean \"learning_rate\"?",
            ]
        );
    }

    #[test]
    fn tables_that_the_example_leaves_empty_are_free() {
        assert_eq!(strays("[labels]\n", "[labels]\nanything = 1\n"), []);
    }

    #[test]
    fn a_span_finds_its_path() {
        let text = "a = 1\n[[stage]]\nsteps = 7\n[[stage]]\nsteps = { x = 8 }\nname = 'b'\n";
        let root = toml::de::DeTable::parse(text).unwrap();
        let document = Spanned::new(root.span(), DeValue::Table(root.into_inner()));
        let at = |part: &str| {
            let start = text.find(part).unwrap();
            path_at(&document, &(start..start + part.len()))
        };
        assert_eq!(at("7"), "stage[0].steps");
        assert_eq!(at("8"), "stage.b.steps.x");
        assert_eq!(at("a"), "a");
        assert_eq!(path_at(&document, &document.span()), "");
    }
}
