//! Files that appear under their name only when they are whole, and such as grow line by line.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use tempfile::NamedTempFile;

/// Writes a file under a temporary name, has it on the disk, and gives it its name. After a crash
/// the old file or the new one is found.
///
/// # Errors
///
/// What the system says.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    written(path, bytes)?.persist(path)?;
    sync_folder_of(path)
}

/// As [`write_whole`], where there is no such file yet.
///
/// # Errors
///
/// [`io::ErrorKind::AlreadyExists`] if there is one, or what else the system says.
pub fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    written(path, bytes)?.persist_noclobber(path)?;
    sync_folder_of(path)
}

/// A file that is removed when it is dropped, unless it was given a name.
pub(crate) fn temporary(folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    // As any file the user writes; temporary files are private by default.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}

/// A file beside its place, whole and on the disk.
fn written(path: &Path, bytes: &[u8]) -> io::Result<NamedTempFile> {
    let mut file = temporary(folder_of(path))?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// The lines of a file that grows line by line, less a last one that was torn when its process was killed.
///
/// # Errors
///
/// What the system says.
pub fn whole_lines(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = std::fs::read(path)?;
    let last = bytes.iter().rposition(|&byte| byte == b'\n');
    bytes.truncate(last.map_or(0, |last| last + 1));
    Ok(bytes)
}

/// Opens such a file to add lines behind the whole ones, which have so many bytes.
///
/// # Errors
///
/// What the system says.
pub fn append_after(path: &Path, whole: usize) -> io::Result<File> {
    let file = OpenOptions::new().create(true).append(true).open(path)?;
    if file.metadata()?.len() != whole as u64 {
        // On Windows who only appends cannot cut.
        let file = OpenOptions::new().write(true).open(path)?;
        file.set_len(whole as u64)?;
    }
    Ok(file)
}

/// Has a file's or folder's new name on the disk: it is there only once the folder that has it is.
///
/// # Errors
///
/// What the system says.
pub fn sync_folder_of(path: &Path) -> io::Result<()> {
    // Windows cannot open folders.
    if cfg!(unix) {
        File::open(folder_of(path))?.sync_all()?;
    }
    Ok(())
}

/// The folder that has a path's last name.
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}
