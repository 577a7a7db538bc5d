//! A batch in memory.

use std::ops::Range;

use crate::text::{IGNORE, Sequence};

/// Pictures and token rows, ready to become tensors.
///
/// Letters of the shapes: `N` pictures, `S` pixels a side, `B` rows, `T` tokens. A row holds one
/// document, or several behind each other if it is packed.
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
    /// The texts in the rows, in the order of their places.
    pub documents: Vec<Document>,
    /// `B`.
    pub row_count: usize,
    /// `T`, the length of all rows.
    pub seq_len: usize,
}

/// One text in a batch. All positions are those in its row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its row.
    pub row: usize,
    /// Its tokens; what no document has is padding.
    pub tokens: Range<usize>,
    /// Where pictures go.
    pub media: Vec<Media>,
    /// Position just after the first `<|assistant|>`; none in a caption.
    pub question_end: Option<usize>,
    /// Kind of the question, or `caption`, or the name of its source.
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

impl Document {
    /// A sequence that stands in `row` from `start` on, and whose pictures are `first_picture` of the
    /// batch and those after it. Its kind, key and texts are empty.
    pub fn of(sequence: &Sequence, row: usize, start: usize, first_picture: usize) -> Self {
        let media = sequence.media.iter().zip(first_picture..);
        Self {
            row,
            tokens: start..start + sequence.input_ids.len(),
            media: media
                .map(|(range, picture)| Media {
                    range: start + range.start..start + range.end,
                    picture,
                })
                .collect(),
            question_end: sequence.question_end.map(|end| start + end),
            kind: String::new(),
            key: String::new(),
            question: String::new(),
            answer: String::new(),
        }
    }
}

impl Batch {
    /// A batch of documents, `documents[d]` the place of `sequences[d]`. Rows are as long as the
    /// longest and at least `min_len`, padded with `pad`. `pictures` are the pixels of all
    /// pictures, of `image_size` a side.
    pub fn new(
        documents: Vec<Document>,
        sequences: &[Sequence],
        min_len: usize,
        pictures: Vec<f32>,
        image_size: usize,
        pad: u32,
    ) -> Self {
        let ends = documents.iter().map(|document| document.tokens.end);
        let seq_len = ends.max().unwrap_or(0).max(min_len);
        let rows = documents.iter().map(|document| document.row + 1);
        let row_count = rows.max().unwrap_or(0);
        let mut input_ids = vec![i64::from(pad); row_count * seq_len];
        let mut labels = vec![IGNORE; row_count * seq_len];
        for (document, sequence) in documents.iter().zip(sequences) {
            let row = document.row * seq_len;
            let place = row + document.tokens.start..row + document.tokens.end;
            for (to, &id) in input_ids[place.clone()].iter_mut().zip(&sequence.input_ids) {
                *to = i64::from(id);
            }
            labels[place].copy_from_slice(&sequence.labels);
        }
        Self {
            picture_count: pictures.len() / (3 * image_size * image_size),
            pictures,
            image_size,
            input_ids,
            labels,
            documents,
            row_count,
            seq_len,
        }
    }

    /// For the loss: the flat place before each label, the labels' tokens, and how many each
    /// document has. A label at a document's first token has nothing before it to be predicted
    /// from (`<s>` in a caption) and is left out.
    pub fn labelled(&self) -> (Vec<usize>, Vec<u32>, Vec<usize>) {
        let (mut places, mut labels, mut counts) = (Vec::new(), Vec::new(), Vec::new());
        for document in &self.documents {
            let before = labels.len();
            let row = document.row * self.seq_len;
            for at in row + document.tokens.start + 1..row + document.tokens.end {
                if self.labels[at] != IGNORE {
                    places.push(at - 1);
                    labels.push(self.labels[at] as u32);
                }
            }
            counts.push(labels.len() - before);
        }
        (places, labels, counts)
    }

    /// Tokens of documents, the rest being padding.
    pub fn tokens(&self) -> usize {
        self.documents
            .iter()
            .map(|document| document.tokens.len())
            .sum()
    }

    /// At most `parts` batches, none empty, of about equally many pictures, each with its rows, in order. The
    /// length of the rows stays as it is. A row goes where its first picture is, and takes those
    /// of its pictures along that no row before it has; rows without a picture are shared out by
    /// their numbers.
    ///
    /// # Panics
    /// If a row has a picture that a row in another part has too; rows of
    /// [`Batcher`](super::Batcher) have one picture, and packed rows share none.
    pub fn split(self, parts: usize) -> Vec<Self> {
        let parts = parts.clamp(1, self.row_count.max(1));
        if parts == 1 {
            return vec![self];
        }
        let share = |index: usize, of: usize| {
            let ends_behind = |part: &usize| index < (part + 1) * of / parts;
            (0..parts).find(ends_behind).unwrap_or(0)
        };
        let by_formula = |picture| share(picture, self.picture_count);
        let mut owners: Vec<Option<usize>> = vec![None; self.picture_count];
        let mut rows: Vec<Option<usize>> = vec![None; self.row_count];
        for document in &self.documents {
            for media in &document.media {
                let owner = owners[media.picture].unwrap_or_else(|| by_formula(media.picture));
                let owner = *rows[document.row].get_or_insert(owner);
                let owned = *owners[media.picture].get_or_insert(owner);
                assert_eq!(owned, owner, "rows that share a picture lie in one part");
            }
        }
        let mut split: Vec<Self> = (0..parts).map(|_| self.empty()).collect();
        let pixels = 3 * self.image_size * self.image_size;
        let mut moved = vec![0; self.picture_count];
        for (picture, owner) in owners.iter().enumerate() {
            let part = &mut split[owner.unwrap_or_else(|| by_formula(picture))];
            moved[picture] = part.picture_count;
            part.picture_count += 1;
            let values = &self.pictures[picture * pixels..(picture + 1) * pixels];
            part.pictures.extend_from_slice(values);
        }
        let mut new_rows = vec![0; self.row_count];
        let rows = rows.into_iter().enumerate();
        let rows: Vec<usize> = rows
            .map(|(row, owner)| owner.unwrap_or_else(|| share(row, self.row_count)))
            .collect();
        for (row, &owner) in rows.iter().enumerate() {
            let part = &mut split[owner];
            new_rows[row] = part.row_count;
            part.row_count += 1;
            let tokens = row * self.seq_len..(row + 1) * self.seq_len;
            part.input_ids
                .extend_from_slice(&self.input_ids[tokens.clone()]);
            part.labels.extend_from_slice(&self.labels[tokens]);
        }
        for mut document in self.documents {
            let owner = rows[document.row];
            document.row = new_rows[document.row];
            for media in &mut document.media {
                media.picture = moved[media.picture];
            }
            split[owner].documents.push(document);
        }
        // Two rows of which the first has nearly all pictures are both of one part.
        split.retain(|part| part.row_count > 0);
        split
    }

    /// A batch with rows of this one's length, but none yet.
    fn empty(&self) -> Self {
        Self {
            pictures: Vec::new(),
            picture_count: 0,
            image_size: self.image_size,
            input_ids: Vec::new(),
            labels: Vec::new(),
            documents: Vec::new(),
            row_count: 0,
            seq_len: self.seq_len,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(ids: &[u32], media: &[Range<usize>]) -> Sequence {
        Sequence {
            input_ids: ids.to_vec(),
            labels: ids.iter().map(|&id| i64::from(id)).collect(),
            media: media.to_vec(),
            question_end: None,
        }
    }

    #[test]
    fn rows_are_padded_on_the_right() {
        let sequences = [&[1][..], &[2, 3, 4], &[]].map(|ids| sequence(ids, &[]));
        let documents = sequences.iter().enumerate();
        let documents = documents.map(|(row, sequence)| Document::of(sequence, row, 0, 0));
        let padded = Batch::new(documents.collect(), &sequences, 0, Vec::new(), 1, 9);
        assert_eq!(
            (padded.row_count, padded.seq_len, padded.tokens()),
            (3, 3, 4)
        );
        assert_eq!(padded.input_ids, [1, 9, 9, 2, 3, 4, 9, 9, 9]);
        let ignored = [IGNORE; 3];
        assert_eq!(
            padded.labels,
            [&[1, IGNORE, IGNORE, 2, 3, 4][..], &ignored].concat()
        );
    }

    #[test]
    fn documents_of_a_row_stand_behind_each_other() {
        let sequences = [
            sequence(&[1, 7, 7], &[1..3]),
            sequence(&[2, 3], &[]),
            sequence(&[7, 7, 4, 7, 7], &[0..2, 3..5]),
        ];
        let documents = vec![
            Document::of(&sequences[0], 0, 0, 0),
            Document::of(&sequences[1], 0, 3, 1),
            Document::of(&sequences[2], 1, 0, 1),
        ];
        let batch = Batch::new(documents, &sequences, 6, vec![0.0; 9], 1, 9);
        assert_eq!(batch.input_ids, [1, 7, 7, 2, 3, 9, 7, 7, 4, 7, 7, 9]);
        // The first token of a document is not predicted from the document before.
        let (places, labels, counts) = batch.labelled();
        assert_eq!(places, [0, 1, 3, 6, 7, 8, 9]);
        assert_eq!(labels, [7, 7, 3, 7, 4, 7, 7]);
        assert_eq!(counts, [2, 1, 4]);
        // By pictures alone, picture 1 would go to the first half.
        let halves = batch.split(2);
        assert_eq!(halves[0].input_ids, [1, 7, 7, 2, 3, 9]);
        assert_eq!((halves[0].picture_count, halves[1].picture_count), (1, 2));
        assert_eq!(halves[1].documents[0].row, 0);
        let pictures = halves[1].documents[0]
            .media
            .iter()
            .map(|media| media.picture);
        assert_eq!(pictures.collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn rows_without_pictures_are_shared_out() {
        let sequences = [&[1][..], &[2], &[3], &[4]].map(|ids| sequence(ids, &[]));
        let documents = sequences.iter().enumerate();
        let documents = documents.map(|(row, sequence)| Document::of(sequence, row, 0, 0));
        let batch = Batch::new(documents.collect(), &sequences, 0, Vec::new(), 1, 9);
        let halves = batch.split(2);
        assert_eq!(halves[0].input_ids, [1, 2]);
        assert_eq!(halves[1].input_ids, [3, 4]);
    }

    #[test]
    fn no_part_of_a_batch_is_empty() {
        let sequences = [sequence(&[7], &[0..1]), sequence(&[7, 7], &[0..1, 1..2])];
        let documents = vec![
            Document::of(&sequences[0], 0, 0, 0),
            Document::of(&sequences[1], 1, 0, 1),
        ];
        let batch = Batch::new(documents, &sequences, 0, vec![0.0; 9], 1, 9);
        let parts = batch.split(3);
        assert_eq!(parts.len(), 2);
        assert!(parts.iter().all(|part| part.row_count == 1));
    }
}
