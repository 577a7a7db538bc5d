//! `metrics.jsonl`: one line of JSON for each point of the learning curves.
//!
//! It is the record of a run: curves are drawn from it, and `TensorBoard` shows the same numbers.
//! Lines are only ever appended, each by one write, so that a killed run leaves at most its
//! last line torn. A resumed run first drops what was logged past its checkpoint
//! ([`truncate_after`]), since it trains those steps again.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize};

use crate::files::write_whole;

/// Why a metrics file can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum JsonlError {
    /// The system refused.
    #[error("cannot {action} the metrics file {}; check its folder and the free space", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A whole line isn't a record.
    #[error("{} line {line} is not a record of metrics ({reason}); remove or mend the line", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What the parser said.
        reason: String,
    },
    /// A stage that the run doesn't have, so it is neither before nor after the checkpoint.
    #[error(
        "stage \"{stage}\", met while resuming with {}, is none of the run's stages ({}); \
         name the stages as they were or start a new run folder",
        path.display(),
        stages.join(", ")
    )]
    UnknownStage {
        /// The file.
        path: PathBuf,
        /// The stage of the checkpoint or of a record.
        stage: String,
        /// The stages of the run.
        stages: Vec<String>,
    },
}

/// Which samples a record was measured on.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// The batch that was trained on.
    Train,
    /// Samples that are never trained on.
    Valid,
}

impl Split {
    /// Its name in logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Valid => "valid",
        }
    }
}

/// One point of the learning curves.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(expecting = "a JSON object")]
pub struct Record {
    /// The stage of the run.
    pub stage: String,
    /// Optimizer steps taken in this stage.
    pub step: usize,
    /// Which samples it was measured on.
    pub split: Split,
    /// Mean loss. JSON has no NaN: it is written as `null` and read back as NaN.
    #[serde(deserialize_with = "null_is_nan")]
    pub loss: f64,
    /// Share of right answers, 0 to 1, where the stage measures it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// Learning rate of the step, for training records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lr: Option<f64>,
    /// Samples trained on a second, over the step's own time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples_per_second: Option<f64>,
    /// Tokens trained on a second, padding left out, over the step's own time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_per_second: Option<f64>,
    /// Model FLOPs utilisation: the share, 0 to 1, of what the device computes at best, where that is
    /// known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mfu: Option<f64>,
    /// The share of the step, 0 to 1, that was spent waiting for its batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_wait: Option<f64>,
    /// Global norm of the gradients before they were clipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grad_norm: Option<f64>,
    /// Bytes in use: the device's, or on a CPU the process's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Seconds of training since the run began, pauses between its parts left out.
    pub seconds: f64,
}

impl Record {
    /// Its numbers beside step and seconds, under their names, in the order in which they are shown.
    pub(super) fn numbers(&self) -> [(&'static str, Option<f64>); 9] {
        [
            ("loss", Some(self.loss)),
            ("accuracy", self.accuracy),
            ("lr", self.lr),
            ("grad_norm", self.grad_norm),
            ("samples_per_second", self.samples_per_second),
            ("tokens_per_second", self.tokens_per_second),
            ("mfu", self.mfu),
            ("data_wait", self.data_wait),
            ("memory", self.memory.map(|bytes| bytes as f64)),
        ]
    }

    /// A record of a loss alone.
    pub fn new(stage: &str, step: usize, split: Split, loss: f64, seconds: f64) -> Self {
        Self {
            stage: stage.to_owned(),
            step,
            split,
            loss,
            accuracy: None,
            lr: None,
            samples_per_second: None,
            tokens_per_second: None,
            mfu: None,
            data_wait: None,
            grad_norm: None,
            memory: None,
            seconds,
        }
    }
}

fn null_is_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

/// Appends records to a metrics file.
#[derive(Debug)]
pub struct JsonlWriter {
    file: File,
    path: PathBuf,
}

impl JsonlWriter {
    /// Opens the file at `path`, creating it if need be. A torn last line is cut off, as the
    /// next record would be glued to it.
    ///
    /// # Errors
    ///
    /// Returns [`JsonlError`] if the file can't be opened or has a line that is no record.
    pub fn append(path: &Path) -> Result<Self, JsonlError> {
        let mut options = OpenOptions::new();
        let file = options.create(true).append(true).open(path);
        let mut file = file.map_err(failed("open", path))?;
        let contents = Contents::read(path)?;
        if contents.torn {
            file.set_len(contents.whole_len() as u64)
                .map_err(failed("mend", path))?;
        } else if contents.bytes.last().is_some_and(|&last| last != b'\n') {
            file.write_all(b"\n").map_err(failed("mend", path))?;
        }
        Ok(Self {
            file,
            path: path.to_owned(),
        })
    }

    /// Appends one record: one write, so that a line is there whole or not at all unless the
    /// process is killed within it.
    ///
    /// # Errors
    ///
    /// Returns [`JsonlError::Io`] if the line can't be written.
    pub fn write(&mut self, record: &Record) -> Result<(), JsonlError> {
        let line = serde_json::to_vec(record).map_err(io::Error::from);
        let mut line = line.map_err(failed("write a record to", &self.path))?;
        line.push(b'\n');
        // `File` has no buffer of its own: the line is with the system once this returns.
        self.file
            .write_all(&line)
            .map_err(failed("write a record to", &self.path))
    }
}

/// Reads all records of the file at `path`, and whether its last line was torn and left out. A file
/// that isn't there has none.
///
/// # Errors
///
/// Returns [`JsonlError`] if the file can't be read or a line other than the last is no record.
pub fn read(path: &Path) -> Result<(Vec<Record>, bool), JsonlError> {
    let contents = match Contents::read(path) {
        Err(JsonlError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Ok((Vec::new(), false));
        }
        contents => contents?,
    };
    let records = contents
        .lines
        .into_iter()
        .map(|(record, _)| record)
        .collect();
    Ok((records, contents.torn))
}

/// Drops the records that come after step `step` of `stage`, as a run that resumes there logs
/// them again. Returns how many lines were dropped, a torn last line among them.
///
/// The file is replaced as a whole, so that a kill meanwhile leaves the old one. A file that
/// isn't there has nothing to drop.
///
/// # Errors
///
/// Returns [`JsonlError`] if the file can't be read or replaced, or if `stage` or that of a
/// record isn't in `stage_order`.
pub fn truncate_after(
    path: &Path,
    stage_order: &[String],
    stage: &str,
    step: usize,
) -> Result<usize, JsonlError> {
    let position = |stage: &str| {
        let known = stage_order.iter().position(|known| known == stage);
        known.ok_or_else(|| JsonlError::UnknownStage {
            path: path.to_owned(),
            stage: stage.to_owned(),
            stages: stage_order.to_vec(),
        })
    };
    let last = (position(stage)?, step);
    if !path.exists() {
        return Ok(0);
    }
    let contents = Contents::read(path)?;
    let mut kept = Vec::new();
    let mut dropped = usize::from(contents.torn);
    for (record, line) in &contents.lines {
        if (position(&record.stage)?, record.step) <= last {
            // The bytes as they were, with fields that a later version may have added.
            kept.extend_from_slice(&contents.bytes[line.clone()]);
            kept.push(b'\n');
        } else {
            dropped += 1;
        }
    }
    if dropped > 0 {
        write_whole(path, &kept).map_err(failed("replace", path))?;
    }
    Ok(dropped)
}

/// The bytes of a metrics file, and where its records are.
struct Contents {
    bytes: Vec<u8>,
    /// Each record with the bytes of its line, without the newline.
    lines: Vec<(Record, std::ops::Range<usize>)>,
    torn: bool,
}

impl Contents {
    fn read(path: &Path) -> Result<Self, JsonlError> {
        let bytes = std::fs::read(path).map_err(failed("read", path))?;
        let mut lines = Vec::new();
        let mut torn = false;
        let mut start = 0;
        for (number, line) in bytes.split_inclusive(|&byte| byte == b'\n').enumerate() {
            let text = line.trim_ascii_end();
            match serde_json::from_slice(text) {
                Ok(record) => lines.push((record, start..start + text.len())),
                Err(_) if text.is_empty() => {}
                // Only the last line can lack its newline.
                Err(_) if !line.ends_with(b"\n") => torn = true,
                Err(error) => {
                    // To the parser the line is a file of its own.
                    let reason = error.to_string().replace(" at line 1 column", " at column");
                    return Err(JsonlError::Line {
                        path: path.to_owned(),
                        line: number + 1,
                        reason,
                    });
                }
            }
            start += line.len();
        }
        Ok(Self { bytes, lines, torn })
    }

    /// The length of all lines that end.
    fn whole_len(&self) -> usize {
        self.bytes
            .iter()
            .rposition(|&byte| byte == b'\n')
            .map_or(0, |newline| newline + 1)
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> JsonlError {
    move |source| JsonlError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(stage: &str, step: usize) -> Record {
        Record {
            lr: Some(1e-3),
            ..Record::new(stage, step, Split::Train, 0.5, 2.0)
        }
    }

    fn written(records: &[Record]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut writer = JsonlWriter::append(&path).unwrap();
        for record in records {
            writer.write(record).unwrap();
        }
        (folder, path)
    }

    fn tear(path: &Path) {
        let mut file = OpenOptions::new().append(true).open(path).unwrap();
        file.write_all(b"{\"stage\":\"a\",\"st").unwrap();
    }

    fn steps(path: &Path) -> Vec<(String, usize)> {
        let (records, _) = read(path).unwrap();
        records
            .into_iter()
            .map(|record| (record.stage, record.step))
            .collect()
    }

    #[test]
    fn lines_are_as_documented() {
        let (_folder, path) = written(&[record("captions", 3)]);
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "{\"stage\":\"captions\",\"step\":3,\"split\":\"train\",\"loss\":0.5,\"lr\":0.001,\
             \"seconds\":2.0}\n"
        );
        assert_eq!(read(&path).unwrap(), (vec![record("captions", 3)], false));
    }

    #[test]
    fn what_a_step_took_is_written_and_read() {
        let whole = Record {
            tokens_per_second: Some(1e4),
            mfu: Some(0.4),
            data_wait: Some(0.01),
            grad_norm: Some(1.5),
            memory: Some(80 << 30),
            ..record("a", 1)
        };
        let (_folder, path) = written(std::slice::from_ref(&whole));
        assert_eq!(read(&path).unwrap().0, [whole]);
    }

    #[test]
    fn nan_survives_the_round_trip() {
        let (_folder, path) = written(&[Record {
            loss: f64::NAN,
            ..record("a", 1)
        }]);
        assert!(read(&path).unwrap().0[0].loss.is_nan());
    }

    #[test]
    fn a_torn_last_line_is_told_and_cut_before_the_next_record() {
        let (_folder, path) = written(&[record("a", 1)]);
        tear(&path);
        assert_eq!(read(&path).unwrap(), (vec![record("a", 1)], true));
        JsonlWriter::append(&path)
            .unwrap()
            .write(&record("a", 2))
            .unwrap();
        assert_eq!(
            read(&path).unwrap(),
            (vec![record("a", 1), record("a", 2)], false)
        );
    }

    #[test]
    fn a_line_that_lacks_only_its_newline_is_kept() {
        let (_folder, path) = written(&[record("a", 1)]);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.trim_end()).unwrap();
        JsonlWriter::append(&path)
            .unwrap()
            .write(&record("a", 2))
            .unwrap();
        assert_eq!(
            read(&path).unwrap(),
            (vec![record("a", 1), record("a", 2)], false)
        );
    }

    #[test]
    fn a_broken_line_in_the_middle_is_an_error() {
        let (_folder, path) = written(&[]);
        std::fs::write(&path, "{}\n").unwrap();
        let error = read(&path).unwrap_err().to_string();
        let start = format!(
            "{} line 1 is not a record of metrics (missing field",
            path.display()
        );
        assert!(error.starts_with(&start), "{error}");
    }

    #[test]
    fn truncation_keeps_earlier_stages_and_steps() {
        let order = ["a".to_owned(), "b".to_owned(), "c".to_owned()];
        let records = [("a", 9), ("b", 1), ("b", 2), ("b", 3), ("c", 1)];
        let (_folder, path) = written(&records.map(|(stage, step)| record(stage, step)));
        tear(&path);
        assert_eq!(truncate_after(&path, &order, "b", 2).unwrap(), 3);
        let kept = [("a", 9), ("b", 1), ("b", 2)].map(|(stage, step)| (stage.to_owned(), step));
        assert_eq!(steps(&path), kept);
        assert_eq!(truncate_after(&path, &order, "b", 2).unwrap(), 0);
        assert_eq!(
            truncate_after(&path.with_extension("none"), &order, "b", 2).unwrap(),
            0
        );
    }

    #[cfg(unix)]
    #[test]
    fn truncation_keeps_the_permissions() {
        use std::os::unix::fs::PermissionsExt;
        let (_folder, path) = written(&[record("a", 1), record("a", 2)]);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(truncate_after(&path, &["a".to_owned()], "a", 1).unwrap(), 1);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o644);
    }

    #[test]
    fn a_stage_that_the_run_lacks_is_named() {
        let (_folder, path) = written(&[record("old", 1)]);
        let stages = ["a".to_owned(), "b".to_owned()];
        let error = truncate_after(&path, &stages, "a", 1)
            .unwrap_err()
            .to_string();
        let expected = format!(
            "stage \"old\", met while resuming with {}, is none of the run's stages (a, b); \
             name the stages as they were or start a new run folder",
            path.display()
        );
        assert_eq!(error, expected);
        assert_eq!(steps(&path), [("old".to_owned(), 1)]);
    }
}
