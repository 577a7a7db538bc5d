//! How large a step's batch is, as far as a run file says it without its data.

use aki_data::sources::SourceKind;
use aki_model::attention::{AttentionLayout, Document, Policy};
use aki_model::flops::Work;

use crate::config::{RunConfig, StageConfig, StageTarget};

/// Questions a picture, where a stage takes all there are.
const QUESTIONS: usize = 4;

/// What goes through the network at a time, or in a step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub pictures: usize,
    pub rows: usize,
    /// Tokens a row.
    pub len: usize,
    /// Documents a row.
    pub documents: usize,
    /// Tokens of a row that logits are made for.
    pub labels: usize,
}

/// The batch of a stage.
pub(super) struct StageBatch {
    /// All of a step.
    pub step: Shape,
    /// What goes through the network at a time.
    pub micro: Shape,
    /// What the run file does not say and was taken for granted.
    pub assumed: Vec<String>,
}

impl StageBatch {
    /// `text` is how many tokens of text a row has where the stage does not limit them.
    pub(super) fn of(config: &RunConfig, stage: &StageConfig, text: usize) -> Self {
        let mut assumed = Vec::new();
        let media = config.model.media_len();
        let pictures = pictures_of_a_text(config, stage);
        let text = if let Some(limit) = stage.max_text_len {
            // A picture counts as one token there.
            limit.saturating_sub(pictures).max(1)
        } else {
            assumed.push(format!("{text} tokens of text to a picture (--text)"));
            text
        };
        let whole = text.saturating_add(pictures.saturating_mul(media));
        let (rows, pictures, len, documents) = match (stage.target, stage.packing) {
            (StageTarget::Sources, Some(row)) => {
                let documents = (row / whole).max(1);
                assumed.push(format!("{documents} texts to a packed row"));
                (
                    stage.batch,
                    stage
                        .batch
                        .saturating_mul(documents)
                        .saturating_mul(pictures),
                    row,
                    documents,
                )
            }
            (StageTarget::Questions, _) => {
                let questions = match stage.questions_per_picture {
                    None | Some(0) => {
                        assumed.push(format!("{QUESTIONS} questions to a picture"));
                        QUESTIONS
                    }
                    Some(count) => count,
                };
                (stage.batch.saturating_mul(questions), stage.batch, whole, 1)
            }
            _ => (stage.batch, stage.batch.saturating_mul(pictures), whole, 1),
        };
        let step = Shape {
            pictures,
            rows,
            len,
            documents,
            labels: text.saturating_mul(documents),
        };
        let at_a_time = stage
            .micro_batch
            .map_or(stage.batch, |it| it.min(stage.batch));
        let share = |count: usize| count.saturating_mul(at_a_time).div_ceil(stage.batch);
        let micro = Shape {
            pictures: share(pictures),
            rows: share(rows),
            ..step
        };
        Self {
            step,
            micro,
            assumed,
        }
    }
}

/// Pictures of a text at most: more than one have web pages only.
fn pictures_of_a_text(config: &RunConfig, stage: &StageConfig) -> usize {
    let sources = config.data.source.iter();
    let learned = sources.filter(|source| stage.learns(source) && source.kind == SourceKind::Mmc4);
    let most = learned.filter_map(|source| source.max_pictures).max();
    match stage.target {
        StageTarget::Sources => most.unwrap_or(1).max(1),
        StageTarget::Captions | StageTarget::Questions => 1,
    }
}

impl Shape {
    /// Tokens of all rows.
    pub(super) fn tokens(&self) -> usize {
        self.rows.saturating_mul(self.len)
    }

    /// What the network computes with it under a rule: a picture before each text, the first half of
    /// which is a question.
    pub(super) fn work(&self, policy: Policy, media: usize) -> Work {
        let len = self.len / self.documents;
        let media = media.min(len);
        let document = Document {
            tokens: 0..len,
            media: Some(0..media)
                .filter(|it| !it.is_empty())
                .into_iter()
                .collect(),
            question_end: Some(media + (len - media) / 2),
        };
        let layout = AttentionLayout::from_spans(policy, len, &[vec![document]]);
        let causal = len * (len + 1) / 2;
        let pairs = layout.map_or(causal, |layout| layout.visible_pairs());
        Work {
            pictures: self.pictures,
            tokens: self.tokens(),
            pairs: self
                .rows
                .saturating_mul(self.documents)
                .saturating_mul(pairs),
            labels: self.rows.saturating_mul(self.labels),
        }
    }
}
