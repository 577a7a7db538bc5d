//! Annotation files read entry by entry: they are hundreds of megabytes, an entry is small.

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::marker::PhantomData;
use std::path::Path;

use serde::de::{
    DeserializeOwned, DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde::{Deserialize, Deserializer};

use crate::DataError;

/// An id that some write as a number and some as a text.
#[derive(Deserialize)]
#[serde(untagged, expecting = "an id should be a whole number or a text")]
pub(super) enum Id {
    Number(i64),
    Text(String),
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

/// Gives every entry of the file's list to `each`.
pub(super) fn list<T: DeserializeOwned>(
    path: &Path,
    mut each: impl FnMut(T),
) -> Result<(), DataError> {
    document(path, List(&mut each, PhantomData))
}

/// Gives every entry of the list `field` of the file's object to `each`.
pub(super) fn list_in<T: DeserializeOwned>(
    path: &Path,
    field: &'static str,
    mut each: impl FnMut(T),
) -> Result<(), DataError> {
    let list = List(&mut each, PhantomData);
    document(path, Field { name: field, list })
}

/// Gives every entry of the file's object, with its name, to `each`.
pub(super) fn map<T: DeserializeOwned>(
    path: &Path,
    mut each: impl FnMut(String, T),
) -> Result<(), DataError> {
    document(path, Entries(&mut each, PhantomData))
}

/// Gives every line, with its number from 1, to `each`; empty lines are passed over.
pub(super) fn lines<T: DeserializeOwned>(
    path: &Path,
    mut each: impl FnMut(usize, T),
) -> Result<(), DataError> {
    let mut file = open(path)?;
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let read = file.read_until(b'\n', &mut line);
        if read.map_err(|source| io(path, source))? == 0 {
            break;
        }
        if !line.trim_ascii().is_empty() {
            let entry = serde_json::from_slice(&line);
            each(number, entry.map_err(|e| wrong(path, number - 1, e))?);
        }
    }
    Ok(())
}

/// Whether the file is one list, and not a value a line.
pub(super) fn is_list(path: &Path) -> Result<bool, DataError> {
    let mut file = open(path)?;
    loop {
        let buffer = file.fill_buf().map_err(|source| io(path, source))?;
        match buffer.trim_ascii_start().first() {
            Some(&first) => return Ok(first == b'['),
            None if buffer.is_empty() => return Ok(false),
            None => {
                let blank = buffer.len();
                file.consume(blank);
            }
        }
    }
}

fn document(path: &Path, seed: impl for<'de> DeserializeSeed<'de>) -> Result<(), DataError> {
    let mut json = serde_json::Deserializer::from_reader(open(path)?);
    let read = seed.deserialize(&mut json).and_then(|_| json.end());
    read.map_err(|error| wrong(path, 0, error))
}

fn open(path: &Path) -> Result<BufReader<File>, DataError> {
    let file = File::open(path).map_err(|source| io(path, source))?;
    Ok(BufReader::with_capacity(1 << 18, file))
}

fn io(path: &Path, source: std::io::Error) -> DataError {
    DataError::Io {
        path: path.to_owned(),
        source,
    }
}

/// `before` lines stand before the text that was parsed.
fn wrong(path: &Path, before: usize, error: serde_json::Error) -> DataError {
    if error.is_io() {
        return io(path, error.into());
    }
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    let place = format!(" at line {line} column {column}");
    DataError::Annotations {
        path: path.to_owned(),
        line: before + line,
        column,
        reason: text.strip_suffix(&place).unwrap_or(&text).to_owned(),
    }
}

/// A list whose entries are handed on.
struct List<'a, T, F>(&'a mut F, PhantomData<T>);

impl<'de, T: Deserialize<'de>, F: FnMut(T)> DeserializeSeed<'de> for List<'_, T, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de, T: Deserialize<'de>, F: FnMut(T)> Visitor<'de> for List<'_, T, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a list of annotations")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(entry) = list.next_element()? {
            self.0(entry);
        }
        Ok(())
    }
}

/// An object of which one field, a list, is wanted.
struct Field<L> {
    name: &'static str,
    list: L,
}

impl<'de, L: DeserializeSeed<'de, Value = ()>> DeserializeSeed<'de> for Field<L> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de, L: DeserializeSeed<'de, Value = ()>> Visitor<'de> for Field<L> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "an object with a list `{}`", self.name)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut list = Some(self.list);
        while let Some(name) = map.next_key::<String>()? {
            if name == self.name {
                let list = list
                    .take()
                    .ok_or_else(|| Error::duplicate_field(self.name))?;
                map.next_value_seed(list)?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        match list {
            Some(_) => Err(Error::missing_field(self.name)),
            None => Ok(()),
        }
    }
}

/// An object whose entries are handed on.
struct Entries<'a, T, F>(&'a mut F, PhantomData<T>);

impl<'de, T: Deserialize<'de>, F: FnMut(String, T)> DeserializeSeed<'de> for Entries<'_, T, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de, T: Deserialize<'de>, F: FnMut(String, T)> Visitor<'de> for Entries<'_, T, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object with an annotation a key")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some((name, entry)) = map.next_entry()? {
            self.0(name, entry);
        }
        Ok(())
    }
}
