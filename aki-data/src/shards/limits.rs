//! How large things may be before memory is taken for them.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::sample::SkipReason;
use crate::Picture;

/// Sizes that are refused before anything of that size is allocated.
///
/// A member above its limit is passed over without being held, and its sample is
/// skipped as [`SkipReason::TooLarge`](super::SkipReason::TooLarge).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of an encoded picture, or of all pictures of one sample together.
    pub picture_bytes: u64,
    /// Bytes of a `txt` member: a caption, or what a caption is read from.
    pub text_bytes: u64,
    /// Bytes of a `json` member, which in MMC4 holds the pictures too.
    pub json_bytes: u64,
    /// Pixels of a picture, by its header. Above 2^26 none is decoded in any case.
    pub picture_pixels: u64,
}

impl Limits {
    /// Whether a picture's header is sound and within the limits; its pixels are not looked at.
    pub(crate) fn check_picture(&self, bytes: &[u8], name: &str) -> Result<(), SkipReason> {
        let size = Picture::size(bytes, name);
        let (width, height) = size.map_err(|error| SkipReason::Picture {
            reason: error.to_string(),
        })?;
        let size = u64::from(width) * u64::from(height);
        check_size("picture's number of pixels", size, self.picture_pixels)
    }
}

/// Whether something is within its limit.
pub(crate) fn check_size(what: &'static str, size: u64, limit: u64) -> Result<(), SkipReason> {
    match size <= limit {
        true => Ok(()),
        false => Err(SkipReason::TooLarge { what, size, limit }),
    }
}

/// A picture's file, of which no more than `limit` bytes are held.
pub(crate) fn read_picture(path: &Path, limit: u64) -> Result<Vec<u8>, SkipReason> {
    let fault = |reason: String| SkipReason::PictureFile {
        path: path.display().to_string(),
        reason,
    };
    // Asked before it is opened: opening a pipe would wait for a writer.
    let found = std::fs::metadata(path).map_err(|error| fault(error.to_string()))?;
    if !found.is_file() {
        return Err(fault("it is no file".to_owned()));
    }
    check_size("picture", found.len(), limit)?;
    let mut bytes = Vec::with_capacity(found.len() as usize);
    let file = File::open(path).map_err(|error| fault(error.to_string()))?;
    let read = file.take(limit).read_to_end(&mut bytes);
    read.map_err(|error| fault(error.to_string()))?;
    Ok(bytes)
}

impl Default for Limits {
    /// 64 MiB a picture or record, 4 MiB a text, 2^26 pixels: far above what the
    /// public sets hold, and a thousandth of a machine's memory.
    fn default() -> Self {
        Self {
            picture_bytes: 64 << 20,
            text_bytes: 4 << 20,
            json_bytes: 64 << 20,
            picture_pixels: 1 << 26,
        }
    }
}
