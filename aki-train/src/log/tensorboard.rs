//! Event files that `TensorBoard` reads.
//!
//! An event file is a row of `TFRecord`s, each with an `Event` protobuf. Only scalars are
//! written, so the few fields are encoded by hand:
//!
//! ```text
//! TFRecord  u64 length | u32 masked crc32c of length | data | u32 masked crc32c of data
//! Event     wall_time: double = 1, step: int64 = 2, file_version: string = 3, summary = 5
//! Summary   value = 1 { tag: string = 1, simple_value: float = 2 }
//! ```
//!
//! Sources: `tensorflow/core/lib/io/record_writer.cc`, `tensorboard/compat/proto/event.proto`
//! and `summary.proto`. `tests/reference/read_tensorboard.py` reads a folder of them back with
//! `TensorBoard` itself.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What the names of event files begin with; `TensorBoard` looks for it.
pub(crate) const EVENTS: &str = "events.out.tfevents.";

/// Protobuf wire types: the low three bits of a field's key.
const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const BYTES: u8 = 2;
const FIXED32: u8 = 5;

/// The first event of every file; `TensorBoard` takes files without it for the format before.
const FILE_VERSION: &[u8] = b"brain.Event:2";

/// Appends scalars to an event file.
#[derive(Debug)]
pub struct EventWriter {
    file: BufWriter<File>,
}

impl EventWriter {
    /// Starts a new event file in `dir`, which is created if need be.
    ///
    /// `TensorBoard` joins all event files of a folder, so a resumed run starts another one.
    ///
    /// # Errors
    ///
    /// Returns the error of the system if the folder or the file can't be made.
    pub fn create(dir: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let now = since_epoch();
        let mut writer = Self {
            file: BufWriter::new(create_new(dir, now.as_secs())?),
        };
        let mut event = event_at(now);
        put_bytes(&mut event, 3, FILE_VERSION);
        writer.put_record(&event)?;
        writer.flush()?;
        Ok(writer)
    }

    /// Appends one point of the curve `tag`.
    ///
    /// # Errors
    ///
    /// Returns the error of the system if the file can't be written.
    pub fn scalar(&mut self, tag: &str, step: i64, value: f32) -> io::Result<()> {
        self.put_record(&scalar_event(since_epoch(), tag, step, value))
    }

    /// Hands all points to the system, so that `TensorBoard` sees them.
    ///
    /// # Errors
    ///
    /// Returns the error of the system if the file can't be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }

    fn put_record(&mut self, data: &[u8]) -> io::Result<()> {
        let length = (data.len() as u64).to_le_bytes();
        self.file.write_all(&length)?;
        self.file.write_all(&masked_crc(&length).to_le_bytes())?;
        self.file.write_all(data)?;
        self.file.write_all(&masked_crc(data).to_le_bytes())
    }
}

/// Makes `events.out.tfevents.{seconds}.{process}.{n}`, with the first `n` that is free: a test
/// or a quick resume may start two files within a second.
fn create_new(dir: &Path, seconds: u64) -> io::Result<File> {
    let process = process::id();
    let mut n = 0;
    loop {
        let path = dir.join(format!("{EVENTS}{seconds}.{process}.{n}"));
        match OpenOptions::new().write(true).create_new(true).open(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => n += 1,
            made => return made,
        }
    }
}

/// A clock before 1970 counts as 1970: the time only labels the points.
fn since_epoch() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// CRCs are masked since the CRC of data that holds its own CRC is problematic.
fn masked_crc(data: &[u8]) -> u32 {
    crc32c::crc32c(data)
        .rotate_right(15)
        .wrapping_add(0xa282_ead8)
}

fn scalar_event(time: Duration, tag: &str, step: i64, value: f32) -> Vec<u8> {
    let mut point = Vec::new();
    put_bytes(&mut point, 1, tag.as_bytes());
    put_key(&mut point, 2, FIXED32);
    point.extend(value.to_le_bytes());
    let mut summary = Vec::new();
    put_bytes(&mut summary, 1, &point);

    let mut event = event_at(time);
    put_key(&mut event, 2, VARINT);
    // int64 is the two's complement as unsigned: ten bytes for negative steps.
    put_varint(&mut event, step as u64);
    put_bytes(&mut event, 5, &summary);
    event
}

fn event_at(time: Duration) -> Vec<u8> {
    let mut event = Vec::new();
    put_key(&mut event, 1, FIXED64);
    event.extend(time.as_secs_f64().to_le_bytes());
    event
}

fn put_bytes(message: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    put_key(message, field, BYTES);
    put_varint(message, bytes.len() as u64);
    message.extend(bytes);
}

/// All fields here are below 16, so that a key is one byte.
fn put_key(message: &mut Vec<u8>, field: u8, wire_type: u8) {
    message.push(field << 3 | wire_type);
}

fn put_varint(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        message.push(value as u8 | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn files(dir: &Path) -> Vec<PathBuf> {
        std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect()
    }

    /// The data of all records of a file, with their CRCs checked.
    fn records(mut bytes: &[u8]) -> Vec<Vec<u8>> {
        fn take<'a>(bytes: &mut &'a [u8], count: usize) -> &'a [u8] {
            let (head, tail) = bytes.split_at(count);
            *bytes = tail;
            head
        }
        let mut records = Vec::new();
        while !bytes.is_empty() {
            let length = take(&mut bytes, 8);
            assert_eq!(take(&mut bytes, 4), masked_crc(length).to_le_bytes());
            let length = u64::from_le_bytes(length.try_into().unwrap());
            let data = take(&mut bytes, length as usize);
            assert_eq!(take(&mut bytes, 4), masked_crc(data).to_le_bytes());
            records.push(data.to_vec());
        }
        records
    }

    #[test]
    fn crcs_match_known_vectors() {
        // RFC 3720, B.4, and the "check" value of CRC-32C.
        assert_eq!(crc32c::crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
        // tensorboard 2.21.0: masked_crc32c(struct.pack("<Q", 24)) is 0x224b7fa3.
        assert_eq!(masked_crc(&24_u64.to_le_bytes()), 0x224b_7fa3);
    }

    #[test]
    fn events_match_bytes_of_the_protobuf_library() {
        // protobuf 7.36.2: Event(wall_time=1.5, step=300, summary=Summary(value=[
        //     Summary.Value(tag="loss", simple_value=0.25)])).SerializeToString()
        let expected = b"\x09\x00\x00\x00\x00\x00\x00\xf8\x3f\x10\xac\x02\
                         \x2a\x0d\x0a\x0b\x0a\x04loss\x15\x00\x00\x80\x3e";
        let event = scalar_event(Duration::from_millis(1500), "loss", 300, 0.25);
        assert_eq!(event, expected);
    }

    #[test]
    fn negative_steps_take_ten_bytes() {
        let event = scalar_event(Duration::ZERO, "", -1, 0.0);
        assert_eq!(
            event[9..20],
            *b"\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"
        );
    }

    #[test]
    fn a_file_opens_with_its_version_and_holds_all_points() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = EventWriter::create(&dir.path().join("run")).unwrap();
        writer.scalar("train/loss", 1, 2.0).unwrap();
        writer.scalar("train/loss", 2, f32::NAN).unwrap();
        writer.flush().unwrap();

        let files = files(&dir.path().join("run"));
        let [file] = files.as_slice() else {
            panic!("one file, not {files:?}")
        };
        let name = file.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with("events.out.tfevents."), "{name}");
        let records = records(&std::fs::read(file).unwrap());
        assert_eq!(records.len(), 3);
        assert_eq!(records[0][9..], *b"\x1a\x0dbrain.Event:2");
        assert_eq!(records[1][9..11], *b"\x10\x01");
        assert!(records[1].ends_with(b"\x0a\x0atrain/loss\x15\x00\x00\x00\x40"));
    }

    #[test]
    fn two_writers_of_a_second_make_two_files() {
        let dir = tempfile::tempdir().unwrap();
        let _first = EventWriter::create(dir.path()).unwrap();
        let _second = EventWriter::create(dir.path()).unwrap();
        assert_eq!(files(dir.path()).len(), 2);
    }
}
