//! Files that appear under their name only when they are whole.

use std::io::{self, Write};
use std::path::Path;

/// Writes a file under a temporary name, has it on the disk, and gives it its name. After a crash
/// the old file or the new one is found.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut builder = tempfile::Builder::new();
    // As any file the user writes; temporary files are private by default.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(folder_of(path))?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    sync_folder_of(path)
}

/// Has a file's new name on the disk: it is there only once its folder is.
pub(crate) fn sync_folder_of(path: &Path) -> io::Result<()> {
    // Windows cannot open folders.
    if cfg!(unix) {
        std::fs::File::open(folder_of(path))?.sync_all()?;
    }
    Ok(())
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}
