//! From ready samples to a batch.

use std::sync::Arc;

use super::prepare::{Prepared, Preparer};
use crate::batch::{Batch, Document};

/// A batch of rows of samples, of at least `min_len` tokens a row. `names` are those of the
/// sources, which become the documents' kinds.
pub fn collate(
    preparer: &Preparer,
    names: &[Arc<str>],
    rows: Vec<Vec<Prepared>>,
    min_len: usize,
) -> Batch {
    let side = preparer.image_size;
    let values = 3 * side * side;
    let pictures: usize = rows
        .iter()
        .flatten()
        .map(|sample| sample.pictures.len())
        .sum();
    let mut pixels = vec![0.0; pictures * values];
    let mut places = pixels.chunks_exact_mut(values);
    let (mut documents, mut sequences, mut shown) = (Vec::new(), Vec::new(), 0);
    for (row, samples) in rows.into_iter().enumerate() {
        let mut start = 0;
        for sample in samples {
            documents.push(Document {
                kind: names[sample.source].to_string(),
                key: sample.key,
                ..Document::of(&sample.sequence, row, start, shown)
            });
            start += sample.sequence.input_ids.len();
            shown += sample.pictures.len();
            sequences.push(sample.sequence);
            for (picture, place) in sample.pictures.iter().zip(&mut places) {
                picture.normalise_into(preparer.mean, preparer.std, place);
            }
        }
    }
    let pad = preparer.tokenizer.special().pad;
    Batch::new(documents, &sequences, min_len, pixels, side, pad)
}
