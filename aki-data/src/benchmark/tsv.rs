//! Tables as pandas writes them: tab-separated, in quotes where a field has tabs, newlines or quotes.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use csv::{ByteRecord, Reader, ReaderBuilder};

use crate::DataError;

/// Bytes of a row: above those of a row with many pictures by far. Behind a quote that is not
/// closed all of a file of gigabytes would be one field.
const MAX_ROW: u64 = 256 << 20;

/// A table: what its columns are called.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) path: PathBuf,
    columns: Vec<String>,
}

/// One row of a table.
pub(super) struct Row<'a> {
    table: &'a Table,
    record: &'a ByteRecord,
    /// From 1; the header is none.
    number: usize,
    /// Where it begins, if it was read from the beginning of the file.
    line: Option<u64>,
}

impl Table {
    /// Reads a table and gives every row to `each`.
    ///
    /// # Errors
    /// If the file cannot be read, lacks one of the columns `needed`, or has a row with more or fewer
    /// fields than columns; what `each` returns.
    pub(super) fn read(
        path: &Path,
        needed: &[&str],
        mut each: impl FnMut(&Row<'_>) -> Result<(), DataError>,
    ) -> Result<Self, DataError> {
        let mut table = Self {
            path: path.to_owned(),
            columns: Vec::new(),
        };
        let mut reader = table.reader(0)?;
        let mut record = ByteRecord::new();
        table.next(&mut reader, &mut record, 0)?;
        let names = record
            .iter()
            .map(|name| String::from_utf8_lossy(name).into_owned());
        table.columns = names.collect();
        table.check(needed)?;
        for number in 1.. {
            if !table.next(&mut reader, &mut record, number)? {
                break;
            }
            let row = Row {
                table: &table,
                record: &record,
                number,
                line: record.position().map(csv::Position::line),
            };
            if record.len() != table.columns.len() {
                return Err(row.fault(
                    "",
                    format!(
                        "{} fields for {} columns; is the file whole? Download it again",
                        record.len(),
                        table.columns.len()
                    ),
                ));
            }
            each(&row)?;
        }
        Ok(table)
    }

    /// Reads the row that begins at a byte once more and gives it to `of`.
    pub(super) fn read_again<T>(
        &self,
        byte: u64,
        number: usize,
        of: impl FnOnce(&Row<'_>) -> Result<T, DataError>,
    ) -> Result<T, DataError> {
        let mut record = ByteRecord::new();
        self.next(&mut self.reader(byte)?, &mut record, number)?;
        of(&Row {
            table: self,
            record: &record,
            number,
            line: None,
        })
    }

    fn reader(&self, byte: u64) -> Result<Reader<Bounded>, DataError> {
        let file = File::open(&self.path).and_then(|mut file| {
            file.seek(SeekFrom::Start(byte))?;
            Ok(file)
        });
        let bounded = Bounded {
            file: file.map_err(|source| self.io(source))?,
            left: MAX_ROW,
        };
        let mut builder = ReaderBuilder::new();
        builder.delimiter(b'\t').has_headers(false).flexible(true);
        Ok(builder.buffer_capacity(1 << 16).from_reader(bounded))
    }

    /// Whether there is a next record; row 0 is the header.
    fn next(
        &self,
        reader: &mut Reader<Bounded>,
        record: &mut ByteRecord,
        number: usize,
    ) -> Result<bool, DataError> {
        reader.get_mut().left = MAX_ROW;
        reader.read_byte_record(record).map_err(|error| {
            if reader.get_ref().left == 0 {
                let reason = "above 256 MiB; is there a quote that is not closed? Download the \
                              file again";
                return self.fault(format!("row {number}"), reason.to_owned());
            }
            self.io(error.into())
        })
    }

    fn check(&self, needed: &[&str]) -> Result<(), DataError> {
        let missing: Vec<_> = needed
            .iter()
            .filter(|name| !self.has(name))
            .copied()
            .collect();
        if missing.is_empty() && self.columns.len() > 1 {
            return Ok(());
        }
        let shown: Vec<_> = self.columns.iter().take(30).map(String::as_str).collect();
        let mut shown = shown.join(", ");
        if let Some((end, _)) = shown.char_indices().nth(300) {
            shown.truncate(end);
            shown += "..";
        }
        let reason = format!(
            "there is no column {}, but {shown}; is it the kit's file, separated by tabs?",
            missing.join(", ")
        );
        Err(self.fault("header".to_owned(), reason))
    }

    fn has(&self, column: &str) -> bool {
        self.columns.iter().any(|it| it == column)
    }

    fn io(&self, source: std::io::Error) -> DataError {
        DataError::Io {
            path: self.path.clone(),
            source,
        }
    }

    fn fault(&self, place: String, reason: String) -> DataError {
        DataError::Benchmark {
            path: self.path.clone(),
            place,
            reason,
        }
    }
}

impl<'a> Row<'a> {
    /// Where it begins in the file.
    pub(super) fn byte(&self) -> u64 {
        self.record.position().map_or(0, csv::Position::byte)
    }

    /// Whether the table has such a column.
    pub(super) fn has(&self, column: &str) -> bool {
        self.table.has(column)
    }

    /// The bytes of a field; none if there is no such column.
    pub(super) fn bytes(&self, column: &str) -> &'a [u8] {
        let at = self.table.columns.iter().position(|it| it == column);
        at.and_then(|at| self.record.get(at)).unwrap_or_default()
    }

    /// A field, if there is such a column and something in it. pandas leaves a missing value empty;
    /// some files have `nan`. Other words that pandas takes for missing (`None`, `NA`) are texts
    /// here: there are options that say so.
    pub(super) fn maybe(&self, column: &str) -> Result<Option<&'a str>, DataError> {
        let text = std::str::from_utf8(self.bytes(column))
            .map_err(|_| self.fault(column, "no UTF-8; download the file again".to_owned()))?;
        Ok(Some(text).filter(|it| !it.is_empty() && !it.eq_ignore_ascii_case("nan")))
    }

    /// A field that must not be empty.
    pub(super) fn text(&self, column: &str) -> Result<&'a str, DataError> {
        self.maybe(column)?.ok_or_else(|| {
            let reason = "empty; is the file whole? Download it again";
            self.fault(column, reason.to_owned())
        })
    }

    pub(super) fn fault(&self, column: &str, reason: String) -> DataError {
        let line = self
            .line
            .map_or_else(String::new, |line| format!(" (line {line})"));
        let mut place = format!("row {}{line}", self.number);
        if !column.is_empty() {
            place.extend([", column ", column]);
        }
        self.table.fault(place, reason)
    }
}

/// A file of which only so many bytes are read before someone says that it is well.
#[derive(Debug)]
struct Bounded {
    file: File,
    left: u64,
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.left == 0 {
            return Err(std::io::Error::other("too much for one row"));
        }
        let read = self.file.read(buffer)?;
        self.left = self.left.saturating_sub(read as u64);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    fn file(content: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(content).expect("writing");
        file
    }

    /// Rows, each with where it begins.
    type Rows = Vec<(u64, Vec<String>)>;

    fn read(path: &Path) -> Result<(Rows, Table), DataError> {
        let mut rows = Vec::new();
        let table = Table::read(path, &["index"], |row| {
            let fields = row.record.iter();
            let fields = fields.map(|it| String::from_utf8_lossy(it).into_owned());
            rows.push((row.byte(), fields.collect()));
            Ok(())
        })?;
        Ok((rows, table))
    }

    fn error(content: &[u8]) -> String {
        let file = file(content);
        let error = read(file.path()).expect_err("an error").to_string();
        error.replace(&file.path().display().to_string(), "FILE")
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        assert_eq!(
            error(b"a\tb\n"),
            "cannot use the benchmark FILE: header: there is no column index, but a, b; is it the \
             kit's file, separated by tabs?"
        );
        assert_eq!(
            error(b"index\tb\n1\t\"x\ny\"\n2\n"),
            "cannot use the benchmark FILE: row 2 (line 4): 1 fields for 2 columns; is the file \
             whole? Download it again"
        );
        assert!(error(b"").contains("header"));
        assert!(error(b"index,question\n").contains("separated by tabs"));
    }

    #[test]
    fn missing_values_are_empty_or_nan() {
        let file = file(b"index\ta\tb\tc\n1\t\tnan\tNone\n");
        Table::read(file.path(), &["index"], |row| {
            assert_eq!(row.maybe("a").expect("a field"), None);
            assert_eq!(row.maybe("b").expect("a field"), None);
            assert_eq!(row.maybe("c").expect("a field"), Some("None"));
            assert_eq!(row.maybe("d").expect("no field"), None);
            let error = row.text("a").expect_err("an error").to_string();
            assert!(error.contains("row 1 (line 2), column a: empty"), "{error}");
            Ok(())
        })
        .expect("a table");
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_and_read_again(
            rows in prop::collection::vec(prop::collection::vec("[a\t\n\r\"' é,]{0,6}", 2), 1..5),
            crlf: bool, bom: bool,
        ) {
            let mut written = if bom { b"\xef\xbb\xbf".to_vec() } else { Vec::new() };
            let end = if crlf { "\r\n" } else { "\n" };
            written.extend(format!("index\ta\tb{end}").bytes());
            for (number, row) in rows.iter().enumerate() {
                let fields = row.iter().map(|field| {
                    let quoted = field.contains(['\t', '\n', '\r', '"']);
                    let doubled = field.replace('"', "\"\"");
                    if quoted { format!("\"{doubled}\"") } else { field.clone() }
                });
                let fields: Vec<_> = [number.to_string()].into_iter().chain(fields).collect();
                written.extend(format!("{}{end}", fields.join("\t")).bytes());
            }
            let file = file(&written);
            let (read, table) = read(file.path()).expect("a table");
            prop_assert_eq!(read.len(), rows.len());
            for (number, ((byte, fields), row)) in read.iter().zip(&rows).enumerate() {
                prop_assert_eq!(&fields[0], &number.to_string());
                prop_assert_eq!(&fields[1..], &row[..]);
                let again = table.read_again(*byte, number, |row| {
                    Ok([row.maybe("a")?.unwrap_or_default().to_owned(), row.maybe("b")?.unwrap_or_default().to_owned()])
                });
                prop_assert_eq!(&again.expect("a row")[..], &row[..]);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in "[index\t\n\r\"]{0,40}") {
            let _ = read(file(bytes.as_bytes()).path());
        }
    }
}
