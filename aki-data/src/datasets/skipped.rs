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
    /// Marks and pictures are not equally many, or one stands in an answer.
    #[error("the <image> marks do not fit the pictures")]
    Marks,
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
