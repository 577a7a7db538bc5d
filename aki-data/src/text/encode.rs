//! Token ids with their labels, media ranges and the end of the question.

use std::ops::Range;

use super::special::SpecialTokens;

/// Label of a position that the loss leaves out.
pub const IGNORE: i64 = -100;

/// One encoded text, not padded.
///
/// ```text
/// input_ids  <s> <|system|> .. <image> x media_len  what color ? <|end|> <|assistant|> blue <|endoftext|>
/// labels     -100 ................................................................... blue <|endoftext|>
/// media                        [m0 ......... m1)
/// question_end                                                                         ^
/// ```
///
/// Labels stand at the position of their own token; the shift by one of
/// next-token prediction is the loss's business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// Token ids.
    pub input_ids: Vec<u32>,
    /// The id to be predicted, or [`IGNORE`]; as long as `input_ids`.
    pub labels: Vec<i64>,
    /// Positions that picture embeddings replace, a range a picture.
    pub media: Vec<Range<usize>>,
    /// Index just after the first `<|assistant|>`; none in a caption.
    pub question_end: Option<usize>,
}

/// Which positions carry a label.
#[derive(Clone, Copy, Debug)]
pub(super) enum Labels {
    /// What comes after the first `<|assistant|>`, less `<image>`, `<pad>` and `<|endofchunk|>`.
    Answer,
    /// Each answer: what comes after an `<|assistant|>`, up to and with the `<|end|>` that closes
    /// it, less `<image>`, `<pad>` and `<|endofchunk|>`.
    Answers,
    /// All but `<image>` and `<pad>`.
    Text,
}

impl Sequence {
    /// Puts `media_len` copies in the place of each `<image>` and sets the labels.
    pub(super) fn new(
        ids: &[u32],
        special: SpecialTokens,
        media_len: usize,
        labelled: Labels,
    ) -> Self {
        let mut input_ids = Vec::with_capacity(ids.len() + media_len);
        let mut media = Vec::new();
        for &id in ids {
            if id == special.image {
                let start = input_ids.len();
                input_ids.resize(start + media_len, id);
                media.push(start..input_ids.len());
            } else {
                input_ids.push(id);
            }
        }
        let question_end = input_ids
            .iter()
            .position(|&id| Some(id) == special.assistant())
            .map(|assistant| assistant + 1);
        let mut in_answer = false;
        let mut answered = |id: u32| {
            let was_in = in_answer;
            if let Some(roles) = special.roles {
                in_answer = id == roles.assistant || was_in && id != roles.end;
            }
            was_in
        };
        let mut is_label = |(position, &id): (usize, &u32)| match labelled {
            // The embedding of a picture stands there, or nothing: no token to be predicted.
            _ if id == special.image || id == special.pad => false,
            Labels::Answer => {
                id != special.end_of_chunk && question_end.is_some_and(|end| position >= end)
            }
            Labels::Answers => answered(id) && id != special.end_of_chunk,
            Labels::Text => true,
        };
        let labels = input_ids
            .iter()
            .enumerate()
            .map(|token| {
                if is_label(token) {
                    i64::from(*token.1)
                } else {
                    IGNORE
                }
            })
            .collect();
        Self {
            input_ids,
            labels,
            media,
            question_end,
        }
    }

    /// Cuts it off behind so many tokens, a picture counted as one; pictures behind the cut have no
    /// range. Returns how many tokens were cut off, counted so.
    pub fn truncate(&mut self, limit: usize) -> usize {
        let (mut end, mut len) = (limit, self.input_ids.len());
        for range in &self.media {
            len = len + 1 - range.len();
            if range.start < end {
                end = end + range.len() - 1;
            }
        }
        self.input_ids.truncate(end);
        self.labels.truncate(end);
        self.media.retain(|range| range.end <= end);
        self.question_end = self.question_end.filter(|&question| question <= end);
        len.saturating_sub(limit)
    }

    /// The same without labels, for a prompt.
    pub(super) fn unlabelled(mut self) -> Self {
        self.labels.fill(IGNORE);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Roles;

    const SPECIAL: SpecialTokens = SpecialTokens {
        bos: Some(10),
        eos: 11,
        pad: 12,
        roles: Some(Roles {
            assistant: 13,
            user: 14,
            system: 15,
            end: 16,
        }),
        image: 17,
        end_of_chunk: 18,
    };

    #[test]
    fn several_pictures_get_a_range_each() {
        let sequence = Sequence::new(&[10, 17, 1, 17, 13, 2], SPECIAL, 3, Labels::Answer);
        assert_eq!(sequence.input_ids, [10, 17, 17, 17, 1, 17, 17, 17, 13, 2]);
        assert_eq!(sequence.media, [1..4, 5..8]);
        assert_eq!(sequence.question_end, Some(9));
        assert_eq!(sequence.labels[..9], [IGNORE; 9]);
        assert_eq!(sequence.labels[9], 2);
    }

    #[test]
    fn the_question_ends_at_the_first_assistant() {
        let sequence = Sequence::new(&[10, 1, 13, 2, 18, 13, 3], SPECIAL, 0, Labels::Answer);
        assert_eq!(sequence.question_end, Some(3));
        assert_eq!(sequence.labels[3..], [2, IGNORE, 13, 3]);
    }

    #[test]
    fn every_answer_is_labelled_up_to_its_end() {
        let ids = [10, 17, 1, 16, 13, 2, 18, 16, 4, 14, 5, 16, 13, 3, 12, 11];
        let sequence = Sequence::new(&ids, SPECIAL, 1, Labels::Answers);
        let mut expected = [IGNORE; 16];
        for place in [5, 7, 13, 15] {
            expected[place] = i64::from(ids[place]);
        }
        assert_eq!(sequence.labels, expected);
        assert_eq!(sequence.question_end, Some(5));
    }
}
