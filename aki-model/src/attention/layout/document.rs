//! Documents in a batch row: where their media stand and where their question ends.

use std::ops::Range;

use thiserror::Error;

/// One document in a row of a batch. All numbers are token positions in that row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    /// The document's tokens. What lies outside every document is padding: it sees nothing and is
    /// never seen.
    pub tokens: Range<usize>,
    /// The media spans (pictures, audio, video frames), in order.
    pub media: Vec<Range<usize>>,
    /// The position just after the tag that closes the **first** question (`<|assistant|>`),
    /// counted after the media tokens were put in place; `None` without a question, as in a
    /// caption.
    pub question_end: Option<usize>,
}

/// Why documents cannot be laid out.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LayoutError {
    /// A document does not fit into the row, or begins before the one in front of it ends.
    #[error("row {row}: document {start}..{end} does not fit between token {after} and {len}")]
    Document {
        /// The batch row.
        row: usize,
        /// First token of the document.
        start: usize,
        /// One past the document's last token.
        end: usize,
        /// The end of the document in front.
        after: usize,
        /// Tokens in the row.
        len: usize,
    },
    /// A media span is empty, leaves its document or overlaps the span in front of it.
    #[error("row {row}: media span {start}..{end} does not fit between token {after} and {before}")]
    Media {
        /// The batch row.
        row: usize,
        /// First token of the span.
        start: usize,
        /// One past the span's last token.
        end: usize,
        /// The end of the span in front, or the document's start.
        after: usize,
        /// The document's end.
        before: usize,
    },
    /// Under [`Policy::Cca`](super::Policy::Cca), a media span whose tokens form no square grid.
    #[error("row {row}: media span {start}..{end} of {} tokens is no square grid, which concentric causal attention needs", end - start)]
    Grid {
        /// The batch row.
        row: usize,
        /// First token of the span.
        start: usize,
        /// One past the span's last token.
        end: usize,
    },
    /// The question ends outside its document.
    #[error("row {row}: question end {question_end} lies outside its document {start}..{end}")]
    Question {
        /// The batch row.
        row: usize,
        /// The offending position.
        question_end: usize,
        /// First token of the document.
        start: usize,
        /// One past the document's last token.
        end: usize,
    },
}

impl Document {
    /// Whether the document fits into row `row` of `len` tokens, behind token `after`.
    pub(super) fn check(&self, row: usize, after: usize, len: usize) -> Result<(), LayoutError> {
        let Range { start, end } = self.tokens;
        if start < after || end < start || end > len {
            return Err(LayoutError::Document {
                row,
                start,
                end,
                after,
                len,
            });
        }
        let mut media_after = start;
        for span in &self.media {
            if span.start < media_after || span.end <= span.start || span.end > end {
                return Err(LayoutError::Media {
                    row,
                    start: span.start,
                    end: span.end,
                    after: media_after,
                    before: end,
                });
            }
            media_after = span.end;
        }
        match self.question_end {
            Some(question_end) if question_end < start || question_end > end => {
                Err(LayoutError::Question {
                    row,
                    question_end,
                    start,
                    end,
                })
            }
            _ => Ok(()),
        }
    }
}
