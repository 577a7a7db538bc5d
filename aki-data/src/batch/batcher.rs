//! Makes batches of samples.

use std::sync::Arc;

use rand::Rng;
use rayon::prelude::*;

use super::layout::{Batch, Document};
use super::target::{Target, draw_turns};
use crate::shards::{Sample, Turn};
use crate::text::{Sequence, Template, Tokenizer};
use crate::{Augmentation, DataError, Permits, Picture, Variation, item_rng};

/// Everything that decides what a sample becomes.
#[derive(Clone, Debug)]
pub struct Batcher {
    /// The tokenizer.
    pub tokenizer: Arc<Tokenizer>,
    /// The turn texts.
    pub template: Template,
    /// Pixels a side that pictures are resized to; the aspect is not kept.
    pub image_size: usize,
    /// Whether EXIF tags turn pictures. The reference model saw them as stored.
    pub exif_orientation: bool,
    /// Taken from each value, which lies in 0 to 1.
    pub mean: [f32; 3],
    /// Then divided by.
    pub std: [f32; 3],
    /// Embeddings, and so `<image>` tokens, a picture.
    pub media_len: usize,
    /// Captions or questions.
    pub target: Target,
    /// Variation of the pictures, as far as the texts of their rows allow it.
    pub augmentation: Option<Augmentation>,
    /// Seed of the questions drawn and of the augmentation.
    pub seed: u64,
}

impl Batcher {
    /// Makes a batch of samples, each with its item number in the stream (see
    /// [`Order`](crate::Order)). Pictures are worked on in parallel.
    ///
    /// The same items give the same batch, bit for bit: whatever is random is a
    /// function of the seed and the item number, not of the batch's other items.
    ///
    /// # Errors
    /// - [`DataError::EmptyBatch`] if there are no items.
    /// - [`DataError::Picture`] if a picture cannot be decoded, naming shard and key.
    /// - [`DataError::Target`] if a sample lacks what the target needs.
    /// - [`DataError::Encode`] if the tokenizer fails.
    ///
    /// # Panics
    /// If `image_size` is 0.
    pub fn batch(&self, items: &[(usize, &Sample)]) -> Result<Batch, DataError> {
        if items.is_empty() {
            return Err(DataError::EmptyBatch);
        }
        let values = 3 * self.image_size * self.image_size;
        let mut pictures = vec![0.0; items.len() * values];
        let prepared: Vec<_> = items
            .par_iter()
            .zip(pictures.par_chunks_exact_mut(values))
            .enumerate()
            .map(|(picture, (&(item, sample), pixels))| self.prepare(picture, item, sample, pixels))
            .collect();
        let mut documents: Vec<Document> = Vec::new();
        let mut sequences = Vec::new();
        // In the order of the items, so that the first bad one is the error told.
        for prepared in prepared {
            for (document, sequence) in prepared? {
                let row = documents.len();
                documents.push(Document { row, ..document });
                sequences.push(sequence);
            }
        }
        Ok(Batch::new(
            documents,
            &sequences,
            0,
            pictures,
            self.image_size,
            self.tokenizer.special().pad,
        ))
    }

    /// The rows that one item adds to a batch; its picture is written to `pixels`.
    fn prepare(
        &self,
        picture: usize,
        item: usize,
        sample: &Sample,
        pixels: &mut [f32],
    ) -> Result<Vec<(Document, Sequence)>, DataError> {
        // Questions are drawn before the augmentation, so that switching it on
        // does not change which ones are asked.
        let mut rng = item_rng(self.seed, item);
        let rows = match self.target {
            Target::Captions => vec![self.caption_row(picture, sample)?],
            Target::Questions { per_picture } => {
                if sample.turns.is_empty() {
                    return Err(missing(sample, "question"));
                }
                draw_turns(&sample.turns, per_picture, &mut rng)
                    .into_iter()
                    .map(|turn| self.question_row(picture, sample, turn))
                    .collect::<Result<_, _>>()?
            }
        };
        self.write_pixels(sample, &rows, &mut rng, pixels)?;
        Ok(rows)
    }

    fn write_pixels(
        &self,
        sample: &Sample,
        rows: &[(Document, Sequence)],
        rng: &mut impl Rng,
        pixels: &mut [f32],
    ) -> Result<(), DataError> {
        let name = format!("{} in {}", sample.key, sample.shard.display());
        let side = self.image_size as u32;
        let picture = if self.exif_orientation {
            Picture::decode_upright(&sample.picture, &name)?
        } else {
            Picture::decode(&sample.picture, &name)?
        };
        let picture = match self.variation() {
            Some(variation) => {
                let texts = rows.iter();
                let texts = texts.flat_map(|(row, _)| [row.question.as_str(), row.answer.as_str()]);
                let size = (picture.width, picture.height);
                let change = variation.draw(size, Permits::of(texts, false), None, rng);
                change.apply(picture, side)
            }
            None => picture.resize(side, side),
        };
        picture.normalise_into(self.mean, self.std, pixels);
        Ok(())
    }

    fn variation(&self) -> Option<Variation> {
        let augmentation = self.augmentation.as_ref()?;
        Some(match self.target {
            Target::Captions => augmentation.for_pretraining(),
            Target::Questions { .. } => augmentation.for_tuning(),
        })
    }

    fn caption_row(
        &self,
        picture: usize,
        sample: &Sample,
    ) -> Result<(Document, Sequence), DataError> {
        let caption = sample
            .caption
            .as_deref()
            .ok_or_else(|| missing(sample, "caption"))?;
        let sequence = self
            .template
            .caption(&self.tokenizer, caption, self.media_len)?;
        let turn = Turn {
            question: String::new(),
            answer: caption.to_owned(),
            kind: "caption".to_owned(),
        };
        Ok(encoded_row(picture, sample, &turn, sequence))
    }

    fn question_row(
        &self,
        picture: usize,
        sample: &Sample,
        turn: &Turn,
    ) -> Result<(Document, Sequence), DataError> {
        let sequence = self.template.training(
            &self.tokenizer,
            &turn.question,
            &turn.answer,
            Some(self.media_len),
        )?;
        Ok(encoded_row(picture, sample, turn, sequence))
    }
}

/// In row 0, whichever it will be.
fn encoded_row(
    picture: usize,
    sample: &Sample,
    turn: &Turn,
    sequence: Sequence,
) -> (Document, Sequence) {
    let document = Document {
        kind: turn.kind.clone(),
        key: sample.key.clone(),
        question: turn.question.clone(),
        answer: turn.answer.clone(),
        ..Document::of(&sequence, 0, 0, picture)
    };
    (document, sequence)
}

fn missing(sample: &Sample, needs: &'static str) -> DataError {
    DataError::Target {
        shard: sample.shard.clone(),
        key: sample.key.clone(),
        needs,
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::Amounts;
    use crate::shards::tests::tiny_png;
    use crate::text::IGNORE;
    use crate::text::tests::easy_vqa;

    const SIDE: usize = 4;

    fn batcher(target: Target) -> Batcher {
        Batcher {
            tokenizer: Arc::new(easy_vqa()),
            template: Template::default(),
            image_size: SIDE,
            exif_orientation: false,
            mean: [0.5; 3],
            std: [0.5; 3],
            media_len: 3,
            target,
            augmentation: Some(Augmentation::Careful(Amounts {
                flip: 0.5,
                shift: 1,
                crop: None,
            })),
            seed: 11,
        }
    }

    fn sample(key: &str, questions: usize, caption: Option<&str>) -> Sample {
        let turn = |index| Turn {
            question: format!("is there a circle {index}?"),
            answer: "no".to_owned(),
            kind: "yes/no".to_owned(),
        };
        Sample {
            key: key.to_owned(),
            shard: PathBuf::from("s.tar"),
            picture: tiny_png(),
            caption: caption.map(str::to_owned),
            turns: (0..questions).map(turn).collect(),
        }
    }

    #[test]
    fn questions_of_a_picture_share_it() {
        let (a, b) = (sample("a", 3, None), sample("b", 1, None));
        let batch = batcher(Target::Questions { per_picture: None })
            .batch(&[(0, &a), (1, &b)])
            .expect("batch");
        assert_eq!(batch.picture_count, 2);
        assert_eq!(batch.pictures.len(), 2 * 3 * SIDE * SIDE);
        assert_eq!(batch.documents.len(), 4);
        assert_eq!(batch.input_ids.len(), 4 * batch.seq_len);
        assert_eq!(batch.labels.len(), 4 * batch.seq_len);
        let pictures: Vec<_> = batch
            .documents
            .iter()
            .map(|row| row.media[0].picture)
            .collect();
        assert_eq!(pictures, [0, 0, 0, 1]);
        for row in &batch.documents {
            assert_eq!(row.media[0].range.len(), 3);
            assert!(row.question_end.is_some_and(|end| end < row.tokens.end));
        }
    }

    #[test]
    fn what_is_said_of_a_picture_decides_whether_it_is_flipped() {
        let mut png = std::io::Cursor::new(Vec::new());
        ::image::RgbImage::from_fn(4, 4, |x, _| ::image::Rgb([60 * x as u8; 3]))
            .write_to(&mut png, ::image::ImageFormat::Png)
            .expect("writing to memory");
        let red = |caption: &str, augmentation| {
            let mut sample = sample("a", 0, Some(caption));
            sample.picture = png.get_ref().clone();
            let batcher = Batcher {
                augmentation,
                ..batcher(Target::Captions)
            };
            let batch = batcher.batch(&[(0, &sample)]).expect("batch");
            batch.pictures[..4].to_vec()
        };
        let flip = Some(Augmentation::Careful(Amounts {
            flip: 1.0,
            ..Amounts::default()
        }));
        let plain = red("a circle", None);
        let mirrored: Vec<_> = plain.iter().rev().copied().collect();
        assert_ne!(plain, mirrored);
        assert_eq!(red("a circle", flip), mirrored);
        assert_eq!(red("a circle on the left", flip), plain);
    }

    #[test]
    fn captions_are_padded_and_carry_their_kind() {
        let short = sample("a", 0, Some("a circle"));
        let long = sample("b", 0, Some("a circle a circle a circle"));
        let batcher = batcher(Target::Captions);
        let batch = batcher.batch(&[(0, &short), (1, &long)]).expect("batch");
        let row = &batch.documents[0];
        assert_eq!(
            (row.kind.as_str(), row.answer.as_str()),
            ("caption", "a circle")
        );
        assert_eq!(row.question_end, None);
        let pad = i64::from(batcher.tokenizer.special().pad);
        assert!(row.tokens.end < batch.seq_len);
        assert!(
            batch.input_ids[row.tokens.end..batch.seq_len]
                .iter()
                .all(|&id| id == pad)
        );
        assert!(
            batch.labels[row.tokens.end..batch.seq_len]
                .iter()
                .all(|&label| label == IGNORE)
        );
        assert_eq!(batch.documents[1].tokens.len(), batch.seq_len);
    }

    #[test]
    fn an_item_is_the_same_in_any_batch() {
        let (a, b) = (sample("a", 9, None), sample("b", 9, None));
        let batcher = batcher(Target::Questions {
            per_picture: Some(2),
        });
        let both = batcher.batch(&[(7, &a), (8, &b)]).expect("batch");
        assert_eq!(both, batcher.batch(&[(7, &a), (8, &b)]).expect("batch"));
        let alone = batcher.batch(&[(8, &b)]).expect("batch");
        assert_eq!(alone.documents[0].question, both.documents[2].question);
        assert_eq!(alone.pictures, both.pictures[3 * SIDE * SIDE..]);
        let questions = |item| {
            let batch = batcher.batch(&[(item, &a)]).expect("batch");
            batch
                .documents
                .into_iter()
                .map(|row| row.question)
                .collect::<Vec<_>>()
        };
        assert!((0..20).any(|item| questions(item) != questions(item + 1)));
    }

    #[test]
    fn a_batch_does_not_depend_on_the_number_of_threads() {
        let samples: Vec<_> = (0..9)
            .map(|index| sample(&index.to_string(), 3, None))
            .collect();
        let items: Vec<_> = samples.iter().enumerate().collect();
        let batcher = batcher(Target::Questions {
            per_picture: Some(2),
        });
        let with_threads = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            let batch = pool.expect("threads").install(|| batcher.batch(&items));
            batch.expect("batch")
        };
        assert_eq!(with_threads(1), with_threads(4));
    }

    #[test]
    fn what_cannot_be_batched_is_named() {
        let bare = sample("bare", 0, None);
        for target in [Target::Captions, Target::Questions { per_picture: None }] {
            assert!(!target.accepts(&bare));
            let error = batcher(target)
                .batch(&[(0, &bare)])
                .expect_err("nothing to learn");
            assert!(error.to_string().contains("bare of s.tar"), "{error}");
        }
        let mut broken = sample("broken", 1, Some("a"));
        broken.picture.truncate(40);
        let error = batcher(Target::Captions)
            .batch(&[(0, &broken)])
            .expect_err("broken");
        assert!(error.to_string().contains("broken in s.tar"), "{error}");
        let error = batcher(Target::Captions).batch(&[]).expect_err("empty");
        assert!(matches!(error, DataError::EmptyBatch));
    }
}
