//! The end of writing a checkpoint: its files become one, and those that nothing keeps go.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::{Duration, Instant};

use super::manifest::{FileSum, Manifest};
use super::rank::share_of;
use super::resume::remove;
use super::writer::{Checkpoints, Writing};
use crate::files::{sync_folder_of, write_whole};
use crate::log::EVENTS;

/// How long the first rank waits for the other ranks' files. They begin to write when it does, so that
/// beyond it something is wrong.
const PATIENCE: Duration = Duration::from_mins(30);

impl Checkpoints {
    /// Makes a checkpoint whole whose large files are on the disk.
    pub(super) fn complete(&self, step: usize, writing: Writing) -> io::Result<()> {
        let rank = self.rank();
        let folder = self.partial(step);
        let mut files = writing.written;
        for (name, bytes) in writing.small {
            write_whole(&folder.join(&name), &bytes)?;
            files.push(FileSum::of(&folder, &name)?);
        }
        self.sync_logs()?;
        if rank.rank > 0 {
            let text = serde_json::to_vec(&files)?;
            return write_whole(&folder.join(share(rank.rank)), &text);
        }
        for other in 1..rank.world {
            let share = folder.join(share(other));
            files.extend(await_share(&share)?);
            std::fs::remove_file(&share)?;
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Manifest::new(&self.0.stage, step, rank.world, files).write(&folder)?;
        let path = self.path(step);
        std::fs::rename(&folder, &path)?;
        sync_folder_of(&path)?;
        self.shared().whole.insert(step);
        self.tidy();
        Ok(())
    }

    /// Has this rank's logs on the disk, which its steps up to here are in: after a power cut they have no
    /// hole before the checkpoint that a run goes on from.
    fn sync_logs(&self) -> io::Result<()> {
        let own = match self.rank().rank {
            0 => "skipped.jsonl".to_owned(),
            rank => share_of("skipped.jsonl", rank),
        };
        let logged = |name: &str| {
            let of_first = name == "metrics.jsonl" || name.starts_with(EVENTS);
            name == own || (of_first && self.rank().rank == 0)
        };
        for entry in std::fs::read_dir(&self.0.run_dir)? {
            let entry = entry?;
            if entry.file_name().to_str().is_some_and(logged) {
                match OpenOptions::new().append(true).open(entry.path()) {
                    Ok(log) => log.sync_all()?,
                    // The user removed an old one.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
        }
        sync_folder_of(&self.0.run_dir.join("metrics.jsonl"))
    }

    /// Removes what nothing keeps. The first rank does it for all.
    pub(super) fn tidy(&self) {
        let gone = {
            let mut shared = self.shared();
            let gone = self.0.keep.superfluous(&shared.whole, &shared.losses);
            shared.whole.retain(|step| !gone.contains(step));
            gone
        };
        for step in gone.into_iter().filter(|_| self.rank().rank == 0) {
            let path = self.path(step);
            if let Err(error) = remove(&path) {
                let cause = std::error::Error::source(&error);
                let cause = cause.map(ToString::to_string).unwrap_or_default();
                tracing::warn!("{error}: {cause}; the old checkpoint stays");
            }
        }
    }
}

/// The name under which a rank lists its files for the first one, which writes the manifest.
fn share(rank: usize) -> String {
    format!("rank-{rank}.json")
}

/// Another rank's list of files, when it is there.
fn await_share(path: &Path) -> io::Result<Vec<FileSum>> {
    let begun = Instant::now();
    loop {
        match std::fs::read(path) {
            Ok(text) => return Ok(serde_json::from_slice(&text)?),
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Err(_) if begun.elapsed() > PATIENCE => {
                let path = path.display();
                return Err(io::Error::other(format!("another rank never wrote {path}")));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}
