//! One forward pass over a batch: the loss of every label and the likeliest token in its place.

use aki_data::Batch;
use aki_model::attention::{AttentionLayout, Document, LayoutError};
use aki_model::language::Trail;
use aki_model::{Aki, MediaSpan};
use burn::tensor::{Int, Tensor, TensorData};

use crate::data::PolicyBatch;

/// Losses and predictions of a batch.
pub struct Scores {
    /// Of each label.
    pub tokens: aki_model::language::Scores,
    /// The labels' tokens.
    pub labels: Vec<u32>,
    /// For each document, how many of the labels are its own.
    pub document_labels: Vec<usize>,
}

/// Scores a batch. Each picture is encoded once, however many rows ask about it. Gradients come times
/// `scale`, losses do not.
///
/// # Panics
///
/// If the batch's spans do not fit its rows, which `aki_data::Batcher` never makes.
pub fn score(aki: &Aki, input: &PolicyBatch, scale: f64) -> Scores {
    try_score(aki, input, scale).expect("the batcher's spans fit its rows")
}

/// As [`score`], for batches made elsewhere.
///
/// # Errors
///
/// [`LayoutError`] if the batch's spans do not fit its rows, or not the rule.
pub fn try_score(aki: &Aki, input: &PolicyBatch, scale: f64) -> Result<Scores, LayoutError> {
    let Fused { x_btd, layout } = fuse(aki, input)?;
    let hidden_btd = aki.forward(x_btd, &layout, None);
    Ok(scored(aki, hidden_btd, &input.batch, scale))
}

/// As [`score`], with the inputs of the decoder's blocks alone kept for the backward pass, which
/// goes through [`Trail::backward`] under the layout.
///
/// # Panics
///
/// As [`score`].
pub fn score_trailing(
    aki: &Aki,
    input: &PolicyBatch,
    scale: f64,
) -> (Scores, Trail, AttentionLayout) {
    let fused = fuse(aki, input);
    let Fused { x_btd, layout } = fused.expect("the batcher's spans fit its rows");
    let (hidden_btd, trail) = aki.language().forward_trailing(x_btd, &layout);
    let scores = scored(aki, hidden_btd, &input.batch, scale);
    (scores, trail, layout)
}

/// Texts with their pictures in them, and who sees whom.
struct Fused {
    x_btd: Tensor<3>,
    layout: AttentionLayout,
}

fn fuse(aki: &Aki, input: &PolicyBatch) -> Result<Fused, LayoutError> {
    let batch = &input.batch;
    let device = burn::module::Module::devices(aki).swap_remove(0);
    let (rows, len, side) = (batch.row_count, batch.seq_len, batch.image_size);
    let layout = layout(input)?;
    let spans = batch.documents.iter().flat_map(|document| {
        document.media.iter().map(|media| MediaSpan {
            row: document.row,
            tokens: media.range.clone(),
            picture: media.picture,
        })
    });
    let spans: Vec<MediaSpan> = spans.collect();

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
    Ok(Fused { x_btd, layout })
}

fn scored(aki: &Aki, hidden_btd: Tensor<3>, batch: &Batch, scale: f64) -> Scores {
    let (places, labels, document_labels) = batch.labelled();
    Scores {
        tokens: aki.score(hidden_btd, &places, &labels, scale),
        labels,
        document_labels,
    }
}

/// Who may look at whom in a batch.
pub(crate) fn layout(input: &PolicyBatch) -> Result<AttentionLayout, LayoutError> {
    let PolicyBatch { batch, policy, .. } = input;
    let mut documents = vec![Vec::new(); batch.row_count];
    for document in &batch.documents {
        documents[document.row].push(Document {
            tokens: document.tokens.clone(),
            media: document.media.iter().map(|m| m.range.clone()).collect(),
            question_end: document.question_end,
        });
    }
    AttentionLayout::from_spans(*policy, batch.seq_len, &documents)
}

impl Scores {
    /// For each document, whether the likeliest tokens are all its labels: greedy decoding would give
    /// exactly the true answer. (It is decided by induction: as long as the tokens so far are the
    /// true ones, decoding stands where this forward pass stood.)
    pub fn exact(&self) -> Vec<bool> {
        let likeliest = self.tokens.likeliest.clone().into_data();
        let mut pairs = likeliest
            .iter::<i64>()
            .zip(&self.labels)
            .map(|(likeliest, &label)| likeliest == i64::from(label));
        self.document_labels
            .iter()
            .map(|&count| {
                // All of a document's pairs must be taken, so no short circuit.
                pairs
                    .by_ref()
                    .take(count)
                    .fold(true, |exact, hit| exact & hit)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use aki_data::{Document as Placed, Sequence, Template, Tokenizer};
    use aki_model::attention::Policy;
    use burn::tensor::Device;

    use super::*;
    use crate::config::RunConfig;

    const SMALL: [&str; 8] = [
        "model.vision.image_size=16",
        "model.vision.num_hidden_layers=1",
        "model.language.num_hidden_layers=2",
        "model.resampler.depth=1",
        "model.resampler.num_latents=4",
        "model.language.hidden_size=48",
        "model.language.num_attention_heads=2",
        "model.language.num_key_value_heads=2",
    ];

    fn batch(sequences: &[Sequence], places: &[(usize, usize)], min_len: usize) -> Batch {
        let mut shown = 0;
        let documents = sequences
            .iter()
            .zip(places)
            .map(|(sequence, &(row, start))| {
                let document = Placed::of(sequence, row, start, shown);
                shown += sequence.media.len();
                document
            });
        let documents: Vec<_> = documents.collect();
        let pixels = (0..shown * 3 * 16 * 16).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0);
        Batch::new(documents, sequences, min_len, pixels.collect(), 16, 0)
    }

    #[test]
    fn packed_documents_score_as_they_do_alone() {
        let settings = SMALL.map(str::to_owned);
        let run = "../assets/configs/easy-vqa.toml".as_ref();
        let config = RunConfig::load(run, &settings).expect("run");
        let tokenizer = Tokenizer::from_file(&config.text.tokenizer).expect("tokenizer");
        let device = Device::flex();
        device.seed(3);
        let aki = config.model.init(tokenizer.base_vocab(), &device);
        let template = Template::default();
        let question = |question: &str, media| {
            let sequence = template.training(&tokenizer, question, "blue", media);
            sequence.expect("ids")
        };
        let sequences = [
            question("what color is the shape?", Some(4)),
            question("is there a circle?", None),
            template
                .caption(&tokenizer, "a red triangle", 4)
                .expect("ids"),
            question("what is the red shape?", Some(4)),
        ];
        let lengths: Vec<_> = sequences.iter().map(|it| it.input_ids.len()).collect();
        let alone = [(0, 0), (1, 0), (2, 0), (3, 0)];
        let third = lengths[0] + lengths[1];
        let packed = [(0, 0), (0, lengths[0]), (0, third), (1, 0)];
        for policy in [Policy::Causal, Policy::Mma] {
            let scores = |places, min_len| {
                let input = PolicyBatch {
                    batch: batch(&sequences, places, min_len),
                    policy,
                    behind: None,
                    loss_scale: 1.0,
                    labels_of_all: None,
                };
                let scores = score(&aki, &input, 1.0);
                let losses = scores.tokens.losses.into_data();
                (
                    losses.try_to_vec::<f32>().expect("losses"),
                    scores.document_labels,
                )
            };
            let (one, counts) = scores(&alone, 0);
            let (two, packed_counts) = scores(&packed, third + lengths[2] + 5);
            assert_eq!(counts, packed_counts);
            assert_eq!(one.len(), counts.iter().sum::<usize>());
            for (one, two) in one.iter().zip(&two) {
                assert!((one - two).abs() < 1e-5, "{policy:?}: {one} and {two}");
            }
        }
    }
}
