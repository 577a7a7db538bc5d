//! How large things may be before memory is taken for them.

/// Sizes that are refused before anything of that size is allocated.
///
/// A member above its limit is passed over without being held, and its sample is
/// skipped as [`SkipReason::TooLarge`](super::SkipReason::TooLarge).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of an encoded picture.
    pub picture_bytes: u64,
    /// Bytes of a `txt` member: a caption, or what a caption is read from.
    pub text_bytes: u64,
    /// Bytes of a `json` member, which in MMC4 holds the pictures too.
    pub json_bytes: u64,
    /// Pixels of a picture, by its header. Above 2^26 none is decoded in any case.
    pub picture_pixels: u64,
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
