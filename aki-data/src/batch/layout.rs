//! A batch in memory.

use std::ops::Range;

use crate::text::{IGNORE, Sequence};

/// Pictures and token rows, ready to become tensors.
///
/// Letters of the shapes: `N` pictures, `S` pixels a side, `B` rows, `T` tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Normalised pixels, `[N, 3, S, S]`.
    pub pictures: Vec<f32>,
    /// `N`. All questions of a picture share it, so `N` may be less than `B`.
    pub picture_count: usize,
    /// `S`.
    pub image_size: usize,
    /// Token ids, `[B, T]`, filled with `<pad>` on the right.
    pub input_ids: Vec<i64>,
    /// Labels at the position of their own token, `[B, T]`, filled with
    /// [`IGNORE`].
    pub labels: Vec<i64>,
    /// What the rows are; `B` of them.
    pub rows: Vec<Row>,
    /// `T`, the length of the longest row.
    pub seq_len: usize,
}

/// One row of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Tokens before the padding.
    pub len: usize,
    /// Where pictures go.
    pub media: Vec<Media>,
    /// Index just after the first `<|assistant|>`; none in a caption.
    pub question_end: Option<usize>,
    /// Kind of the question, or `caption`.
    pub kind: String,
    /// Key of the sample.
    pub key: String,
    /// The question; empty for a caption.
    pub question: String,
    /// The answer, or the caption.
    pub answer: String,
}

/// The place of a picture in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    /// Positions that the picture's embeddings replace.
    pub range: Range<usize>,
    /// Which of the batch's pictures.
    pub picture: usize,
}

impl Row {
    /// A row of a sequence whose pictures are `first_picture` of the batch and those after it. Its kind,
    /// key and texts are empty.
    pub fn of(sequence: &Sequence, first_picture: usize) -> Self {
        let media = sequence.media.iter().cloned().zip(first_picture..);
        Self {
            len: sequence.input_ids.len(),
            media: media
                .map(|(range, picture)| Media { range, picture })
                .collect(),
            question_end: sequence.question_end,
            kind: String::new(),
            key: String::new(),
            question: String::new(),
            answer: String::new(),
        }
    }
}

impl Batch {
    /// A batch of rows, `rows[b]` that of `sequences[b]`; they are padded on the right with `pad`.
    /// `pictures` are the pixels of all pictures, of `image_size` a side.
    pub fn new(
        rows: Vec<Row>,
        sequences: &[Sequence],
        pictures: Vec<f32>,
        image_size: usize,
        pad: u32,
    ) -> Self {
        let lengths = sequences.iter().map(|sequence| sequence.input_ids.len());
        let seq_len = lengths.max().unwrap_or(0);
        let (mut input_ids, mut labels) = (Vec::new(), Vec::new());
        for (row, sequence) in sequences.iter().enumerate() {
            input_ids.extend(sequence.input_ids.iter().map(|&id| i64::from(id)));
            input_ids.resize((row + 1) * seq_len, i64::from(pad));
            labels.extend_from_slice(&sequence.labels);
            labels.resize((row + 1) * seq_len, IGNORE);
        }
        Self {
            picture_count: pictures.len() / (3 * image_size * image_size),
            pictures,
            image_size,
            input_ids,
            labels,
            rows,
            seq_len,
        }
    }

    /// For the loss: the flat place before each label, the labels' tokens, and how many each row
    /// has. A label at a row's first token has nothing before it to be predicted from (`<s>` in a
    /// caption) and is left out.
    pub fn labelled(&self) -> (Vec<usize>, Vec<u32>, Vec<usize>) {
        let len = self.seq_len;
        let (mut places, mut labels, mut row_labels) = (Vec::new(), Vec::new(), Vec::new());
        for row in 0..self.rows.len() {
            let before = labels.len();
            for at in row * len + 1..(row + 1) * len {
                if self.labels[at] != IGNORE {
                    places.push(at - 1);
                    labels.push(self.labels[at] as u32);
                }
            }
            row_labels.push(labels.len() - before);
        }
        (places, labels, row_labels)
    }

    /// At most `parts` batches of about equally many pictures, each with its rows, in order. The
    /// length of the rows stays as it is. Rows without a picture go to the first.
    ///
    /// # Panics
    /// If a row's pictures lie in different parts; a row of [`Batcher`](super::Batcher) has one.
    pub fn split(self, parts: usize) -> Vec<Self> {
        let parts = parts.clamp(1, self.picture_count.max(1));
        if parts == 1 {
            return vec![self];
        }
        let pixels = 3 * self.image_size * self.image_size;
        let mut split: Vec<Self> = (0..parts)
            .map(|part| {
                let [first, end] = [part, part + 1].map(|part| part * self.picture_count / parts);
                Self {
                    pictures: self.pictures[first * pixels..end * pixels].to_vec(),
                    picture_count: end - first,
                    image_size: self.image_size,
                    input_ids: Vec::new(),
                    labels: Vec::new(),
                    rows: Vec::new(),
                    seq_len: self.seq_len,
                }
            })
            .collect();
        for (row, tokens) in self.rows.into_iter().zip(0..) {
            let picture = row.media.first().map_or(0, |media| media.picture);
            let owner = (0..parts)
                .find(|part| picture < (part + 1) * self.picture_count / parts)
                .unwrap_or(0);
            let first = owner * self.picture_count / parts;
            let mut row = row;
            for media in &mut row.media {
                media.picture -= first;
            }
            let tokens = tokens * self.seq_len..(tokens + 1) * self.seq_len;
            split[owner]
                .input_ids
                .extend_from_slice(&self.input_ids[tokens.clone()]);
            split[owner].labels.extend_from_slice(&self.labels[tokens]);
            split[owner].rows.push(row);
        }
        split
    }
}

/// A row's description and its ids, before padding.
pub(super) struct EncodedRow {
    pub(super) row: Row,
    pub(super) sequence: Sequence,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_padded_on_the_right() {
        let sequence = |ids: &[u32]| Sequence {
            input_ids: ids.to_vec(),
            labels: ids.iter().map(|&id| i64::from(id)).collect(),
            media: Vec::new(),
            question_end: None,
        };
        let sequences = [sequence(&[1]), sequence(&[2, 3, 4]), sequence(&[])];
        let rows = sequences.iter().map(|sequence| Row::of(sequence, 0));
        let padded = Batch::new(rows.collect(), &sequences, Vec::new(), 1, 9);
        assert_eq!(padded.seq_len, 3);
        assert_eq!(padded.input_ids, [1, 9, 9, 2, 3, 4, 9, 9, 9]);
        let ignored = [IGNORE; 3];
        assert_eq!(
            padded.labels,
            [&[1, IGNORE, IGNORE, 2, 3, 4][..], &ignored].concat()
        );
    }
}
