//! Reads a run file, with settings from the command line laid over it.
//!
//! A run is one complete TOML file. `--set path=value` changes single values of it:
//!
//! ```text
//! seed=3                     a value at the top of the file
//! optimizer.lr=1e-4          a value in a table
//! stage.0.steps=10           a value in the first element of an array
//! stage.questions.steps=10   ... in the element with `name = "questions"`
//! ```
//!
//! A value is read as TOML, and as a plain string where it isn't TOML (`name=x`).

use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::error::{ConfigError, Place, UnknownKey, one_line, reword};
use super::keys::{KnownKeys, Stray, element_name, element_path, join, path_at};

/// Reads the run file at `path` and lays `overrides` over it, later ones over earlier.
///
/// `known` is an example that shows every key: optional ones as `Some`, and those of one kind
/// of array element in an element of that kind.
///
/// # Errors
///
/// Returns [`ConfigError`] if the file can't be read, isn't TOML, has keys that `known` lacks or
/// values that `T` doesn't take, or if an override has no place in it.
pub fn load<T, K>(path: &Path, overrides: &[String], known: &K) -> Result<T, ConfigError>
where
    T: DeserializeOwned,
    K: Serialize,
{
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })?;
    parse(&text, &path.display().to_string(), overrides, known)
}

/// Reads a run file from `text`; `origin` names it in errors. See [`load`].
///
/// # Errors
///
/// As [`load`], but for reading the file.
pub fn parse<T, K>(
    text: &str,
    origin: &str,
    overrides: &[String],
    known: &K,
) -> Result<T, ConfigError>
where
    T: DeserializeOwned,
    K: Serialize,
{
    let source = Source {
        text,
        origin,
        overrides,
    };
    let keys = toml::Value::try_from(known)
        .map(|example| KnownKeys::learn(&example))
        .map_err(|error| ConfigError::Example {
            reason: one_line(&error.to_string()),
        })?;
    let table = DeTable::parse(text).map_err(|error| source.syntax_error(&error))?;
    let mut document = Spanned::new(table.span(), DeValue::Table(table.into_inner()));
    for (start, setting) in source.settings() {
        source.apply(&mut document, &keys, start, setting)?;
    }
    let strays = keys.strays(document.get_ref());
    if !strays.is_empty() {
        let keys = strays
            .into_iter()
            .map(|stray| source.unknown_key(stray))
            .collect();
        return Err(ConfigError::UnknownKeys { keys });
    }
    T::deserialize(ValueDeserializer::from(document.clone()))
        .map_err(|error| source.value_error(&document, &error))
}

/// The text and the overrides. Spans count through the text and then through each override, as
/// if each were a further line of it.
struct Source<'i> {
    text: &'i str,
    origin: &'i str,
    overrides: &'i [String],
}

impl<'i> Source<'i> {
    /// Each override with the offset of its first byte.
    fn settings(&self) -> impl Iterator<Item = (usize, &'i str)> {
        self.overrides
            .iter()
            .scan(self.text.len() + 1, |next, setting| {
                let start = *next;
                *next += setting.len() + 1;
                Some((start, setting.as_str()))
            })
    }

    fn place(&self, span: &Range<usize>) -> Place {
        let setting = self
            .settings()
            .take_while(|(start, _)| *start <= span.start)
            .last();
        if let Some((_, setting)) = setting {
            return Place::Setting {
                setting: setting.to_owned(),
            };
        }
        let (line, _) = self.line_and_column(span.start);
        Place::File {
            origin: self.origin.to_owned(),
            line: Some(line),
        }
    }

    fn line_and_column(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (
            before.matches('\n').count() + 1,
            before[line_start..].chars().count() + 1,
        )
    }

    /// Sets one value of the document.
    fn apply(
        &self,
        document: &mut Spanned<DeValue<'i>>,
        keys: &KnownKeys,
        start: usize,
        setting: &'i str,
    ) -> Result<(), ConfigError> {
        let malformed = || ConfigError::Malformed {
            setting: setting.to_owned(),
        };
        let (path, value) = setting.split_once('=').ok_or_else(malformed)?;
        if path.split('.').any(|name| name.trim().is_empty()) {
            return Err(malformed());
        }
        let mut here = document;
        let mut keys = Some(keys);
        let mut walked = String::new();
        let mut offset = start;
        for name in path.split('.') {
            let key = offset..offset + name.len();
            offset = key.end + 1;
            let name = name.trim();
            keys = keys.and_then(|keys| keys.under(name));
            here = match here.get_mut() {
                DeValue::Table(table) => {
                    walked = join(&walked, name);
                    // A missing array stays empty, so that the next name is told to be missing.
                    let empty = match keys {
                        Some(KnownKeys::Tables(_)) => DeValue::Array(std::iter::empty().collect()),
                        _ => DeValue::Table(DeTable::new()),
                    };
                    let empty = Spanned::new(start..key.end, empty);
                    table
                        .entry(Spanned::new(key, Cow::Borrowed(name)))
                        .or_insert(empty)
                }
                DeValue::Array(values) => {
                    let names = values.iter().enumerate().map(|(position, value)| {
                        element_name(value).map_or_else(|| position.to_string(), str::to_owned)
                    });
                    let names: Vec<_> = names.collect();
                    let position = names.iter().position(|element| element == name);
                    let position = position
                        .or_else(|| name.parse().ok())
                        .unwrap_or(names.len());
                    let element =
                        values
                            .get_mut(position)
                            .ok_or_else(|| ConfigError::NoElement {
                                setting: setting.to_owned(),
                                origin: self.origin.to_owned(),
                                array: walked.clone(),
                                element: name.to_owned(),
                                elements: names,
                            })?;
                    walked = element_path(&walked, position, element);
                    element
                }
                other => {
                    let (setting, found) = (setting.to_owned(), other.type_str());
                    return Err(ConfigError::NotATable {
                        setting,
                        key: walked,
                        found,
                    });
                }
            };
        }
        let start = start + setting.len() - value.trim_start().len();
        *here = override_value(value.trim(), start);
        Ok(())
    }

    fn syntax_error(&self, error: &toml::de::Error) -> ConfigError {
        let (line, column) = self.line_and_column(error.span().unwrap_or_default().start);
        let (origin, reason) = (self.origin.to_owned(), one_line(error.message()));
        ConfigError::Syntax {
            origin,
            line,
            column,
            reason,
        }
    }

    fn unknown_key(&self, stray: Stray) -> UnknownKey {
        UnknownKey {
            key: stray.path,
            place: self.place(&stray.span),
            advice: stray.advice,
        }
    }

    fn value_error(&self, document: &Spanned<DeValue<'_>>, error: &toml::de::Error) -> ConfigError {
        let span = error.span().unwrap_or_else(|| document.span());
        let key = path_at(document, &span);
        let place = if key.is_empty() {
            Place::File {
                origin: self.origin.to_owned(),
                line: None,
            }
        } else {
            self.place(&span)
        };
        ConfigError::Value {
            key,
            place,
            reason: reword(&one_line(error.message())),
        }
    }
}

/// The value of an override whose first byte is at `start`: TOML, or else the text itself.
fn override_value(text: &str, start: usize) -> Spanned<DeValue<'_>> {
    DeValue::parse(text).map_or_else(
        |_| {
            Spanned::new(
                start..start + text.len(),
                DeValue::String(Cow::Borrowed(text)),
            )
        },
        |value| shift(value, start),
    )
}

/// Moves all spans of `value` by `offset`.
fn shift(value: Spanned<DeValue<'_>>, offset: usize) -> Spanned<DeValue<'_>> {
    let moved = |span: Range<usize>| span.start + offset..span.end + offset;
    let span = moved(value.span());
    let value = match value.into_inner() {
        DeValue::Array(values) => DeValue::Array(
            values
                .into_iter()
                .map(|inner| shift(inner, offset))
                .collect(),
        ),
        DeValue::Table(table) => {
            let mut shifted = DeTable::new();
            for (key, inner) in table {
                let key = Spanned::new(moved(key.span()), key.into_inner());
                shifted.insert(key, shift(inner, offset));
            }
            DeValue::Table(shifted)
        }
        plain => plain,
    };
    Spanned::new(span, value)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, Deserialize, PartialEq, Serialize)]
    #[serde(deny_unknown_fields, default)]
    struct Run {
        name: String,
        seed: u64,
        optimizer: Optimizer,
        stage: Vec<Stage>,
    }

    #[derive(Debug, Default, Deserialize, PartialEq, Serialize)]
    #[serde(deny_unknown_fields, default)]
    struct Optimizer {
        lr: f64,
        betas: Vec<f64>,
    }

    #[derive(Debug, Deserialize, PartialEq, Serialize)]
    #[serde(deny_unknown_fields)]
    struct Stage {
        name: String,
        steps: usize,
        limit: Option<usize>,
    }

    const TEXT: &str = "\
name = \"first\"
seed = 1

[optimizer]
lr = 1e-3
betas = [0.9, 0.95]

[[stage]]
name = \"captions\"
steps = 100

[[stage]]
name = \"questions\"
steps = 200
";

    fn read(text: &str, overrides: &[&str]) -> Result<Run, ConfigError> {
        let overrides: Vec<_> = overrides
            .iter()
            .map(|&setting| setting.to_owned())
            .collect();
        let stage = Stage {
            name: String::new(),
            steps: 0,
            limit: Some(0),
        };
        let known = Run {
            stage: vec![stage],
            ..Run::default()
        };
        parse(text, "run.toml", &overrides, &known)
    }

    #[track_caller]
    fn refused(text: &str, overrides: &[&str], expected: &str) {
        assert_eq!(read(text, overrides).unwrap_err().to_string(), expected);
    }

    #[test]
    fn overrides_reach_tables_positions_and_names() {
        let run = read(
            TEXT,
            &[
                "name=x",
                "seed=3",
                "optimizer.lr = 1e-4",
                "optimizer.betas.1=0.99",
                "stage.0.steps=10",
                "stage.questions.steps=20",
                "stage.questions.steps=30",
                "stage.questions.limit=5",
            ],
        )
        .unwrap();
        assert_eq!((run.name.as_str(), run.seed), ("x", 3));
        assert_eq!(
            run.optimizer,
            Optimizer {
                lr: 1e-4,
                betas: vec![0.9, 0.99]
            }
        );
        assert_eq!((run.stage[0].steps, run.stage[0].limit), (10, None));
        assert_eq!((run.stage[1].steps, run.stage[1].limit), (30, Some(5)));
    }

    #[test]
    fn overrides_set_whole_tables_and_quoted_strings() {
        let overrides = ["optimizer={ lr = 2.0 }", "name=\"3\"", "stage=[]"];
        let run = read(TEXT, &overrides).unwrap();
        assert_eq!(
            (run.name.as_str(), run.optimizer.lr, run.stage.len()),
            ("3", 2.0, 0)
        );
    }

    #[test]
    fn all_unknown_keys_are_told_at_once() {
        refused(
            &format!("{TEXT}stpes = 3\n[optimiser]\nlr = 1\n"),
            &[
                "sed=3",
                "stage.captions.momentum=1",
                "optimizer={ betsa = [1] }",
            ],
            "unknown key \"stage.questions.stpes\" in run.toml line 15; did you mean \"steps\"?\n\
             unknown key \"optimiser\" in run.toml line 16; did you mean \"optimizer\"?\n\
             unknown key \"sed\" in --set sed=3; did you mean \"seed\"?\n\
             unknown key \"stage.captions.momentum\" in --set stage.captions.momentum=1; \
             the keys here are \"name\", \"steps\", \"limit\"\n\
             unknown key \"optimizer.betsa\" in --set optimizer={ betsa = [1] }; \
             did you mean \"betas\"?",
        );
    }

    #[test]
    fn wrong_values_tell_key_and_line() {
        refused(
            &TEXT.replace("200", "\"many\""),
            &[],
            "bad value for \"stage.questions.steps\" in run.toml line 14: \
             expected a whole number, 0 or greater, found string \"many\"",
        );
        refused(
            &TEXT.replace("0.95", "true"),
            &[],
            "bad value for \"optimizer.betas[1]\" in run.toml line 6: \
             expected a number, found boolean `true`",
        );
        refused(
            TEXT,
            &["seed=2", "stage.0.steps=-1"],
            "bad value for \"stage.captions.steps\" in --set stage.0.steps=-1: \
             expected a whole number, 0 or greater, found integer `-1`",
        );
        refused(
            TEXT,
            &["optimizer={ lr = 1, betas = [1, \"x\"] }"],
            "bad value for \"optimizer.betas[1]\" in --set optimizer={ lr = 1, betas = [1, \"x\"] }: \
             expected a number, found string \"x\"",
        );
        refused(
            TEXT,
            &["optimizer=adam"],
            "bad value for \"optimizer\" in --set optimizer=adam: \
             expected a table, found string \"adam\"",
        );
        refused(
            &TEXT.replace("steps = 100", ""),
            &[],
            "bad value for \"stage.captions\" in run.toml line 8: missing field `steps`",
        );
        refused(
            &TEXT.replace("name = \"questions\"", ""),
            &[],
            "bad value for \"stage[1]\" in run.toml line 12: missing field `name`",
        );
    }

    #[test]
    fn overrides_without_a_place_are_refused() {
        refused(
            TEXT,
            &["stage.qestions.steps=1"],
            "--set stage.qestions.steps=1: \"stage\" has no element \"qestions\"; \
             its elements are \"captions\", \"questions\"",
        );
        refused(
            TEXT,
            &["optimizer.betas.2=1"],
            "--set optimizer.betas.2=1: \"optimizer.betas\" has no element \"2\"; \
             its elements are \"0\", \"1\"",
        );
        refused(
            "seed = 1\n",
            &["stage.0.steps=1"],
            "--set stage.0.steps=1: \"stage\" has no element \"0\"; it has none in run.toml",
        );
        refused(
            TEXT,
            &["stage.0.steps.x=1"],
            "--set stage.0.steps.x=1: \"stage.captions.steps\" is of type integer, not a table; \
             set it whole",
        );
        for setting in ["seed", "=3", "a..b=3"] {
            let error = format!(
                "--set {setting} has no path; write --set key=value or --set table.key=value"
            );
            refused(TEXT, &[setting], &error);
        }
    }

    #[test]
    fn text_that_is_not_toml_is_told_in_one_line() {
        refused(
            "seed = 1\nname = word\n",
            &[],
            "run.toml line 2, column 8 is not TOML: string values must be quoted, \
             expected literal string",
        );
        refused(
            "seed = 1\nseed = 2\n",
            &[],
            "run.toml line 2, column 1 is not TOML: duplicate key",
        );
    }

    #[test]
    fn a_missing_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("none.toml");
        let error = load::<Run, _>(&path, &[], &Run::default())
            .unwrap_err()
            .to_string();
        let expected = format!(
            "cannot read the run file {}; check that it is there and is UTF-8 text",
            path.display()
        );
        assert_eq!(error, expected);
    }
}
