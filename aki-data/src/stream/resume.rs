//! Finds again where a pass was.

use std::collections::HashMap;

use super::buffer::Buffer;
use super::config::StreamConfig;
use super::pass::{Item, Pass, Reading, store_failure};
use super::plan::{buffer_rng, plan};
use super::state::StreamState;
use crate::DataError;
use crate::shards::{Shard, SkipReason, Skipped};

/// A sample's place in a pass: shard of the plan, and number in the shard.
type Place = (usize, u32);

/// The pass and its buffer as they were when `state` was written.
///
/// The draws are gone through again with places for samples, then the places left in
/// the buffer are read.
pub(super) fn resume(
    config: &StreamConfig,
    shards: &[Shard],
    state: &StreamState,
) -> Result<(Pass, Buffer<Item>), DataError> {
    let mut pass = Pass::new(plan(config, shards.len(), state.pass));
    pass.finished = state.finished.clone();
    pass.given_up = state.given_up.clone();
    let (places, (at, taken)) = replay(config, state, pass.plan.len())?;
    let mut wanted = places.slots().to_vec();
    wanted.sort_unstable();
    let mut samples = HashMap::new();
    for of_shard in wanted.chunk_by(|a, b| a.0 == b.0) {
        let shard = of_shard[0].0;
        let mut reading = pass.open(shard, shards, config);
        for &place in of_shard {
            let sample = match given_up(state, place) {
                true => Err(store_failed(&shards[pass.plan[shard] as usize])),
                false => {
                    read_on(&mut reading, place.1)?.ok_or_else(|| shrunk(&pass, shards, shard))?
                }
            };
            samples.insert(place, sample);
        }
        if shard == at {
            pass.reading = Some(reading);
        }
    }
    // What was drawn of the open shard after the last that is in the buffer.
    if taken > 0 {
        let mut reading = match pass.reading.take() {
            Some(reading) => reading,
            None => pass.open(at, shards, config),
        };
        if reading.taken < taken {
            let last = read_on(&mut reading, taken - 1)?;
            let _ = last.ok_or_else(|| shrunk(&pass, shards, at))?;
        }
        pass.reading = Some(reading);
    }
    let buffer = places.try_map(|place| {
        let sample = samples.remove(&place);
        sample.ok_or_else(|| shrunk(&pass, shards, place.0))
    })?;
    Ok((pass, buffer))
}

/// The buffer with places, and the place of the next sample.
fn replay(
    config: &StreamConfig,
    state: &StreamState,
    shards: usize,
) -> Result<(Buffer<Place>, Place), DataError> {
    let fault = || DataError::Resume {
        reason: format!(
            "pass {} cannot have come to sample {} with {} of {shards} shards read; the state is \
             damaged",
            state.pass,
            state.drawn,
            state.finished.len()
        ),
    };
    // Before a damaged state is gone through for hours: all that can have been read, the shard
    // that is open as large as one can be.
    let read = state.finished.iter().copied().map(u64::from).sum::<u64>();
    if state.finished.len() > shards || state.drawn > read.saturating_add(u32::MAX.into()) {
        return Err(fault());
    }
    let rng = buffer_rng(config, state.pass);
    let mut places = Buffer::new(config.buffer, config.fill, rng);
    let (mut at, mut taken) = (0_usize, 0_u32);
    let mut more = || {
        while state.finished.get(at) == Some(&taken) {
            (at, taken) = (at + 1, 0);
        }
        let place = (at, taken);
        taken = taken.checked_add(1)?;
        (at < shards).then_some(place)
    };
    while places.drawn() < state.drawn {
        places.draw(&mut more).ok_or_else(fault)?;
    }
    // A shard that was given up is finished with its last sample; others are only
    // when the next sample is asked for.
    if taken > 0 && given_up(state, (at, taken - 1)) {
        (at, taken) = (at + 1, 0);
    }
    if at != state.finished.len() {
        return Err(fault());
    }
    // Past the last shard there is nothing to have taken.
    let taken = if at < shards { taken } else { 0 };
    Ok((places, (at, taken)))
}

/// Whether a remote store failed in this place.
fn given_up(state: &StreamState, (at, number): Place) -> bool {
    let is_last = state.finished.get(at).copied() == number.checked_add(1);
    is_last && state.given_up.contains(&(at as u32))
}

/// What stands in such a place, whether or not the store has recovered.
fn store_failed(shard: &Shard) -> Skipped {
    Skipped {
        shard: shard.name().to_path_buf(),
        key: String::new(),
        reason: SkipReason::Remote {
            reason: "it was given up before the run was resumed".to_owned(),
        },
    }
}

/// The sample with this number in a shard, if the shard still has so many.
fn read_on(reading: &mut Reading, number: u32) -> Result<Option<Item>, DataError> {
    while let Some(sample) = reading.next() {
        if let Some(error) = store_failure(&sample) {
            return Err(error);
        }
        if reading.taken > number {
            return Ok(Some(sample));
        }
    }
    Ok(None)
}

fn shrunk(pass: &Pass, shards: &[Shard], at: usize) -> DataError {
    let name = shards[pass.plan[at] as usize].name();
    DataError::Resume {
        reason: format!(
            "shard {} holds fewer samples than it did; put it back as it was, or begin anew",
            name.display()
        ),
    }
}
