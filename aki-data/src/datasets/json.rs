//! Annotation files read entry by entry: they are hundreds of megabytes, an entry is small.

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::marker::PhantomData;
use std::path::Path;

use serde::de::{
    DeserializeOwned, DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde::{Deserialize, Deserializer};
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::skipped::SkipReason;
use crate::DataError;

/// Bytes of a line: above those of the longest conversation by far, and no memory to speak of.
pub(crate) const MAX_LINE: u64 = 64 << 20;

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

/// An entry as it was read, or why it could not be: then the next one follows.
pub(super) type Entry<T> = Result<T, SkipReason>;

/// Gives every entry of the file's list, with its number from 1, to `each`.
pub(super) fn list<T: DeserializeOwned>(
    path: &Path,
    each: impl FnMut(usize, Entry<T>),
) -> Result<(), DataError> {
    document(path, List(each, PhantomData))
}

/// Gives every entry of the list `field` of the file's object, with its number from 1, to `each`.
pub(super) fn list_in<T: DeserializeOwned>(
    path: &Path,
    field: &'static str,
    each: impl FnMut(usize, Entry<T>),
) -> Result<(), DataError> {
    let list = List(each, PhantomData);
    document(path, Field { name: field, list })
}

/// Gives every entry of the file's object, with its name, to `each`.
pub(super) fn map<T: DeserializeOwned>(
    path: &Path,
    each: impl FnMut(String, Entry<T>),
) -> Result<(), DataError> {
    document(path, Entries(each, PhantomData))
}

/// Gives every line, with its number from 1, to `each`; empty lines are passed over.
///
/// # Errors
/// [`DataError::Annotations`] at the first line if none can be read: it is another kind of file.
pub(super) fn lines<T: DeserializeOwned>(
    path: &Path,
    mut each: impl FnMut(usize, Entry<T>),
) -> Result<(), DataError> {
    let mut file = open(path)?;
    let mut line = Vec::new();
    let mut any_good = false;
    let mut first_wrong = None;
    for number in 1.. {
        let whole = read_line(&mut file, &mut line).map_err(|source| io(path, source))?;
        if line.is_empty() {
            break;
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let entry = match whole {
            true => serde_json::from_slice(line.trim_ascii_end()),
            false => Err(serde_json::Error::custom(SkipReason::TooLong)),
        };
        any_good |= entry.is_ok();
        each(
            number,
            entry.map_err(|error| {
                let reason = if whole {
                    fault(&error)
                } else {
                    SkipReason::TooLong
                };
                first_wrong.get_or_insert((number, error));
                reason
            }),
        );
    }
    match first_wrong {
        Some((number, error)) if !any_good => Err(wrong(path, number - 1, &error)),
        _ => Ok(()),
    }
}

/// Reads the next line into `line`, empty at the end of the file. Of one that is too long no more
/// than its beginning is kept: then it is not whole.
fn read_line(file: &mut impl BufRead, line: &mut Vec<u8>) -> std::io::Result<bool> {
    line.clear();
    let read = file.by_ref().take(MAX_LINE).read_until(b'\n', line)?;
    let whole = (read as u64) < MAX_LINE || line.ends_with(b"\n");
    if !whole {
        file.skip_until(b'\n')?;
    }
    Ok(whole)
}

/// Why an entry could not be read.
pub(super) fn fault(error: &serde_json::Error) -> SkipReason {
    match error.classify() {
        Category::Data => SkipReason::Fields,
        Category::Io | Category::Syntax | Category::Eof => SkipReason::Json,
    }
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
    read.map_err(|error| match error.is_io() {
        true => io(path, error.into()),
        false => wrong(path, 0, &error),
    })
}

/// What some editors write before a text.
pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

fn open(path: &Path) -> Result<BufReader<File>, DataError> {
    let file = File::open(path).map_err(|source| io(path, source))?;
    let mut file = BufReader::with_capacity(1 << 18, file);
    if file
        .fill_buf()
        .map_err(|source| io(path, source))?
        .starts_with(BYTE_ORDER_MARK)
    {
        file.consume(BYTE_ORDER_MARK.len());
    }
    Ok(file)
}

fn io(path: &Path, source: std::io::Error) -> DataError {
    DataError::Io {
        path: path.to_owned(),
        source,
    }
}

/// `before` lines stand before the text that was parsed.
fn wrong(path: &Path, before: usize, error: &serde_json::Error) -> DataError {
    DataError::Annotations {
        path: path.to_owned(),
        // Of a line too long to be looked at, serde knows no place.
        line: before + error.line().max(1),
        column: error.column().max(1),
        reason: without_place(error),
    }
}

fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&place).unwrap_or(&text).to_owned()
}

/// Reads entries one by one, and remembers whether any could be.
#[derive(Default)]
struct Read {
    any_good: bool,
    first_wrong: Option<String>,
}

impl Read {
    /// The text is found whole first, so that one that does not fit leaves the next in its place.
    fn entry<T: DeserializeOwned>(&mut self, name: impl fmt::Display, text: &RawValue) -> Entry<T> {
        let entry = serde_json::from_str(text.get());
        self.any_good |= entry.is_ok();
        entry.map_err(|error| {
            let first = || format!("entry {name}: {}", without_place(&error));
            self.first_wrong.get_or_insert_with(first);
            fault(&error)
        })
    }

    /// If there are entries and none could be read, it is another kind of file.
    fn finish<E: Error>(self) -> Result<(), E> {
        match self.first_wrong {
            Some(first) if !self.any_good => Err(E::custom(first)),
            _ => Ok(()),
        }
    }
}

/// A list whose entries are handed on.
struct List<T, F>(F, PhantomData<T>);

impl<'de, T: DeserializeOwned, F: FnMut(usize, Entry<T>)> DeserializeSeed<'de> for List<T, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de, T: DeserializeOwned, F: FnMut(usize, Entry<T>)> Visitor<'de> for List<T, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a list of annotations")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        let mut read = Read::default();
        let mut number = 0;
        while let Some(text) = list.next_element::<Box<RawValue>>()? {
            number += 1;
            self.0(number, read.entry(number, &text));
        }
        read.finish()
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
struct Entries<T, F>(F, PhantomData<T>);

impl<'de, T: DeserializeOwned, F: FnMut(String, Entry<T>)> DeserializeSeed<'de> for Entries<T, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de, T: DeserializeOwned, F: FnMut(String, Entry<T>)> Visitor<'de> for Entries<T, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object with an annotation a key")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let mut read = Read::default();
        while let Some((name, text)) = map.next_entry::<String, Box<RawValue>>()? {
            let entry = read.entry(format_args!("{name:?}"), &text);
            self.0(name, entry);
        }
        read.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_too_long_is_passed_over() {
        let long = std::io::repeat(b'a').take(2 * MAX_LINE);
        let mut file = BufReader::new((&b"first\n"[..]).chain(long).chain(&b"\nlast"[..]));
        let mut line = Vec::new();
        let mut next = || {
            let whole = read_line(&mut file, &mut line).expect("a line");
            (whole, line.len() as u64, line.first().copied())
        };
        assert_eq!(next(), (true, 6, Some(b'f')));
        assert_eq!(next(), (false, MAX_LINE, Some(b'a')));
        assert_eq!(next(), (true, 4, Some(b'l')));
        assert_eq!(next(), (true, 0, None));
    }
}
