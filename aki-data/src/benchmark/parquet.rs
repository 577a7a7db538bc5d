//! CV-Bench as it is published: parquet, with a question a row and its picture in it.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArrayType, DataType};
use parquet::errors::{ParquetError, Result as Parquet};
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};

use crate::DataError;
use crate::fingerprint::fnv1a;

/// Rows that are read at once where only their pictures' hashes are kept.
const AT_ONCE: usize = 16;

/// Rows of a group, all of whose questions are read at once, at most.
const MAX_ROWS: i64 = 1 << 20;

/// A parquet file.
pub(super) struct Table {
    path: PathBuf,
    reader: SerializedFileReader<File>,
    /// Where the pictures were last read.
    cursor: Mutex<Option<Cursor>>,
}

/// A place among the pictures.
struct Cursor {
    group: usize,
    /// The row of the group that comes next.
    next: usize,
    column: Column<ByteArrayType>,
}

/// A column of a row group, with the levels at which a value is there, and a record begins if the
/// lowest is not the only one.
struct Column<T: DataType> {
    reader: ColumnReaderImpl<T>,
    max_definition: i16,
    max_repetition: i16,
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Table {
    pub(super) fn open(path: &Path) -> Result<Self, DataError> {
        let file = File::open(path).map_err(|source| DataError::Io {
            path: path.to_owned(),
            source,
        })?;
        let reader = unpanicked(|| {
            let reader = SerializedFileReader::new(file)?;
            for group in reader.metadata().row_groups() {
                let rows = group.num_rows();
                if !(0..=MAX_ROWS).contains(&rows) {
                    let reason = format!("a row group of {rows} rows; {MAX_ROWS} may be");
                    return Err(ParquetError::General(reason));
                }
            }
            Ok(reader)
        });
        Ok(Self {
            path: path.to_owned(),
            reader: reader.map_err(|error| fault(path, "its metadata".to_owned(), &error))?,
            cursor: Mutex::default(),
        })
    }

    /// How many row groups there are.
    pub(super) fn groups(&self) -> usize {
        self.reader.num_row_groups()
    }

    /// A column of texts, numbers, or lists of texts: of each row of the group its items, of which
    /// there is one if it is no list, or none if nothing is there.
    pub(super) fn column(&self, group: usize, name: &str) -> Result<Vec<Vec<String>>, DataError> {
        self.told(group, name, |group| {
            let rows = group.metadata().num_rows() as usize;
            let (reader, levels) = leaf(group, name)?;
            let items = match reader {
                ColumnReader::ByteArrayColumnReader(reader) => {
                    Column::new(reader, levels).next(rows, |it| it.data().to_vec())?
                }
                ColumnReader::Int64ColumnReader(reader) => {
                    Column::new(reader, levels).next(rows, |it| it.to_string().into_bytes())?
                }
                ColumnReader::Int32ColumnReader(reader) => {
                    Column::new(reader, levels).next(rows, |it| it.to_string().into_bytes())?
                }
                _ => {
                    return Err(ParquetError::General(
                        "neither texts nor numbers".to_owned(),
                    ));
                }
            };
            let text = |it| {
                String::from_utf8(it).map_err(|_| ParquetError::General("no UTF-8".to_owned()))
            };
            let texts = |row: Vec<Vec<u8>>| row.into_iter().map(text).collect::<Parquet<_>>();
            items.into_iter().map(texts).collect()
        })
    }

    /// Hashes of the pictures of a row group.
    pub(super) fn hashes(&self, group: usize) -> Result<Vec<u64>, DataError> {
        self.told(group, PICTURES, |group| {
            let rows = group.metadata().num_rows() as usize;
            let mut column = pictures(group)?;
            let mut hashes = Vec::new();
            while hashes.len() < rows {
                let some = AT_ONCE.min(rows - hashes.len());
                let some = column.next(some, |picture| fnv1a(picture.data().iter().copied()))?;
                hashes.extend(
                    some.iter()
                        .map(|it| it.first().copied().unwrap_or_default()),
                );
            }
            Ok(hashes)
        })
    }

    /// The picture of a row of a group. One after the other is quickest.
    pub(super) fn picture(&self, group: usize, row: usize) -> Result<Vec<u8>, DataError> {
        let mut place = self.cursor.lock().unwrap_or_else(PoisonError::into_inner);
        let cursor = place
            .take()
            .filter(|it| it.group == group && it.next <= row);
        let picture = self.told(group, PICTURES, |reader| {
            let mut cursor = match cursor {
                Some(cursor) => cursor,
                None => Cursor {
                    group,
                    next: 0,
                    column: pictures(reader)?,
                },
            };
            cursor.column.reader.skip_records(row - cursor.next)?;
            let picture = cursor.column.next(1, |it| it.data().to_vec())?;
            cursor.next = row + 1;
            *place = Some(cursor);
            Ok(picture.into_iter().flatten().next())
        })?;
        picture.filter(|it| !it.is_empty()).ok_or_else(|| {
            let place = format!("row group {group}, row {row}, column {PICTURES}");
            fault(
                &self.path,
                place,
                &ParquetError::General("no picture".to_owned()),
            )
        })
    }

    /// What is read of a row group; an error with its place.
    fn told<T>(
        &self,
        group: usize,
        column: &str,
        read: impl FnOnce(&dyn RowGroupReader) -> Parquet<T>,
    ) -> Result<T, DataError> {
        let read = || read(&*self.reader.get_row_group(group)?);
        unpanicked(read).map_err(|error| {
            let place = format!("row group {group}, column {column}");
            fault(&self.path, place, &error)
        })
    }
}

/// The column of the pictures' bytes.
const PICTURES: &str = "image.bytes";

fn fault(path: &Path, place: String, error: &ParquetError) -> DataError {
    DataError::Benchmark {
        path: path.to_owned(),
        place,
        reason: format!("{error}; is it CV-Bench's file, and whole? Download it again"),
    }
}

/// The crate reads past the end of some damaged pages, and panics.
fn unpanicked<T>(read: impl FnOnce() -> Parquet<T>) -> Parquet<T> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Err(damaged("bytes")))
}

/// The column of this name, or its one leaf if it is a list, and the levels of [`Column`].
fn leaf(group: &dyn RowGroupReader, name: &str) -> Parquet<(ColumnReader, [i16; 2])> {
    let columns = group.metadata().columns();
    let is_it = |path: &str| path == name || path.starts_with(&format!("{name}.list."));
    let found = columns
        .iter()
        .position(|it| is_it(&it.column_path().string()));
    let missing = || {
        let names: Vec<_> = columns.iter().map(|it| it.column_path().string()).collect();
        ParquetError::General(format!("there is no such column, but {}", names.join(", ")))
    };
    let at = found.ok_or_else(missing)?;
    let levels = columns[at].column_descr();
    let levels = [levels.max_def_level(), levels.max_rep_level()];
    Ok((group.get_column_reader(at)?, levels))
}

fn pictures(group: &dyn RowGroupReader) -> Parquet<Column<ByteArrayType>> {
    match leaf(group, PICTURES)? {
        (ColumnReader::ByteArrayColumnReader(reader), levels) => Ok(Column::new(reader, levels)),
        _ => Err(ParquetError::General("no bytes".to_owned())),
    }
}

impl<T: DataType> Column<T> {
    fn new(reader: ColumnReaderImpl<T>, [max_definition, max_repetition]: [i16; 2]) -> Self {
        Self {
            reader,
            max_definition,
            max_repetition,
        }
    }

    /// The next so many records, each as its items.
    fn next<U>(&mut self, count: usize, of: impl Fn(&T::T) -> U) -> Parquet<Vec<Vec<U>>> {
        let (mut defined, mut repeated, mut values) = (Vec::new(), Vec::new(), Vec::new());
        let (_, _, levels) = self.reader.read_records(
            count,
            Some(&mut defined),
            Some(&mut repeated),
            &mut values,
        )?;
        let mut values = values.iter();
        let mut records: Vec<Vec<U>> = Vec::new();
        for level in 0..levels {
            if self.max_repetition == 0 || repeated.get(level) == Some(&0) {
                records.push(Vec::new());
            }
            if self.max_definition == 0 || defined.get(level) == Some(&self.max_definition) {
                let item = values.next().zip(records.last_mut());
                let (value, record) = item.ok_or_else(|| damaged("values"))?;
                record.push(of(value));
            }
        }
        match records.len() == count {
            true => Ok(records),
            false => Err(damaged("rows")),
        }
    }
}

fn damaged(what: &str) -> ParquetError {
    ParquetError::General(format!("fewer {what} than it says"))
}
