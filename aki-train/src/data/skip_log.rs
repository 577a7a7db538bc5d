//! Samples that could not be used.

use std::collections::{HashMap, HashSet};
use std::fs::OpenOptions;
use std::hash::{DefaultHasher, Hasher};
use std::io::Write;
use std::path::PathBuf;

use aki_data::Skipped;
use aki_data::files::{append_after, whole_lines};
use serde_json::json;

/// Skipped samples of a source that are told one by one.
const TOLD: u32 = 5;

/// Tells the first of each source, and writes all of them down in a file, each once.
pub(crate) struct SkipLog {
    notice: fn(&str),
    file: Option<PathBuf>,
    told: HashMap<String, u32>,
    /// Hashes of the file's lines: a sample is met once a pass, and again where a run is resumed.
    written: HashSet<u64>,
}

impl SkipLog {
    pub(crate) fn new(notice: fn(&str), file: Option<PathBuf>) -> Self {
        let lines = file.as_ref().and_then(|file| {
            let lines = whole_lines(file).ok()?;
            // Less one that was torn.
            append_after(file, lines.len()).ok()?;
            Some(lines)
        });
        let lines = lines.unwrap_or_default();
        Self {
            notice,
            written: lines
                .split_inclusive(|&byte| byte == b'\n')
                .map(hash)
                .collect(),
            file,
            told: HashMap::new(),
        }
    }

    pub(crate) fn tell(&mut self, source: &str, skipped: &Skipped) {
        let Skipped { shard, key, reason } = skipped;
        let shard = shard.display();
        let told = self.told.entry(source.to_owned()).or_insert(0);
        *told += 1;
        if *told <= TOLD {
            (self.notice)(&format!(
                "skipped sample {key} of {source} ({shard}): {reason}"
            ));
        } else if *told == TOLD + 1 {
            let place = match &self.file {
                Some(file) => format!("stand in {}", file.display()),
                None => "are only counted".to_owned(),
            };
            (self.notice)(&format!("further skipped samples of {source} {place}"));
        }
        let Some(file) = &self.file else { return };
        let line = json!({
            "source": source,
            "shard": shard.to_string(),
            "key": key,
            "kind": reason.kind(),
            "reason": reason.to_string(),
        });
        let line = format!("{line}\n");
        if !self.written.insert(hash(line.as_bytes())) {
            return;
        }
        // Opened anew for each, since there are few: who moves the file away gets a new one.
        let log = OpenOptions::new().create(true).append(true).open(file);
        let written = log.and_then(|mut log| log.write_all(line.as_bytes()));
        if let Err(error) = written {
            (self.notice)(&format!(
                "cannot write to {}: {error}; skipped samples are no longer written down",
                file.display()
            ));
            self.file = None;
        }
    }
}

fn hash(line: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(line);
    hasher.finish()
}
