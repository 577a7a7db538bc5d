//! Samples that could not be used.

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;

use aki_data::Skipped;
use serde_json::json;

/// Skipped samples of a source that are told one by one.
const TOLD: u32 = 5;

/// Tells the first of each source, and writes all of them down in a file, each once.
pub(super) struct SkipLog {
    notice: fn(&str),
    file: Option<PathBuf>,
    told: HashMap<String, u32>,
    /// The lines of the file: a sample is met once a pass, and again where a run is resumed.
    written: HashSet<String>,
}

impl SkipLog {
    pub(super) fn new(notice: fn(&str), file: Option<PathBuf>) -> Self {
        let lines = file.as_ref().and_then(|file| File::open(file).ok());
        let lines = lines
            .into_iter()
            .flat_map(|file| BufReader::new(file).lines());
        Self {
            notice,
            written: lines.map_while(Result::ok).collect(),
            file,
            told: HashMap::new(),
        }
    }

    pub(super) fn tell(&mut self, source: &str, skipped: &Skipped) {
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
        let line = line.to_string();
        if self.written.contains(&line) {
            return;
        }
        // Opened anew for each, since there are few: who moves the file away gets a new one.
        let log = OpenOptions::new().create(true).append(true).open(file);
        let written = log.and_then(|mut log| writeln!(log, "{line}"));
        if let Err(error) = written {
            (self.notice)(&format!(
                "cannot write to {}: {error}; skipped samples are no longer written down",
                file.display()
            ));
            self.file = None;
        }
        self.written.insert(line);
    }
}
