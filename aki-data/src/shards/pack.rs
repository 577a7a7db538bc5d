//! Puts data of one's own, lines and picture files, into shards.

use std::path::{Path, PathBuf};

use super::limits::{Limits, check_size, read_picture};
use super::sample::{MAX_PICTURES, SkipReason, Skipped};
use super::tally::Tally;
use super::writer::ShardWriter;
use crate::datasets::{Entries, MAX_LINE, OwnLine};
use crate::order::{keyed_rng, shuffle};
use crate::{DataError, Picture};

/// Keeps the order of the shards' samples apart from other orders of the same seed.
const SHUFFLE_DOMAIN: u64 = 0x616b_692d_7368_7566; // "aki-shuf"

/// How data is put into shards.
#[derive(Clone, Debug, PartialEq)]
pub struct PackOptions {
    /// Folder that the pictures' paths are relative to; none for that of the lines.
    pub images: Option<PathBuf>,
    /// Samples of a shard at most.
    pub max_samples: u64,
    /// Bytes of a shard at most, unless a single sample has more.
    pub max_bytes: u64,
    /// Seed of another order than the file's. Shards of sorted data train badly, since a
    /// stream mixes what stands close together only.
    pub shuffle: Option<u64>,
    /// Whether pictures are decoded to see that they are whole. Their headers always are read.
    pub decode: bool,
    /// Share of the entries, 0 to 1, that may be unusable.
    pub max_bad_share: f64,
    /// Sizes above which a sample is left out; those with which the shards will be read.
    pub limits: Limits,
}

impl Default for PackOptions {
    /// Shards of 10,000 samples or 1 GB, in the order of the file; a tenth may be unusable.
    fn default() -> Self {
        Self {
            images: None,
            max_samples: 10_000,
            max_bytes: 1_000_000_000,
            shuffle: None,
            decode: false,
            max_bad_share: 0.1,
            limits: Limits::default(),
        }
    }
}

/// What was packed, or was so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packed {
    /// Lines, or entries of the list, in the file.
    pub entries: u64,
    /// Shards.
    pub shards: usize,
    /// Samples in them.
    pub samples: u64,
    /// Bytes of all shards.
    pub bytes: u64,
    /// What was left out, by reason.
    pub skipped: Vec<LeftOut>,
}

/// Entries that were left out for reasons of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// How many there are.
    pub count: u64,
    /// The first of them: its key is the number of its line, or in the list.
    pub first: Skipped,
}

/// Writes the conversations or the captions of `input` with their pictures as shards `00000.tar`,
/// `00001.tar`, .. and their `sizes.json` into the folder `out`, which must be empty or new.
///
/// ```text
/// {"image": "a.jpg", "conversations": [..]}             000000001.jpg    000000001.json
/// {"image": ["a.png", "b.jpg"], "messages": [..]}       000000002.0.png  000000002.1.jpg  000000002.json
/// ```
///
/// ```text
/// {"image": "a.jpg", "caption": "A cat on a mat."}      000000001.jpg    000000001.txt
/// ```
///
/// Lines are read as [`Dataset::jsonl`](crate::Dataset::jsonl) reads them; a key is the number
/// of the line. The `json` member is the line, and pictures are copied byte by byte; their
/// extension follows from what they are. The same data and options make the same files.
/// [`read_conversation`](crate::datasets::read_conversation) and
/// [`CaptionKind::Txt`](crate::pretraining::CaptionKind) read them.
///
/// What cannot be used is left out and counted. `go_on` is asked before every entry; if it
/// says no, or anything fails, the shards that are whole stay, without `sizes.json`.
/// Memory is taken for one sample, and 16 bytes an entry.
///
/// # Errors
/// - [`DataError::Io`] and [`DataError::Annotations`] if `input` cannot be read.
/// - [`DataError::Pack`] if `out` is not empty, `input` has captions and conversations too, or
///   nothing of it can be used.
/// - [`DataError::TooManyBroken`] above [`PackOptions::max_bad_share`].
/// - [`DataError::Stopped`] by `go_on`; [`DataError::Write`].
pub fn pack_shards(
    input: &Path,
    out: &Path,
    options: &PackOptions,
    go_on: &mut dyn FnMut(&Packed) -> bool,
) -> Result<Packed, DataError> {
    let (mut entries, mut places) = Entries::find(input)?;
    if let Some(seed) = options.shuffle {
        shuffle(&mut places, &mut keyed_rng(seed, SHUFFLE_DOMAIN, 0, 0));
    }
    let folder = input.parent().unwrap_or(Path::new(""));
    let folder = options.images.as_deref().unwrap_or(folder);
    let mut writer = ShardWriter::new(out, options.max_samples, options.max_bytes)?;
    let mut tally = Tally::new("entries", options.max_bad_share);
    let mut kind = None;
    let mut packed = Packed {
        entries: places.len() as u64,
        ..Packed::default()
    };
    for place in places {
        if !go_on(&packed) {
            return Err(DataError::Stopped {
                folder: out.to_owned(),
            });
        }
        let sample = match u64::from(place.len) <= MAX_LINE {
            true => sample(entries.read(place)?, folder, options),
            false => Err(SkipReason::Record(crate::datasets::SkipReason::TooLong)),
        };
        match sample {
            Ok(Entry { members, caption }) => {
                if *kind.get_or_insert(caption) != caption {
                    return Err(mixed(input, place.number, caption));
                }
                writer.add(&format!("{:09}", place.number), &members)?;
                tally.good(input);
                packed.samples += 1;
                (packed.shards, packed.bytes) = (writer.shards(), writer.bytes());
            }
            Err(reason) => {
                let skipped = Skipped {
                    shard: input.to_owned(),
                    key: place.number.to_string(),
                    reason,
                };
                tally.bad(&skipped)?;
                packed.leave_out(skipped);
            }
        }
    }
    tally.finish()?;
    if packed.samples == 0 {
        return Err(DataError::Pack {
            path: input.to_owned(),
            reason: "there is no conversation and no caption in it".to_owned(),
        });
    }
    (packed.shards, packed.bytes) = writer.finish()?;
    Ok(packed)
}

impl Packed {
    fn leave_out(&mut self, skipped: Skipped) {
        let kind = skipped.reason.kind();
        let known = self.skipped.iter_mut();
        match known.into_iter().find(|it| it.first.reason.kind() == kind) {
            Some(known) => known.count += 1,
            None => self.skipped.push(LeftOut {
                count: 1,
                first: skipped,
            }),
        }
    }
}

/// What becomes of an entry.
struct Entry {
    /// Extensions and contents.
    members: Vec<(String, Vec<u8>)>,
    /// Whether it is a caption, and no conversation.
    caption: bool,
}

/// A source reads all of its shards as the one or the other.
fn mixed(input: &Path, number: u32, caption: bool) -> DataError {
    let (this, others) = match caption {
        true => ("a caption", "conversations"),
        false => ("a conversation", "captions"),
    };
    DataError::Pack {
        path: input.to_owned(),
        reason: format!(
            "entry {number} is {this}, and those before it were {others}, which are another kind \
             of source; split the file in two, and pack each for itself"
        ),
    }
}

fn sample(text: Vec<u8>, folder: &Path, options: &PackOptions) -> Result<Entry, SkipReason> {
    let limits = &options.limits;
    let line = OwnLine::read(&text).map_err(SkipReason::Record)?;
    let caption = line.caption.is_some();
    let (extension, said, limit) = match line.caption {
        Some(caption) => ("txt", caption.into_bytes(), limits.text_bytes),
        None => ("json", text, limits.json_bytes),
    };
    check_size("text", said.len() as u64, limit)?;
    let count = line.images.len();
    check_size("number of pictures", count as u64, MAX_PICTURES)?;
    let mut members = Vec::new();
    let mut room = limits.picture_bytes;
    for (number, image) in line.images.iter().enumerate() {
        let bytes = read_picture(&folder.join(image), room)?;
        room -= bytes.len() as u64;
        limits.check_picture(&bytes, image)?;
        if options.decode {
            let decoded = Picture::decode(&bytes, image);
            decoded.map_err(|error| SkipReason::Picture {
                reason: error.to_string(),
            })?;
        }
        let extension = Picture::extension(&bytes).ok_or_else(|| SkipReason::Picture {
            reason: format!("{image} is in a format that has no extension in shards"),
        })?;
        let name = match count {
            1 => extension.to_owned(),
            _ => format!("{number}.{extension}"),
        };
        members.push((name, bytes));
    }
    members.push((extension.to_owned(), said));
    Ok(Entry { members, caption })
}
