//! Where the entries of a file stand, so that they can be read in any order, one at a time.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::json::BYTE_ORDER_MARK;
use crate::DataError;

/// An entry of a file: 16 bytes, since there are millions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Its line's number, or its own in a list, from 1.
    pub(crate) number: u32,
    /// Bytes, as far as that many can be held.
    pub(crate) len: u32,
    start: u64,
}

/// A file with a JSON object a line, or with all in one list.
pub(crate) struct Entries {
    file: File,
    path: PathBuf,
}

impl Entries {
    /// Walks the file once and finds its entries. They are not parsed.
    ///
    /// # Errors
    /// [`DataError::Io`]; [`DataError::Annotations`] if a list is cut off, or more follows it.
    pub(crate) fn find(path: &Path) -> Result<(Self, Vec<Place>), DataError> {
        let io = |source| DataError::Io {
            path: path.to_owned(),
            source,
        };
        let mut file = BufReader::with_capacity(1 << 18, File::open(path).map_err(io)?);
        let mut scan = Scan::default();
        loop {
            let buffer = file.fill_buf().map_err(io)?;
            if buffer.is_empty() {
                break;
            }
            if scan.at == 0 && buffer.starts_with(BYTE_ORDER_MARK) {
                scan.at = BYTE_ORDER_MARK.len() as u64;
                file.consume(BYTE_ORDER_MARK.len());
                continue;
            }
            for byte in buffer {
                scan.take(*byte);
            }
            let len = buffer.len();
            file.consume(len);
        }
        let places = scan.finish();
        let places = places.map_err(|(line, reason)| DataError::Annotations {
            path: path.to_owned(),
            line,
            column: 1,
            reason: reason.to_owned(),
        })?;
        let entries = Self {
            file: file.into_inner(),
            path: path.to_owned(),
        };
        Ok((entries, places))
    }

    /// The text of an entry.
    ///
    /// # Errors
    /// [`DataError::Io`].
    pub(crate) fn read(&mut self, place: Place) -> Result<Vec<u8>, DataError> {
        let mut bytes = vec![0; place.len as usize];
        let read = self.file.seek(SeekFrom::Start(place.start));
        let read = read.and_then(|_| self.file.read_exact(&mut bytes));
        match read {
            Ok(()) => Ok(bytes),
            Err(source) => Err(DataError::Io {
                path: self.path.clone(),
                source,
            }),
        }
    }
}

/// Cuts a file at its line ends, or a list at its commas.
#[derive(Default)]
struct Scan {
    places: Vec<Place>,
    at: u64,
    line: usize,
    number: u32,
    /// First and last byte of the entry so far, white space around it left out.
    entry: Option<(u64, u64)>,
    /// Of a list, how it goes on; none while it is not known to be one.
    list: Option<List>,
    any: bool,
}

#[derive(Default)]
struct List {
    /// Brackets and braces that are open.
    depth: usize,
    in_text: bool,
    escaped: bool,
    /// Whether anything follows the list.
    more: bool,
}

impl Scan {
    fn take(&mut self, byte: u8) {
        let at = self.at;
        self.at += 1;
        self.line += usize::from(byte == b'\n');
        let blank = byte.is_ascii_whitespace();
        if !blank && !self.any {
            self.any = true;
            if byte == b'[' {
                self.list = Some(List {
                    depth: 1,
                    ..List::default()
                });
                self.number = 0;
                return;
            }
        }
        let ends = match &mut self.list {
            None => byte == b'\n',
            Some(list) => list.ends_entry(byte),
        };
        if ends {
            self.close();
        } else if !blank {
            let (first, _) = self.entry.unwrap_or((at, at));
            self.entry = Some((first, at));
        }
    }

    fn close(&mut self) {
        self.number = self.number.saturating_add(1);
        if let Some((start, last)) = self.entry.take() {
            self.places.push(Place {
                number: self.number,
                len: u32::try_from(last - start + 1).unwrap_or(u32::MAX),
                start,
            });
        }
    }

    /// The entries, or the line and what is wrong with it.
    fn finish(mut self) -> Result<Vec<Place>, (usize, &'static str)> {
        match &self.list {
            None => self.close(),
            Some(list) if list.more => return Err((self.line + 1, "more follows the list")),
            Some(list) if list.depth > 0 => return Err((self.line + 1, "the list is cut off")),
            Some(_) => {}
        }
        Ok(self.places)
    }
}

impl List {
    /// Whether a byte ends an entry rather than belong to it.
    fn ends_entry(&mut self, byte: u8) -> bool {
        if self.in_text {
            let quoted = self.escaped;
            self.escaped = byte == b'\\' && !quoted;
            self.in_text = byte != b'"' || quoted;
            return false;
        }
        match byte {
            _ if self.depth == 0 => self.more |= !byte.is_ascii_whitespace(),
            b'"' => self.in_text = true,
            b'[' | b'{' => self.depth += 1,
            b']' | b'}' => {
                self.depth -= 1;
                return self.depth == 0;
            }
            b',' => return self.depth == 1,
            _ => {}
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Numbers and texts of what is found.
    fn found(text: &[u8]) -> Result<Vec<(u32, String)>, DataError> {
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        std::fs::write(file.path(), text).expect("writing");
        let (mut entries, places) = Entries::find(file.path())?;
        let mut read = |place: Place| {
            let text = entries.read(place).expect("an entry");
            (place.number, String::from_utf8_lossy(&text).into_owned())
        };
        // Backwards, since they may be read in any order.
        let mut found: Vec<_> = places.into_iter().rev().map(&mut read).collect();
        found.reverse();
        Ok(found)
    }

    #[test]
    fn lines_and_lists_have_the_same_entries() {
        let expected = |numbers: [u32; 3]| {
            let texts = [r#"{"a": "]},\"["}"#, r#"{"b": [1, {}]}"#, "7"];
            numbers
                .into_iter()
                .zip(texts.map(str::to_owned))
                .collect::<Vec<_>>()
        };
        let lines = b"\n {\"a\": \"]},\\\"[\"} \r\n\n{\"b\": [1, {}]}\n7";
        assert_eq!(found(lines).expect("lines"), expected([2, 4, 5]));
        let list = b"\n\n[ {\"a\": \"]},\\\"[\"} ,\n{\"b\": [1, {}]},7]\n";
        assert_eq!(found(list).expect("a list"), expected([1, 2, 3]));
        assert_eq!(found(b" \n").expect("nothing"), []);
        assert_eq!(found(b"[]").expect("nothing"), []);
        // A byte order mark is no part of the text.
        let seven = [(1, "7".to_owned())];
        assert_eq!(found(b"\xef\xbb\xbf[7]").expect("a list"), seven);
        assert_eq!(found(b"\xef\xbb\xbf7\n").expect("a line"), seven);
    }

    #[test]
    fn a_damaged_list_is_told() {
        for (text, reason) in [
            ("[{\"a\": 1}, {", "cut off"),
            ("[\"]", "cut off"),
            ("[{}] {}", "more follows"),
        ] {
            let error = found(text.as_bytes()).expect_err(text).to_string();
            assert!(error.contains(reason), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_cut_within_bounds(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            text in r#"[\[\]{}",\\ a\n]{0,30}"#,
        ) {
            for bytes in [&bytes[..], text.as_bytes()] {
                if let Ok(found) = found(bytes) {
                    let len: usize = found.iter().map(|(_, text)| text.trim().len()).sum();
                    prop_assert!(len <= 3 * bytes.len());
                }
            }
        }

        #[test]
        fn a_list_of_values_is_cut_into_them(
            texts in prop::collection::vec(".{0,9}", 0..5), nested: bool,
        ) {
            let value = |text: &String| match nested {
                true => serde_json::json!({"text": [text]}),
                false => serde_json::json!(text),
            };
            let values: Vec<_> = texts.iter().map(value).collect();
            let list = serde_json::to_vec_pretty(&values).expect("json");
            let found = found(&list).expect("a list");
            let again: Vec<serde_json::Value> = found
                .iter()
                .map(|(_, text)| serde_json::from_str(text).expect("a value"))
                .collect();
            prop_assert_eq!(again, values);
        }
    }
}
