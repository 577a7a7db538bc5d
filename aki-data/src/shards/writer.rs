//! Writes samples into shards of limited size, each under its name only when it is whole.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::DataError;
use crate::files::{sync_folder_of, temporary};

/// Tar cuts everything into blocks.
const BLOCK: u64 = 512;

/// Two blocks of zeros.
const END: u64 = 2 * BLOCK;

/// A folder that shards are written into.
pub(crate) struct ShardWriter {
    folder: PathBuf,
    max_samples: u64,
    max_bytes: u64,
    open: Option<Open>,
    /// Samples of the shards that are whole.
    sizes: Vec<u64>,
    /// Bytes of all shards.
    bytes: u64,
}

/// A shard that is still growing.
struct Open {
    tar: tar::Builder<BufWriter<NamedTempFile>>,
    samples: u64,
    bytes: u64,
}

impl ShardWriter {
    /// Makes the folder; a shard gets a sample at least, however large.
    ///
    /// # Errors
    /// [`DataError::Pack`] if there is something in it, [`DataError::Write`].
    pub(crate) fn new(folder: &Path, max_samples: u64, max_bytes: u64) -> Result<Self, DataError> {
        let writer = Self {
            folder: folder.to_owned(),
            max_samples,
            max_bytes,
            open: None,
            sizes: Vec::new(),
            bytes: 0,
        };
        std::fs::create_dir_all(folder).map_err(|source| writer.fault(source))?;
        let mut files = folder.read_dir().map_err(|source| writer.fault(source))?;
        if files.next().is_some() {
            return Err(DataError::Pack {
                path: folder.to_owned(),
                reason: "the folder is not empty; name a new one, or remove what is in it"
                    .to_owned(),
            });
        }
        Ok(writer)
    }

    /// Shards that are whole or begun.
    pub(super) fn shards(&self) -> usize {
        self.sizes.len() + usize::from(self.open.is_some())
    }

    /// Bytes of all shards, less the ends of the last.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds a sample: extensions and contents of its members.
    pub(crate) fn add(
        &mut self,
        key: &str,
        members: &[(String, Vec<u8>)],
    ) -> Result<(), DataError> {
        let blocks = |bytes: &Vec<u8>| BLOCK + (bytes.len() as u64).next_multiple_of(BLOCK);
        let bytes: u64 = members.iter().map(|(_, bytes)| blocks(bytes)).sum();
        let full = |open: &Open| {
            open.samples >= self.max_samples || open.bytes + bytes + END > self.max_bytes
        };
        if self.open.as_ref().is_some_and(full) {
            self.close()?;
        }
        let added = self.append(key, members, bytes);
        added.map_err(|source| self.fault(source))
    }

    fn append(&mut self, key: &str, members: &[(String, Vec<u8>)], bytes: u64) -> io::Result<()> {
        let open = match &mut self.open {
            Some(open) => open,
            None => self.open.insert(Open {
                tar: tar::Builder::new(BufWriter::with_capacity(1 << 20, temporary(&self.folder)?)),
                samples: 0,
                bytes: 0,
            }),
        };
        for (extension, bytes) in members {
            // No time and no owner, so that the same data is the same file.
            let mut header = tar::Header::new_ustar();
            header.set_path(format!("{key}.{extension}"))?;
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            header.set_mtime(0);
            header.set_uid(0);
            header.set_gid(0);
            header.set_cksum();
            open.tar.append(&header, bytes.as_slice())?;
        }
        open.samples += 1;
        open.bytes += bytes;
        self.bytes += bytes;
        Ok(())
    }

    /// Ends the shard that is open, if one is.
    fn close(&mut self) -> Result<(), DataError> {
        let Some(open) = self.open.take() else {
            return Ok(());
        };
        let path = self.folder.join(name(self.sizes.len()));
        let file = open
            .tar
            .into_inner()
            .and_then(|file| Ok(file.into_inner()?));
        let written = file.and_then(|file| place(file, &path));
        written.map_err(|source| DataError::Write { path, source })?;
        self.sizes.push(open.samples);
        self.bytes += END;
        Ok(())
    }

    /// Ends the last shard and writes `sizes.json`, by which one sees that all is there.
    pub(crate) fn finish(mut self) -> Result<(usize, u64), DataError> {
        self.close()?;
        let sizes = self.sizes.iter().enumerate();
        let sizes: serde_json::Map<_, _> = sizes
            .map(|(shard, &samples)| (name(shard), samples.into()))
            .collect();
        let text = format!("{:#}\n", serde_json::Value::Object(sizes));
        let path = self.folder.join("sizes.json");
        let written = temporary(&self.folder).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            place(file, &path)
        });
        written.map_err(|source| DataError::Write { path, source })?;
        Ok((self.sizes.len(), self.bytes))
    }

    fn fault(&self, source: io::Error) -> DataError {
        DataError::Write {
            path: self.folder.clone(),
            source,
        }
    }
}

fn name(shard: usize) -> String {
    format!("{shard:05}.tar")
}

/// Has a file on the disk, then gives it its name.
fn place(file: NamedTempFile, path: &Path) -> io::Result<()> {
    file.as_file().sync_all()?;
    file.persist_noclobber(path)?;
    sync_folder_of(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let files = folder.read_dir().expect("a folder");
        let name = |file: io::Result<std::fs::DirEntry>| file.expect("a file").file_name();
        let mut names: Vec<_> = files
            .map(|file| name(file).to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_shard_is_closed_before_it_is_too_large() {
        let folder = tempfile::tempdir().expect("a folder");
        let out = folder.path().join("new/out");
        // A sample of 100 bytes takes two blocks; two of them and the end take six.
        let mut writer = ShardWriter::new(&out, 3, 6 * BLOCK).expect("a writer");
        let member = |len: usize| [("txt".to_owned(), vec![b'a'; len])];
        for (key, len) in [
            ("0", 100),
            ("1", 100),
            ("2", 9000),
            ("3", 0),
            ("4", 0),
            ("5", 0),
            ("6", 0),
        ] {
            writer.add(key, &member(len)).expect("writing");
        }
        assert_eq!(writer.shards(), 4);
        // The last is not whole, and has no name.
        let whole = ["00000.tar", "00001.tar", "00002.tar"];
        assert_eq!(names(&out)[1..], whole);
        let (shards, bytes) = writer.finish().expect("the end");
        let all = names(&out);
        assert_eq!((shards, all.len()), (4, 5));
        let size = |name: &String| out.join(name).metadata().expect("a file").len();
        assert_eq!(all[..4].iter().map(size).sum::<u64>(), bytes);
        assert_eq!(size(&all[0]), 6 * BLOCK);
        let sizes = std::fs::read_to_string(out.join("sizes.json")).expect("sizes");
        let sizes: serde_json::Value = serde_json::from_str(&sizes).expect("json");
        assert_eq!(
            sizes,
            serde_json::json!({"00000.tar": 2, "00001.tar": 1, "00002.tar": 3, "00003.tar": 1})
        );
        let error = ShardWriter::new(&out, 3, 9)
            .err()
            .expect("full")
            .to_string();
        assert!(error.contains("not empty"), "{error}");
    }

    #[test]
    fn a_dropped_writer_leaves_whole_shards_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut writer = ShardWriter::new(folder.path(), 1, u64::MAX).expect("a writer");
        for key in ["0", "1"] {
            writer
                .add(key, &[("txt".to_owned(), b"a".to_vec())])
                .expect("writing");
        }
        drop(writer);
        assert_eq!(names(folder.path()), ["00000.tar"]);
    }
}
