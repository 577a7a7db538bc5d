//! A checkpoint's `manifest.json`: which files it has, and what they must be.
//!
//! Its last key, `sum`, is the BLAKE3 sum of all bytes before it, so that a changed byte is found before
//! anything is made of it. Those written before there was a sum are read without one.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::files::write_whole;

/// The manifest's name in a checkpoint.
pub const MANIFEST: &str = "manifest.json";

/// Changes when an older program could not read a checkpoint.
const FORMAT: u32 = 1;

/// What a checkpoint is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    format: u32,
    /// The stage it was taken in.
    pub stage: String,
    /// Steps of that stage that were done.
    pub step: usize,
    /// Processes that trained together.
    pub world: usize,
    /// All files but the manifest.
    pub files: Vec<FileSum>,
}

/// A file's name and what must be in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSum {
    /// Its name in the checkpoint.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Its BLAKE3 sum in hexadecimal digits.
    pub blake3: String,
}

/// Why a checkpoint cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A file is not what was written.
    #[error("{file} {reason}")]
    Damaged {
        /// The file's name.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It is of a later version of the program.
    #[error("{MANIFEST} has format {0}, and this version of aki reads {FORMAT}; use a newer one")]
    Newer(u32),
}

impl Fault {
    pub(super) fn damaged(file: &str, reason: impl Into<String>) -> Self {
        Self::Damaged {
            file: file.to_owned(),
            reason: reason.into(),
        }
    }

    fn other_sum(file: &str, found: &str, expected: &str) -> Self {
        let [found, expected] = [found, expected].map(|sum| sum.get(..16).unwrap_or(sum));
        let reason = format!("has the checksum {found}..., {expected}... expected");
        Self::damaged(file, reason)
    }

    /// What reading a file failed with.
    fn unreadable(file: &str, error: &io::Error) -> Self {
        match error.kind() {
            ErrorKind::NotFound => Self::damaged(file, "is missing"),
            _ => Self::damaged(file, format!("cannot be read: {error}")),
        }
    }
}

impl FileSum {
    /// Reads the file `name` of a folder.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn of(folder: &Path, name: &str) -> io::Result<Self> {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(File::open(folder.join(name))?)?;
        Ok(Self {
            name: name.to_owned(),
            bytes: hasher.count(),
            blake3: hasher.finalize().to_string(),
        })
    }

    /// Whether the file of that name in a folder is the one that was written.
    ///
    /// # Errors
    ///
    /// [`Fault::Damaged`] saying what was expected and what was found.
    pub fn check(&self, folder: &Path) -> Result<(), Fault> {
        let Self {
            name,
            bytes,
            blake3,
        } = self;
        let unreadable = |error: io::Error| Fault::unreadable(name, &error);
        // A file that was cut short is not read.
        let found = std::fs::metadata(folder.join(name)).map_err(unreadable)?;
        if found.len() != *bytes {
            let reason = format!("has {} bytes, {bytes} expected", found.len());
            return Err(Fault::damaged(name, reason));
        }
        let found = Self::of(folder, name).map_err(unreadable)?.blake3;
        match found == *blake3 {
            true => Ok(()),
            false => Err(Fault::other_sum(name, &found, blake3)),
        }
    }
}

impl Manifest {
    /// That of a checkpoint with these files.
    pub fn new(stage: &str, step: usize, world: usize, files: Vec<FileSum>) -> Self {
        Self {
            format: FORMAT,
            stage: stage.to_owned(),
            step,
            world,
            files,
        }
    }

    /// Reads a checkpoint's.
    ///
    /// # Errors
    ///
    /// [`Fault`] if it cannot be read or is none.
    pub fn read(folder: &Path) -> Result<Self, Fault> {
        let bytes = std::fs::read(folder.join(MANIFEST));
        Self::parse(&bytes.map_err(|error| Fault::unreadable(MANIFEST, &error))?)
    }

    fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        #[derive(Deserialize)]
        struct Probe {
            format: u32,
        }
        if let Some((before, sum)) = split_at_sum(bytes) {
            let found = blake3::hash(before).to_hex();
            if found.as_bytes() != sum {
                let sum = sum.escape_ascii().to_string();
                return Err(Fault::other_sum(MANIFEST, &found, &sum));
            }
        }
        let broken =
            |error: serde_json::Error| Fault::damaged(MANIFEST, format!("is broken: {error}"));
        let Probe { format } = serde_json::from_slice(bytes).map_err(broken)?;
        if format > FORMAT {
            return Err(Fault::Newer(format));
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(broken)?;
        let mut names = HashSet::new();
        for FileSum { name, blake3, .. } in &manifest.files {
            let digit = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
            if !is_plain(name) || name == MANIFEST || !names.insert(name) {
                let reason = format!("is broken: it names a file {name:?}");
                return Err(Fault::damaged(MANIFEST, reason));
            }
            if blake3.len() != 64 || !blake3.bytes().all(digit) {
                let reason = format!("is broken: {blake3:?} is no BLAKE3 sum");
                return Err(Fault::damaged(MANIFEST, reason));
            }
        }
        Ok(manifest)
    }

    /// Writes it into a checkpoint, whose other files must be on the disk.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        write_whole(&folder.join(MANIFEST), &self.to_bytes()?)
    }

    fn to_bytes(&self) -> io::Result<Vec<u8>> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.truncate(text.len() - b"\n}".len());
        let sum = blake3::hash(&text);
        writeln!(text, ",{SUM}{sum}\"\n}}")?;
        Ok(text)
    }

    /// Whether it names a file.
    pub(super) fn has(&self, file: &str) -> bool {
        self.files.iter().any(|sum| sum.name == file)
    }

    /// Reads all files of a checkpoint.
    ///
    /// # Errors
    ///
    /// [`Fault::Damaged`] naming the first that is not what was written.
    pub fn verify(&self, folder: &Path) -> Result<(), Fault> {
        self.files.iter().try_for_each(|file| file.check(folder))
    }
}

/// Between what is summed and the sum.
const SUM: &str = "\n  \"sum\": \"";

/// The bytes that the sum is of, and the sum; none if there is none.
fn split_at_sum(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes
        .windows(SUM.len())
        .rposition(|part| part == SUM.as_bytes())?;
    let before = bytes[..at].strip_suffix(b",")?;
    let sum = &bytes[at + SUM.len()..];
    Some((before, sum.strip_suffix(b"\"\n}\n").unwrap_or(sum)))
}

/// Whether a name stays in its folder on any system.
fn is_plain(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !name.starts_with('.') && !name.is_empty() && name.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sum(name: &str) -> FileSum {
        FileSum {
            name: name.to_owned(),
            bytes: 3,
            blake3: blake3::hash(b"abc").to_string(),
        }
    }

    fn text(files: &[FileSum]) -> Vec<u8> {
        Manifest::new("a", 4, 1, files.to_vec()).to_bytes().unwrap()
    }

    fn reason(bytes: &[u8]) -> String {
        Manifest::parse(bytes).unwrap_err().to_string()
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("x.bpk"), b"abc").unwrap();
        let file = FileSum::of(folder.path(), "x.bpk").unwrap();
        assert_eq!(file, sum("x.bpk"));
        let manifest = Manifest::new("questions", 4, 2, vec![file]);
        manifest.write(folder.path()).unwrap();
        assert_eq!(Manifest::read(folder.path()).unwrap(), manifest);
        assert_eq!(manifest.verify(folder.path()), Ok(()));
    }

    #[test]
    fn damage_is_told_with_what_was_found() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = Manifest::new("a", 4, 1, vec![sum("x")]);
        let found = |content: &[u8]| {
            std::fs::write(folder.path().join("x"), content).unwrap();
            manifest.verify(folder.path()).unwrap_err().to_string()
        };
        assert_eq!(found(b"ab"), "x has 2 bytes, 3 expected");
        assert_eq!(
            found(b"abd"),
            "x has the checksum 90bfae301eb52a72..., 6437b3ac38465133... expected"
        );
        std::fs::remove_file(folder.path().join("x")).unwrap();
        let missing = manifest.verify(folder.path()).unwrap_err().to_string();
        assert_eq!(missing, "x is missing");
        let missing = Manifest::read(folder.path()).unwrap_err().to_string();
        assert_eq!(missing, "manifest.json is missing");
    }

    #[test]
    fn names_that_leave_the_folder_are_refused() {
        for name in [
            "",
            "..",
            ".hidden",
            "a/b",
            "a\\b",
            "/etc/passwd",
            MANIFEST,
            "é",
        ] {
            let expected = format!("manifest.json is broken: it names a file {name:?}");
            assert_eq!(reason(&text(&[sum(name)])), expected);
        }
        let twice = reason(&text(&[sum("x"), sum("x")]));
        assert_eq!(twice, "manifest.json is broken: it names a file \"x\"");
        let mut short = sum("x");
        short.blake3.pop();
        assert!(reason(&text(&[short])).ends_with("is no BLAKE3 sum"));
    }

    /// Wherever it is: in the format, which would ask for a newer program, or in the number of processes.
    #[test]
    fn every_flipped_bit_is_damage() {
        let whole = text(&[sum("model.bpk")]);
        let manifest = Manifest::parse(&whole).unwrap();
        for at in 0..8 * whole.len() {
            let mut bytes = whole.clone();
            bytes[at / 8] ^= 1 << (at % 8);
            match Manifest::parse(&bytes) {
                // In the name of the sum: what it is of is as it was.
                Ok(read) => assert_eq!(read, manifest),
                Err(fault) => {
                    let told = fault.to_string();
                    let known = [
                        "manifest.json is broken: ",
                        "manifest.json has the checksum ",
                    ];
                    assert!(known.iter().any(|it| told.starts_with(it)), "{told}");
                }
            }
        }
        let before = serde_json::to_vec_pretty(&manifest).unwrap();
        assert_eq!(Manifest::parse(&before).unwrap(), manifest);
    }

    #[test]
    fn a_later_format_is_no_damage() {
        let later = reason(b"{\"format\": 2, \"other\": []}");
        let told = "manifest.json has format 2, and this version of aki reads 1; use a newer one";
        assert_eq!(later, told);
    }

    proptest! {
        /// Whatever is in the file, it is refused or means the same when it is written again.
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            if let Ok(read) = Manifest::parse(&bytes) {
                let again = serde_json::to_vec(&read).unwrap();
                prop_assert_eq!(Manifest::parse(&again).unwrap(), read);
            }
        }

        #[test]
        fn a_manifest_with_a_changed_byte_is_read_or_refused(at: prop::sample::Index, to: u8) {
            let mut bytes = text(&[sum("model.bpk"), sum("data-1.json")]);
            let at = at.index(bytes.len());
            bytes[at] = to;
            if let Ok(read) = Manifest::parse(&bytes) {
                prop_assert_eq!(text(&read.files), text(&[sum("model.bpk"), sum("data-1.json")]));
            }
        }
    }
}
