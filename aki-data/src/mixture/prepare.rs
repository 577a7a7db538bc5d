//! From a place in a source to what a batch is made of.

use std::path::Path;
use std::sync::Arc;

use rand_chacha::ChaCha8Rng;

use super::stream::Place;
use super::timings::{Timings, Work};
use crate::augment::{Augmentation, Change, Permits, Variation};
use crate::shards::{SkipReason, Skipped};
use crate::sources::{Encoded, Example, Source, Text};
use crate::text::{IGNORE, Sequence, Template, Tokenizer};
use crate::{DataError, Picture, Region, item_rng};

/// Everything that decides what a sample becomes.
#[derive(Clone, Debug)]
pub struct Preparer {
    /// The tokenizer.
    pub tokenizer: Arc<Tokenizer>,
    /// The turn texts.
    pub template: Template,
    /// Embeddings, and so `<image>` tokens, a picture.
    pub media_len: usize,
    /// Tokens of a text at most, `<image>` counted as one; what is behind them is cut off.
    pub max_text_len: Option<usize>,
    /// Tokens of a row that samples are packed into: longer ones cannot be used. A
    /// [`BatchStream`](super::BatchStream) sets it to its own
    /// [`packing`](super::BatchConfig::packing).
    pub packing: Option<usize>,
    /// Pixels a side that pictures are resized to; the aspect is not kept.
    pub image_size: usize,
    /// Whether EXIF tags turn pictures. The reference model saw them as stored. A picture of which
    /// a region is asked stays as it is stored, since the region counts so.
    pub exif_orientation: bool,
    /// Taken from each value, which lies in 0 to 1.
    pub mean: [f32; 3],
    /// Then divided by.
    pub std: [f32; 3],
    /// Variation of the pictures; its shift counts pixels after resizing.
    pub augmentation: Option<Augmentation>,
    /// Seed of the options' order and of the augmentation.
    pub seed: u64,
    /// Where the time is counted that it takes; it decides nothing.
    pub timings: Arc<Timings>,
}

/// A sample that is ready to be put into a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Prepared {
    /// Which source it is from.
    pub source: usize,
    /// The shard, or the folder of the pictures.
    pub origin: Arc<Path>,
    /// Its key there.
    pub key: String,
    /// Ids and labels.
    pub sequence: Sequence,
    /// Of the vision tower's size, one a media range.
    pub pictures: Vec<Picture>,
    /// Tokens that were cut off.
    pub cut: usize,
}

impl Preparer {
    /// Reads, decodes, resizes, encodes.
    ///
    /// # Errors
    /// Why the sample cannot be used, in the inner result; [`DataError::NoRoles`] and
    /// [`DataError::Encode`] if the tokenizer cannot be used at all.
    pub fn prepare(
        &self,
        sources: &[Source],
        place: Place,
    ) -> Result<Result<Prepared, Skipped>, DataError> {
        let source = &sources[place.source];
        match source.example(place.raw, Some((self.seed, place.item))) {
            Ok(example) => self.ready(place.source, source, example, Some(place.item)),
            Err(skipped) => Ok(Err(skipped)),
        }
    }

    /// As [`Self::prepare`], from an example of source number `number`; without augmentation if
    /// there is no item number.
    ///
    /// # Errors
    /// As [`Self::prepare`].
    pub fn ready(
        &self,
        number: usize,
        source: &Source,
        mut example: Example,
        item: Option<usize>,
    ) -> Result<Result<Prepared, Skipped>, DataError> {
        let (origin, key) = (example.origin.clone(), example.key.clone());
        let skipped = |reason| Skipped {
            shard: origin.to_path_buf(),
            key: key.clone(),
            reason,
        };
        let mut changes = Changes::new(self, source, &example.text, item);
        let mut pictures = Vec::new();
        // A box moves with its picture, which therefore comes first.
        if let (Text::Record(record), Some(first)) = (&example.text, example.pictures.first())
            && record.region.is_some()
        {
            match self.picture(first, &key, &mut changes) {
                Ok((picture, change)) => {
                    pictures.push(picture);
                    example.text = Text::Record(change.record(record.clone()));
                }
                Err(reason) => return Ok(Err(skipped(reason))),
            }
        }
        let (sequence, cut) = self.timings.time(Work::Text, || self.encode(&example))?;
        if let Err(reason) = self.usable(&sequence) {
            return Ok(Err(skipped(reason)));
        }
        for encoded in example
            .pictures
            .iter()
            .take(sequence.media.len())
            .skip(pictures.len())
        {
            match self.picture(encoded, &key, &mut changes) {
                Ok((picture, _)) => pictures.push(picture),
                Err(reason) => return Ok(Err(skipped(reason))),
            }
        }
        Ok(Ok(Prepared {
            source: number,
            origin,
            key,
            sequence,
            pictures,
            cut,
        }))
    }

    /// Ids and labels, and how many tokens were cut off.
    ///
    /// # Errors
    /// [`DataError::NoRoles`] and [`DataError::Encode`].
    pub fn encode(&self, example: &Example) -> Result<(Sequence, usize), DataError> {
        let (tokenizer, media_len) = (&self.tokenizer, self.media_len);
        let mut sequence = match &example.text {
            Text::Parts(parts) => self.template.interleaved(tokenizer, parts, media_len)?,
            Text::Record(record) => record.encode(&self.template, tokenizer, media_len)?,
        };
        let cut = self
            .max_text_len
            .map_or(0, |limit| sequence.truncate(limit));
        Ok((sequence, cut))
    }

    /// Whether something is left to be learned, and fits into a row. The first token is not
    /// learned: nothing comes before it.
    pub(super) fn usable(&self, sequence: &Sequence) -> Result<(), SkipReason> {
        let labels = sequence.labels.iter().skip(1);
        if labels.copied().all(|label| label == IGNORE) {
            return Err(SkipReason::NoLabels);
        }
        let tokens = sequence.input_ids.len();
        match self.packing {
            Some(limit) if tokens > limit => Err(SkipReason::TooLong { tokens, limit }),
            _ => Ok(()),
        }
    }

    fn picture(
        &self,
        picture: &Encoded,
        key: &str,
        changes: &mut Changes,
    ) -> Result<(Picture, Change), SkipReason> {
        let fault = |error: DataError| SkipReason::Picture {
            reason: error.to_string(),
        };
        let bytes = self.timings.time(Work::Read, || picture.bytes())?;
        let name = picture.name(key);
        // Regions count in the picture as it is stored.
        let decoded = self.timings.time(Work::Decode, || match changes.region {
            Some(_) => Picture::decode(&bytes, &name),
            None => self.decode(&bytes, &name),
        });
        let decoded = decoded.map_err(fault)?;
        let change = changes.draw((decoded.width, decoded.height));
        let side = self.image_size as u32;
        let picture = self
            .timings
            .time(Work::Resize, || change.apply(decoded, side));
        Ok((picture, change))
    }
}

/// The changes of an example's pictures, in their order.
struct Changes {
    drawn_from: Option<(Variation, Permits, ChaCha8Rng)>,
    region: Option<Region>,
}

impl Changes {
    fn new(preparer: &Preparer, source: &Source, text: &Text, item: Option<usize>) -> Self {
        // The words of a text are looked at only if something is drawn.
        let drawn_from = preparer.augmentation.zip(item).map(|(augmentation, item)| {
            let variation = match source.config.is_pretraining() {
                true => augmentation.for_pretraining(),
                false => augmentation.for_tuning(),
            };
            let permits = text.permits(source.config.is_ocr());
            (variation, permits, item_rng(preparer.seed, item))
        });
        Self {
            drawn_from,
            region: match text {
                Text::Record(record) => record.region,
                Text::Parts(_) => None,
            },
        }
    }

    fn draw(&mut self, size: (u32, u32)) -> Change {
        let region = self.region;
        let drawn = self.drawn_from.as_mut();
        drawn.map_or_else(Change::default, |(variation, permits, rng)| {
            variation.draw(size, *permits, region, rng)
        })
    }
}
