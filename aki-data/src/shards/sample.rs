//! One sample: the members of a shard that share a key.

use std::path::{Path, PathBuf};

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
    /// No member with a picture's extension.
    #[error("no .png, .jpg or .jpeg member")]
    NoPicture,
    /// Two members of the same kind.
    #[error("more than one {kind} member")]
    Twice {
        /// Which kind.
        kind: &'static str,
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
    /// The `.json` member is no record.
    #[error("the .json member cannot be used: {reason}")]
    Json {
        /// What is wrong.
        reason: String,
    },
}

/// The members of one key, as bytes.
#[derive(Debug, Default)]
pub(super) struct Members {
    pub(super) key: String,
    picture: Option<Vec<u8>>,
    caption: Option<Vec<u8>>,
    json: Option<Vec<u8>>,
    twice: Option<&'static str>,
}

/// What a member is, by its extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MemberKind {
    Picture,
    Caption,
    Json,
}

impl MemberKind {
    /// `None` for extensions that mean nothing here, which are left unread.
    pub(super) fn of(extension: &str) -> Option<Self> {
        match extension.to_ascii_lowercase().as_str() {
            "png" | "jpg" | "jpeg" => Some(Self::Picture),
            "txt" => Some(Self::Caption),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

impl Members {
    pub(super) fn new(key: String) -> Self {
        Self {
            key,
            ..Self::default()
        }
    }

    pub(super) fn add(&mut self, kind: MemberKind, bytes: Vec<u8>) {
        let (place, name) = match kind {
            MemberKind::Picture => (&mut self.picture, "picture"),
            MemberKind::Caption => (&mut self.caption, "caption"),
            MemberKind::Json => (&mut self.json, "json"),
        };
        if place.replace(bytes).is_some() {
            self.twice = Some(name);
        }
    }

    /// The sample, or why it is none.
    pub(super) fn into_sample(self, shard: &Path) -> Result<Sample, Skipped> {
        let key = self.key.clone();
        self.build(shard).map_err(|reason| Skipped {
            shard: shard.to_owned(),
            key,
            reason,
        })
    }

    fn build(self, shard: &Path) -> Result<Sample, SkipReason> {
        if let Some(kind) = self.twice {
            return Err(SkipReason::Twice { kind });
        }
        let picture = self.picture.ok_or(SkipReason::NoPicture)?;
        // Decoded whole, since a picture may be cut off behind a sound header.
        if let Err(error) = Picture::decode(&picture, &self.key) {
            let reason = error.to_string();
            return Err(SkipReason::Picture { reason });
        }
        let caption = match self.caption {
            Some(bytes) => caption(bytes)?,
            None => None,
        };
        let turns = match self.json {
            Some(bytes) => read_turns(&bytes).map_err(|reason| SkipReason::Json { reason })?,
            None => Vec::new(),
        };
        Ok(Sample {
            key: self.key,
            shard: shard.to_owned(),
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

    fn build(members: &[(MemberKind, &[u8])]) -> Result<Sample, SkipReason> {
        let mut group = Members::new("k".to_owned());
        for (kind, bytes) in members {
            group.add(*kind, bytes.to_vec());
        }
        group.into_sample(Path::new("s.tar")).map_err(|skipped| {
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
        let caption = |text: &[u8]| {
            let members = [(MemberKind::Picture, &png[..]), (MemberKind::Caption, text)];
            build(&members).map(|sample| sample.caption)
        };
        assert_eq!(
            caption(b"a blue circle\n"),
            Ok(Some("a blue circle".to_owned()))
        );
        assert_eq!(caption(b" \n"), Ok(None));
        assert_eq!(caption(b"\xff"), Err(SkipReason::Caption));
        assert_eq!(
            build(&[(MemberKind::Picture, &png)])
                .expect("sample")
                .caption,
            None
        );
    }

    #[test]
    fn broken_samples_say_why() {
        let png = tiny_png();
        let picture = (MemberKind::Picture, &png[..]);
        assert_eq!(
            build(&[(MemberKind::Caption, b"a")]),
            Err(SkipReason::NoPicture)
        );
        assert_eq!(
            build(&[picture, picture]),
            Err(SkipReason::Twice { kind: "picture" })
        );
        let json = build(&[picture, (MemberKind::Json, b"{")]);
        assert!(matches!(json, Err(SkipReason::Json { .. })), "{json:?}");
        let bad_picture = build(&[(MemberKind::Picture, b"\x89PNG\r\n\x1a\n")]);
        assert!(
            matches!(bad_picture, Err(SkipReason::Picture { .. })),
            "{bad_picture:?}"
        );
    }

    #[test]
    fn extensions_are_read_in_any_case() {
        assert_eq!(MemberKind::of("JPEG"), Some(MemberKind::Picture));
        assert_eq!(MemberKind::of("cls"), None);
    }
}
