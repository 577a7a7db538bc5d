//! Scenes as shards.

use std::path::Path;

use rayon::prelude::*;
use serde_json::{Value, json};

use super::Scenes;
use crate::DataError;
use crate::shards::{Sample, ShardWriter};

/// Samples made at a time, on all threads.
const AT_A_TIME: usize = 256;
/// Bytes of a shard: some 200,000 scenes.
const SHARD_BYTES: u64 = 1_000_000_000;

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Shards.
    pub shards: usize,
    /// Bytes of all shards.
    pub bytes: u64,
}

/// Writes the first `samples` scenes as shards `00000.tar`, .. and their `sizes.json` into `folder`,
/// which must be empty or new: `KEY.json` with the questions, `KEY.png`, and `KEY.txt` with the
/// caption, as [`read_shards`](crate::read_shards) reads them. The same scenes make the same files.
/// `written` is given each sample.
///
/// # Errors
/// [`DataError::Pack`] if `folder` is not empty, [`DataError::Write`].
pub fn write_scenes(
    scenes: &Scenes,
    samples: usize,
    folder: &Path,
    written: &mut dyn FnMut(Sample),
) -> Result<Written, DataError> {
    let mut writer = ShardWriter::new(folder, u64::MAX, SHARD_BYTES)?;
    for first in (0..samples).step_by(AT_A_TIME) {
        let some = first..samples.min(first + AT_A_TIME);
        let made: Vec<Sample> = some.into_par_iter().map(|it| scenes.sample(it)).collect();
        for sample in made {
            writer.add(&sample.key, &members(&sample))?;
            written(sample);
        }
    }
    let (shards, bytes) = writer.finish()?;
    Ok(Written { shards, bytes })
}

/// Extensions and contents.
fn members(sample: &Sample) -> Vec<(String, Vec<u8>)> {
    let turns = sample.turns.iter().flat_map(|turn| {
        [
            json!({"from": "human", "value": turn.question}),
            json!({"from": "gpt", "value": turn.answer, "kind": turn.kind}),
        ]
    });
    let record = json!({"conversations": turns.collect::<Vec<Value>>()});
    let caption = sample.caption.iter();
    let caption = caption.map(|caption| ("txt".to_owned(), caption.clone().into_bytes()));
    let mut members = vec![
        ("json".to_owned(), record.to_string().into_bytes()),
        ("png".to_owned(), sample.picture.clone()),
    ];
    members.extend(caption);
    members
}
