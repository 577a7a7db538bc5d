//! One forward pass over a batch: the loss of every label and the likeliest token in its place.

use aki_model::attention::{AttentionLayout, Document, LayoutError};
use aki_model::{Aki, MediaSpan};
use burn::tensor::{Int, Tensor, TensorData};

use crate::data::PolicyBatch;

/// Losses and predictions of a batch.
pub struct Scores {
    /// Of each label.
    pub tokens: aki_model::language::Scores,
    /// The labels' tokens.
    pub labels: Vec<u32>,
    /// For each row, how many of the labels are its own.
    pub row_labels: Vec<usize>,
}

/// Scores a batch. Each picture is encoded once, however many rows ask about it.
///
/// # Panics
///
/// If the batch's spans do not fit its rows, which `aki_data::Batcher` never makes.
pub fn score(aki: &Aki, input: &PolicyBatch) -> Scores {
    try_score(aki, input).expect("the batcher's spans fit its rows")
}

/// As [`score`], for batches made elsewhere.
///
/// # Errors
///
/// [`LayoutError`] if the batch's spans do not fit its rows, or not the rule.
pub fn try_score(aki: &Aki, input: &PolicyBatch) -> Result<Scores, LayoutError> {
    let PolicyBatch { batch, policy } = input;
    let device = burn::module::Module::devices(aki).swap_remove(0);
    let (rows, len, side) = (batch.rows.len(), batch.seq_len, batch.image_size);
    let documents: Vec<Vec<Document>> = batch
        .rows
        .iter()
        .map(|row| {
            let media = row.media.iter().map(|media| media.range.clone()).collect();
            vec![Document {
                tokens: 0..row.len,
                media,
                question_end: row.question_end,
            }]
        })
        .collect();
    let layout = AttentionLayout::from_spans(*policy, len, &documents)?;
    let spans: Vec<MediaSpan> = batch
        .rows
        .iter()
        .enumerate()
        .flat_map(|(row, described)| {
            described.media.iter().map(move |media| MediaSpan {
                row,
                tokens: media.range.clone(),
                picture: media.picture,
            })
        })
        .collect();

    let shape = [batch.picture_count, 3, side, side];
    let media = (batch.picture_count > 0).then(|| {
        let pixels = TensorData::new(batch.pictures.clone(), shape);
        aki.encode(Tensor::from_data(pixels, &device))
    });
    let ids = batch
        .input_ids
        .iter()
        .map(|&id| id as i32)
        .collect::<Vec<_>>();
    let ids_bt = Tensor::<2, Int>::from_data(TensorData::new(ids, [rows, len]), &device);
    let x_btd = aki.fuse(ids_bt, media, &spans);
    let hidden_btd = aki.forward(x_btd, &layout, None);

    let (places, labels, row_labels) = batch.labelled();
    Ok(Scores {
        tokens: aki.score(hidden_btd, &places, &labels),
        labels,
        row_labels,
    })
}

impl Scores {
    /// For each row, whether the likeliest tokens are all its labels: greedy decoding would give
    /// exactly the true answer. (It is decided by induction: as long as the tokens so far are the
    /// true ones, decoding stands where this forward pass stood.)
    pub fn exact(&self) -> Vec<bool> {
        let likeliest = self.tokens.likeliest.clone().into_data();
        let mut pairs = likeliest
            .iter::<i64>()
            .zip(&self.labels)
            .map(|(likeliest, &label)| likeliest == i64::from(label));
        self.row_labels
            .iter()
            .map(|&count| {
                // All of a row's pairs must be taken, so no short circuit.
                pairs
                    .by_ref()
                    .take(count)
                    .fold(true, |exact, hit| exact & hit)
            })
            .collect()
    }
}
