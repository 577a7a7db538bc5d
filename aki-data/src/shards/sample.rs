//! One sample: the members of a shard that share a key.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::conversation::{Turn, read_turns};
use crate::Picture;

/// A picture with what is said about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Name of the members in the shard, without the extension.
    pub key: String,
    /// The shard.
    pub shard: PathBuf,
    /// The encoded picture, as in the shard.
    pub picture: Vec<u8>,
    /// The caption, if there is one.
    pub caption: Option<String>,
    /// Questions and answers; each is a training text of its own.
    pub turns: Vec<Turn>,
}

/// A sample that was left out, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The shard.
    pub shard: PathBuf,
    /// The sample's key.
    pub key: String,
    /// What is wrong with it.
    pub reason: SkipReason,
}

/// Why a sample was left out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SkipReason {
    /// The shard is cut off, damaged or cannot be opened; nothing after the key was read.
    #[error("the shard is damaged here: {reason}")]
    Tar {
        /// What is wrong.
        reason: String,
    },
    /// A remote store failed, in spite of all attempts; nothing after the key was read.
    #[error("the shard cannot be read on: {reason}")]
    Remote {
        /// What the store said, or what became of the connection.
        reason: String,
    },
    /// The key would lead out of a folder if it were a file's name.
    #[error("its name leads out of the archive")]
    Name,
    /// A member or a picture is above its limit.
    #[error("its {what} of {size} is above the limit of {limit}")]
    TooLarge {
        /// Which member, or a picture's pixels.
        what: &'static str,
        /// Bytes or pixels.
        size: u64,
        /// As many are allowed.
        limit: u64,
    },
    /// No member with a picture's extension.
    #[error("no picture: a .jpg, .png, .webp, .gif, .bmp or .tif member")]
    NoPicture,
    /// No picture of a page is large enough and like one of its sentences.
    #[error("none of its pictures is large enough and fits a sentence")]
    NoPictureFits,
    /// A member that this kind of data needs is missing.
    #[error("no .{extension} member")]
    Missing {
        /// Its extension.
        extension: &'static str,
    },
    /// Two members of the same kind.
    #[error("more than one {kind} member")]
    Twice {
        /// Which kind.
        kind: &'static str,
    },
    /// Cut to its limit, the text has nothing to learn.
    #[error("within the limit of its length there is nothing to learn; raise max_text_len")]
    NoLabels,
    /// The text is longer than a row that samples are packed into.
    #[error(
        "its {tokens} tokens do not fit into a row of {limit}; raise packing, or set max_text_len"
    )]
    TooLong {
        /// Tokens, those of its pictures among them.
        tokens: usize,
        /// Tokens of a row.
        limit: usize,
    },
    /// Numbered pictures of which one is missing.
    #[error("there are numbered pictures, but none of number {number}")]
    Gap {
        /// The missing number.
        number: u16,
    },
    /// The file of a picture cannot be read.
    #[error("the picture {path} cannot be read: {reason}")]
    PictureFile {
        /// As the record has it.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// The picture cannot be decoded.
    #[error("{reason}")]
    Picture {
        /// What the decoder said.
        reason: String,
    },
    /// The `.txt` member is not UTF-8.
    #[error("the .txt member is not UTF-8")]
    Caption,
    /// The `.txt` member holds no caption of its kind.
    #[error("the .txt member cannot be used: {reason}")]
    Text {
        /// What is wrong.
        reason: String,
    },
    /// The record is read, but cannot be used.
    #[error("its record cannot be used: {0}")]
    Record(crate::datasets::SkipReason),
    /// The `.json` member is no record.
    #[error("the .json member cannot be used: {reason}")]
    Json {
        /// What is wrong.
        reason: String,
    },
}

impl SkipReason {
    /// The kind of fault, by which skipped samples are counted.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Tar { .. } => "damaged shard",
            Self::Remote { .. } => "remote store failed",
            Self::Name => "unsafe name",
            Self::TooLarge { .. } => "too large",
            Self::NoPicture => "no picture",
            Self::NoPictureFits => "no picture fits",
            Self::Missing { .. } | Self::Gap { .. } => "missing member",
            Self::Twice { .. } => "member twice",
            Self::NoLabels => "nothing to learn",
            Self::TooLong { .. } => "too long",
            Self::PictureFile { .. } => "missing picture",
            Self::Picture { .. } => "broken picture",
            Self::Record(reason) => reason.kind(),
            Self::Caption => "text not UTF-8",
            Self::Text { .. } => "unusable text",
            Self::Json { .. } => "unusable json",
        }
    }
}

/// The members of one key, as bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawSample {
    /// The shard.
    pub shard: Arc<Path>,
    /// Name of the members in the shard, without the extension.
    pub key: String,
    /// The pictures: that of `KEY.jpg`, or those of `KEY.0.jpg`, `KEY.1.png`, .. by their
    /// numbers.
    pub pictures: Vec<Vec<u8>>,
    /// The `txt` member.
    pub text: Option<Vec<u8>>,
    /// The `json` member.
    pub json: Option<Vec<u8>>,
}

/// Pictures of a sample at most: they are numbered by [`u16`].
pub(super) const MAX_PICTURES: u64 = 1 << 16;

/// What a member is, by its extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MemberKind {
    /// A picture; `0.jpg` has a number.
    Picture(Option<u16>),
    Text,
    Json,
}

impl MemberKind {
    /// `None` for extensions that mean nothing here, which are left unread.
    pub(super) fn of(extension: &str) -> Option<Self> {
        let extension = extension.to_ascii_lowercase();
        let (number, format) = match extension.split_once('.') {
            None => (None, extension.as_str()),
            Some((number, format)) => {
                let digits = number.bytes().all(|byte| byte.is_ascii_digit());
                let number = digits.then(|| number.parse().ok()).flatten()?;
                (Some(number), format)
            }
        };
        match (format, number) {
            ("png" | "jpg" | "jpeg" | "webp" | "gif" | "bmp" | "tif" | "tiff", number) => {
                Some(Self::Picture(number))
            }
            ("txt", None) => Some(Self::Text),
            ("json", None) => Some(Self::Json),
            _ => None,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Picture(_) => "picture",
            Self::Text => "caption",
            Self::Json => "json",
        }
    }
}

impl RawSample {
    pub(super) fn new(shard: Arc<Path>, key: String) -> Self {
        Self {
            shard,
            key,
            pictures: Vec::new(),
            text: None,
            json: None,
        }
    }

    /// The picture of a sample that must have exactly one.
    pub(crate) fn take_picture(&mut self) -> Result<Vec<u8>, SkipReason> {
        match self.pictures.len() {
            0 | 1 => self.pictures.pop().ok_or(SkipReason::NoPicture),
            _ => Err(SkipReason::Twice { kind: "picture" }),
        }
    }

    /// The sample, or why it is none.
    pub(super) fn into_sample(self) -> Result<Sample, Skipped> {
        let (shard, key) = (self.shard.to_path_buf(), self.key.clone());
        self.build()
            .map_err(|reason| Skipped { shard, key, reason })
    }

    fn build(mut self) -> Result<Sample, SkipReason> {
        let picture = self.take_picture()?;
        // Decoded whole, since a picture may be cut off behind a sound header.
        if let Err(error) = Picture::decode(&picture, &self.key) {
            let reason = error.to_string();
            return Err(SkipReason::Picture { reason });
        }
        let caption = match self.text {
            Some(bytes) => caption(bytes)?,
            None => None,
        };
        let turns = match self.json {
            Some(bytes) => read_turns(&bytes).map_err(|reason| SkipReason::Json { reason })?,
            None => Vec::new(),
        };
        Ok(Sample {
            key: self.key,
            shard: self.shard.to_path_buf(),
            picture,
            caption,
            turns,
        })
    }
}

/// White space around a caption is the editor's, and an empty caption is none.
fn caption(bytes: Vec<u8>) -> Result<Option<String>, SkipReason> {
    let text = String::from_utf8(bytes).map_err(|_| SkipReason::Caption)?;
    let text = text.trim();
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A PNG of one pixel.
    pub(crate) fn tiny_png() -> Vec<u8> {
        let mut bytes = std::io::Cursor::new(Vec::new());
        ::image::RgbImage::new(1, 1)
            .write_to(&mut bytes, ::image::ImageFormat::Png)
            .expect("writing to memory");
        bytes.into_inner()
    }

    fn build(
        pictures: &[&[u8]],
        text: Option<&[u8]>,
        json: Option<&[u8]>,
    ) -> Result<Sample, SkipReason> {
        let mut sample = RawSample::new(Path::new("s.tar").into(), "k".to_owned());
        sample.pictures = pictures.iter().map(|bytes| bytes.to_vec()).collect();
        sample.text = text.map(<[u8]>::to_vec);
        sample.json = json.map(<[u8]>::to_vec);
        sample.into_sample().map_err(|skipped| {
            assert_eq!(
                (skipped.key.as_str(), skipped.shard.as_path()),
                ("k", Path::new("s.tar"))
            );
            skipped.reason
        })
    }

    #[test]
    fn captions_are_trimmed_and_may_be_missing() {
        let png = tiny_png();
        let caption = |text: &[u8]| build(&[&png], Some(text), None).map(|sample| sample.caption);
        assert_eq!(
            caption(b"a blue circle\n"),
            Ok(Some("a blue circle".to_owned()))
        );
        assert_eq!(caption(b" \n"), Ok(None));
        assert_eq!(caption(b"\xff"), Err(SkipReason::Caption));
        let sample = build(&[&png], None, None).expect("sample");
        assert_eq!(sample.caption, None);
    }

    #[test]
    fn broken_samples_say_why() {
        let png = tiny_png();
        assert_eq!(build(&[], Some(b"a"), None), Err(SkipReason::NoPicture));
        let two = build(&[&png, &png], None, None);
        assert_eq!(two, Err(SkipReason::Twice { kind: "picture" }));
        let json = build(&[&png], None, Some(b"{"));
        assert!(matches!(json, Err(SkipReason::Json { .. })), "{json:?}");
        let bad_picture = build(&[b"\x89PNG\r\n\x1a\n"], None, None);
        assert!(
            matches!(bad_picture, Err(SkipReason::Picture { .. })),
            "{bad_picture:?}"
        );
    }

    #[test]
    fn extensions_are_read_in_any_case() {
        for (extension, kind) in [
            ("JPEG", Some(MemberKind::Picture(None))),
            ("tif", Some(MemberKind::Picture(None))),
            ("0.jpg", Some(MemberKind::Picture(Some(0)))),
            ("012.WebP", Some(MemberKind::Picture(Some(12)))),
            ("65536.jpg", None),
            ("+1.jpg", None),
            (".jpg", None),
            ("seg.png", None),
            ("0.0.png", None),
            ("0.txt", None),
            ("Json", Some(MemberKind::Json)),
            ("cls", None),
        ] {
            assert_eq!(MemberKind::of(extension), kind, "{extension}");
        }
    }
}
