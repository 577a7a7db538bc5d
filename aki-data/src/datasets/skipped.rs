//! What of a data set cannot be used.

use std::collections::BTreeMap;

/// Entries of a source that were left out for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// What is wrong with them.
    pub reason: SkipReason,
    /// How many there are.
    pub count: usize,
    /// Key of the first.
    pub first: String,
}

/// Why an entry was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum SkipReason {
    /// It is not for training.
    #[error("belongs to another split")]
    OtherSplit,
    /// A field is missing or null.
    #[error("a field is missing")]
    MissingField,
    /// A question without its answer, or an answer without its question.
    #[error("question and answer are not both there")]
    Unmatched,
    /// A question or an answer is empty.
    #[error("a question or an answer is empty")]
    Empty,
    /// The picture's path is absolute, an address, or leads out of the image folder.
    #[error("the picture lies outside the image folder")]
    ImagePath,
    /// The picture's size is told nowhere.
    #[error("the size of the picture is not known")]
    ImageSize,
    /// The region has no area.
    #[error("the region has no area")]
    Region,
    /// There are no options, more than letters, or the right one is not among them.
    #[error("the right answer is not among at most 26 options")]
    Options,
    /// The caption has no "is" to make a question of.
    #[error("the caption has no \"is\"")]
    Caption,
    /// The conversation is not of questions and answers by turns.
    #[error("the conversation is not of questions and answers by turns")]
    Turns,
    /// A message shows or says something else than text and pictures, such as sound.
    #[error("a message has a part that is neither text nor picture")]
    Part,
    /// It is not JSON: cut off, or with a comma too few.
    #[error("it is not JSON")]
    Json,
    /// A field holds something else than such a field should, as a number instead of a text.
    #[error("a field is of another kind, or the whole is no object")]
    Fields,
    /// As many pictures come with the record as it does not name.
    #[error("the record names more or fewer pictures than come with it")]
    Pictures,
    /// A line of a size that no record has.
    #[error("the line is longer than 64 MiB")]
    TooLong,
    /// Marks and pictures are not equally many, or one stands in an answer.
    #[error("the <image> marks do not fit the pictures")]
    Marks,
}

impl SkipReason {
    /// In a word or two, by which shards count.
    pub fn kind(self) -> &'static str {
        match self {
            Self::OtherSplit => "other split",
            Self::MissingField => "missing field",
            Self::Unmatched => "unmatched",
            Self::Empty => "empty text",
            Self::ImagePath => "picture outside",
            Self::ImageSize => "unknown picture size",
            Self::Region => "empty region",
            Self::Options => "unusable options",
            Self::Caption => "unusable caption",
            Self::Turns => "not by turns",
            Self::Part => "unknown part",
            Self::Marks => "wrong marks",
            Self::Json => "not JSON",
            Self::Fields => "wrong fields",
            Self::Pictures => "wrong number of pictures",
            Self::TooLong => "line too long",
        }
    }
}

impl SkipReason {
    /// Whether an entry is broken, and not only one that is not meant for training or that no
    /// training text can be made of.
    pub fn is_broken(self) -> bool {
        !matches!(
            self,
            Self::OtherSplit | Self::Empty | Self::Region | Self::Caption | Self::ImageSize
        )
    }
}

/// Counts by reason.
#[derive(Debug, Default)]
pub(super) struct Skips(BTreeMap<SkipReason, (usize, String)>);

impl Skips {
    pub(super) fn add(&mut self, key: &str, reason: SkipReason) {
        let (count, _) = self.0.entry(reason).or_insert_with(|| (0, key.to_owned()));
        *count += 1;
    }

    pub(super) fn into_list(self) -> Vec<Skipped> {
        let skipped = |(reason, (count, first))| Skipped {
            reason,
            count,
            first,
        };
        self.0.into_iter().map(skipped).collect()
    }
}
