//! A run's samples one after the other, as their makers have them.

use std::path::Path;
use std::sync::Arc;

use aki_data::shards::{Sample, Skipped, Turn, read_shards};
use aki_data::sources::{Encoded, Example, Text};
use aki_data::text::{Message, Part, Role};
use aki_data::{Record, Target};

use crate::TrainError;
use crate::config::{RunConfig, StageConfig};

/// Samples in the order of their files, and those that cannot be used.
pub type Examples = Box<dyn Iterator<Item = Result<Example, Skipped>> + Send>;

impl RunConfig {
    /// What a stage is shown of the source called `name`, or of `train` or `test`: see
    /// [`names_to_look_at`](Self::names_to_look_at).
    ///
    /// # Errors
    ///
    /// [`TrainError::Data`] if the files cannot be used.
    pub fn examples(&self, stage: &StageConfig, name: &str) -> Result<Examples, TrainError> {
        let Some(target) = stage.data_target() else {
            let mut named = self
                .data
                .source
                .iter()
                .filter(|source| source.name() == name);
            return match named.next() {
                Some(source) => Ok(self.open(source)?.in_file_order()),
                None => Ok(Box::new(std::iter::empty())),
            };
        };
        let shards = if name == "test" {
            &self.data.test
        } else {
            &self.data.train
        };
        let contents = read_shards(shards)?;
        let skipped = contents.skipped.into_iter().map(Err);
        let accepted = contents.samples.into_iter();
        let accepted = accepted.filter(move |sample| target.accepts(sample));
        let examples = accepted.flat_map(move |sample| of_sample(sample, target).map(Ok));
        Ok(Box::new(skipped.chain(examples)))
    }
}

/// The texts of a sample: its caption, or each of its questions.
fn of_sample(sample: Sample, target: Target) -> impl Iterator<Item = Example> {
    let texts: Vec<Text> = match target {
        Target::Captions => {
            let caption = sample.caption.unwrap_or_default();
            vec![Text::Parts(vec![
                Part::Picture,
                Part::Text(caption),
                Part::EndOfChunk,
            ])]
        }
        Target::Questions { .. } => {
            let message = |role, text, pictures| Message {
                role,
                text,
                pictures,
            };
            let turns = sample.turns.into_iter();
            let record = |turn: Turn| Record {
                key: sample.key.clone(),
                images: Vec::new(),
                messages: vec![
                    message(Role::User, turn.question, 1),
                    message(Role::Assistant, turn.answer, 0),
                ],
                region: None,
            };
            turns.map(|turn| Text::Record(record(turn))).collect()
        }
    };
    let (origin, key, picture): (Arc<Path>, _, _) =
        (sample.shard.into(), sample.key, sample.picture);
    texts.into_iter().map(move |text| Example {
        origin: origin.clone(),
        key: key.clone(),
        pictures: vec![Encoded::Bytes(picture.clone())],
        text,
    })
}
