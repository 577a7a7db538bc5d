//! A model folder in the making.

use std::path::{Path, PathBuf};

use aki_train::files::{folder_of, sync_folder_of};
use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::signals;

/// A folder that is written beside its place, and gets its name when it is whole. The program's end, or a
/// signal, removes one that is not.
pub struct NewFolder {
    partial: TempDir,
    out: PathBuf,
}

impl NewFolder {
    /// Whether a folder can be made there: nothing is, but for an empty folder.
    pub fn check(out: &Path) -> Result<()> {
        let empty =
            std::fs::read_dir(out).map_or(!out.exists(), |mut files| files.next().is_none());
        ensure!(
            out.file_name().is_some(),
            "{} is no name for a new folder; name another",
            out.display()
        );
        ensure!(
            empty,
            "{} exists already; name another folder",
            out.display()
        );
        Ok(())
    }

    pub fn begin(out: &Path) -> Result<Self> {
        let parent = folder_of(out);
        std::fs::create_dir_all(parent)
            .with_context(|| format!("cannot create {}", parent.display()))?;
        let partial = tempfile::Builder::new()
            .prefix(".aki-partial-")
            .tempdir_in(parent)
            .with_context(|| format!("cannot write to {}", parent.display()))?;
        let remains = partial.path().to_owned();
        signals::on_first(move || {
            let _gone = std::fs::remove_dir_all(&remains);
            std::process::exit(i32::from(signals::exit_code()));
        })?;
        let out = out.to_owned();
        Ok(Self { partial, out })
    }

    /// Where to write.
    pub fn path(&self) -> &Path {
        self.partial.path()
    }

    /// Gives the folder its name.
    pub fn finish(self) -> Result<()> {
        let (partial, out) = (self.partial.path(), &self.out);
        #[cfg(unix)]
        std::fs::set_permissions(partial, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .with_context(|| format!("cannot make {} readable", partial.display()))?;
        if out.exists() {
            std::fs::remove_dir(out)
                .with_context(|| format!("cannot replace {}", out.display()))?;
        }
        let cannot = || format!("cannot write {}", out.display());
        std::fs::rename(self.partial.keep(), out).with_context(cannot)?;
        sync_folder_of(out).with_context(cannot)
    }
}
