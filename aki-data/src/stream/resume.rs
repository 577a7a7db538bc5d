//! Finds again where a pass was.

use std::collections::HashMap;

use super::buffer::Buffer;
use super::config::StreamConfig;
use super::pass::{Item, Pass};
use super::plan::{buffer_rng, plan};
use super::state::StreamState;
use crate::DataError;
use crate::shards::Shard;

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
    let (places, (at, taken)) = replay(config, state, pass.plan.len())?;
    let mut wanted = places.slots().to_vec();
    wanted.sort_unstable();
    let mut samples = HashMap::new();
    for of_shard in wanted.chunk_by(|a, b| a.0 == b.0) {
        let mut reading = pass.open(of_shard[0].0, shards, config.limits);
        for &place in of_shard {
            let skipped = (place.1 - reading.taken) as usize;
            let sample = reading.nth(skipped);
            let sample = sample.ok_or_else(|| shrunk(&pass, shards, place.0))?;
            samples.insert(place, sample);
        }
        if of_shard[0].0 == at {
            pass.reading = Some(reading);
        }
    }
    // What was drawn of the open shard after the last that is in the buffer.
    if taken > 0 {
        let mut reading = match pass.reading.take() {
            Some(reading) => reading,
            None => pass.open(at, shards, config.limits),
        };
        if let Some(rest) = (taken - reading.taken).checked_sub(1) {
            let last = reading.nth(rest as usize);
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
    if at != state.finished.len() {
        return Err(fault());
    }
    // Past the last shard there is nothing to have taken.
    let taken = if at < shards { taken } else { 0 };
    Ok((places, (at, taken)))
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
