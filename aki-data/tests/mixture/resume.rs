//! Going on where a stream was, or not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aki_data::DataError;
use aki_data::augment::{Amounts, Augmentation};
use aki_data::mixture::{
    BatchState, BatchStream, Made, Mixture, MixtureConfig, MixtureState, Preparer,
};
use aki_data::shards::RemoteConfig;
use aki_data::sources::Source;
use serde_json::{Value, json};

use super::files::{Files, batching, line, made, preparer, stream, stream_of};

/// As a checkpoint has it.
fn kept(state: &BatchState) -> BatchState {
    let text = serde_json::to_string(state).expect("json");
    serde_json::from_str(&text).expect("state")
}

#[test]
fn resuming_behind_any_batch_gives_the_same_stream() {
    let files = Files::new(2);
    let sources = files.all();
    for packing in [None, Some(90)] {
        let all = made(stream(&sources, batching(3, packing, 2), None), 60);
        for at in (0..50).step_by(7) {
            let state = kept(&all[at].state);
            let workers = 1 + at % 3;
            let rest = made(
                stream(&sources, batching(3, packing, workers), Some(&state)),
                9,
            );
            for (rest, whole) in rest.iter().zip(&all[at + 1..]) {
                assert_eq!(rest.batch, whole.batch, "packing {packing:?}, batch {at}");
                assert_eq!(rest.state, whole.state);
            }
        }
    }
}

#[test]
fn what_is_drawn_for_a_sample_is_drawn_again_on_each_rank() {
    let files = Files::new(0);
    let sources = files.sources(&[("choices", 0.5), ("seven", 0.25), ("shards", 0.25)]);
    let augmented = Preparer {
        augmentation: Some(Augmentation::Careful(Amounts {
            flip: 0.5,
            shift: 1,
            crop: Some(0.5),
        })),
        ..preparer(None)
    };
    let order = |rank| MixtureConfig {
        rank,
        world_size: 2,
        ..MixtureConfig::new(3)
    };
    let batches = |rank, preparer: &Preparer, packing, workers, state: Option<&BatchState>, n| {
        let config = batching(3, packing, workers);
        let stream = stream_of(&sources, order(rank), preparer.clone(), config, state);
        made(stream.expect("stream"), n)
    };
    for packing in [None, Some(150)] {
        for rank in [0, 1] {
            let all = batches(rank, &augmented, packing, 2, None, 60);
            let plain = batches(rank, &preparer(None), packing, 2, None, 60);
            let varied = all.iter().zip(&plain);
            let varied = varied.filter(|(a, b)| a.batch.pictures != b.batch.pictures);
            assert!(varied.count() > 50, "pictures are varied");
            assert!(
                orders(&all)["c1"].len() > 1,
                "the options come in several orders"
            );
            for at in (0..50).step_by(9) {
                let state = kept(&all[at].state);
                let rest = batches(rank, &augmented, packing, 1 + at % 3, Some(&state), 9);
                assert_eq!(rest.len(), 9);
                for (rest, whole) in rest.iter().zip(&all[at + 1..]) {
                    assert_eq!(
                        rest.batch, whole.batch,
                        "packing {packing:?}, rank {rank}, batch {at}"
                    );
                    assert_eq!(rest.state, whole.state);
                }
            }
        }
        let (first, second) = (0, 1);
        assert_ne!(
            batches(first, &augmented, packing, 1, None, 1)[0].batch,
            batches(second, &augmented, packing, 1, None, 1)[0].batch
        );
    }
}

/// What came of each sample, by its key.
fn orders(made: &[Made]) -> BTreeMap<&str, BTreeSet<&[i64]>> {
    let mut orders: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for Made { batch, .. } in made {
        for document in &batch.documents {
            let row = document.row * batch.seq_len;
            let tokens = row + document.tokens.start..row + document.tokens.end;
            let ids = &batch.input_ids[tokens];
            orders.entry(&*document.key).or_default().insert(ids);
        }
    }
    orders
}

#[test]
fn another_mixture_is_refused_with_the_reason() {
    let files = Files::new(0);
    let sources = files.all();
    let state = made(stream(&sources, batching(3, None, 1), None), 4)
        .remove(3)
        .state
        .mixture;
    let refused = |sources: &Arc<[Source]>, config: MixtureConfig, state: &MixtureState| {
        let error = Mixture::new(sources.clone(), config, Some(state)).map(|_| ());
        error.expect_err("another").to_string()
    };
    let config = MixtureConfig::new(3);
    let told = refused(&sources, MixtureConfig::new(4), &state);
    assert!(told.contains("seed 3, and this run has 4"), "{told}");
    let two = MixtureConfig {
        world_size: 2,
        ..config
    };
    let told = refused(&sources, two, &state);
    assert!(
        told.contains("world size of 1, and this run has 2"),
        "{told}"
    );
    let told = refused(&files.sources(&[("five", 1.0)]), config, &state);
    assert!(told.contains(r#"["seven", "five", "shards"]"#), "{told}");
    let write = |lines: &[String]| {
        std::fs::write(files.folder.path().join("seven.jsonl"), lines.join("\n")).expect("writing");
    };
    let mut lines: Vec<_> = (0..7).map(|n| line("seven", n)).collect();
    lines[6] = lines[6].replace("\"no\"", "\"yes\"");
    write(&lines);
    let told = refused(&files.all(), config, &state);
    assert!(
        told.contains("source seven has other records than it had, if as many: 7"),
        "{told}"
    );
    write(&lines[..1]);
    let told = refused(&files.all(), config, &state);
    assert!(
        told.contains("source seven has other records than it had: 7 then, 1 now"),
        "{told}"
    );
    std::fs::remove_file(files.folder.path().join("2.tar")).expect("removing");
    write(&(0..7).map(|n| line("seven", n)).collect::<Vec<_>>());
    let mut fewer = files.config("shards");
    let pattern = files.folder.path().join("{0..1}.tar");
    fewer.shards = vec![pattern.display().to_string()];
    let mut now = sources.to_vec();
    now[2] = fewer.open(&RemoteConfig::default()).expect("source");
    let told = refused(&now.into(), config, &state);
    assert!(
        told.contains("source shards: ") && told.contains("number of shards"),
        "{told}"
    );
}

/// A stream of packed rows, and a state within a window of them.
fn within_a_window() -> (Files, Arc<[Source]>, BatchState) {
    let files = Files::new(0);
    let sources = files.all();
    let made = made(stream(&sources, batching(2, Some(90), 1), None), 3);
    let state = made[2].state.clone();
    assert_eq!(state.rows, 6);
    (files, sources, state)
}

fn refused(stream: Result<BatchStream, DataError>) -> String {
    let first = stream.and_then(|mut stream| stream.next().expect("no end"));
    let error = first.map(|_| ()).expect_err("it cannot go on");
    assert!(matches!(error, DataError::Resume { .. }), "{error}");
    error.to_string()
}

#[test]
fn another_packing_is_refused() {
    let (_files, sources, state) = within_a_window();
    let with = |packing, state| {
        let order = MixtureConfig::new(3);
        let config = batching(2, packing, 1);
        refused(stream_of(&sources, order, preparer(None), config, state))
    };
    let told = with(Some(100), Some(&state));
    assert!(
        told.contains("rows of 90 tokens, and this run has rows of 100 tokens"),
        "{told}"
    );
    let told = with(None, Some(&state));
    assert!(told.contains("this run has no packing"), "{told}");
    let plain = made(stream(&sources, batching(2, None, 1), None), 1)[0]
        .state
        .clone();
    let told = with(Some(90), Some(&plain));
    assert!(told.contains("written with no packing"), "{told}");
    let made_up = BatchState {
        rows: 3,
        ..plain.clone()
    };
    let told = with(None, Some(&made_up));
    assert!(told.contains("damaged"), "{told}");
}

#[test]
fn samples_that_changed_under_a_window_are_told() {
    let (files, sources, state) = within_a_window();
    let with = |sources: &Arc<[Source]>, preparer, state| {
        let order = MixtureConfig::new(3);
        let told = refused(stream_of(
            sources,
            order,
            preparer,
            batching(2, Some(90), 1),
            Some(&state),
        ));
        assert!(told.contains("are others now"), "{told}");
    };
    for made_up in [
        BatchState {
            rows: usize::MAX,
            ..state.clone()
        },
        BatchState {
            rows: 1_000,
            ..state.clone()
        },
        BatchState {
            window: !state.window,
            ..state.clone()
        },
    ] {
        with(&sources, preparer(None), made_up);
    }
    let mut other = preparer(None);
    other.template.system.push_str(" Say no more.");
    with(&sources, other, state.clone());
    // The fingerprint of the records does not know the pictures.
    std::fs::remove_file(files.folder.path().join("seven3.png")).expect("removing");
    with(&sources, preparer(None), state);
}

/// Places of all numbers in a state.
fn numbers(value: &Value, place: &str, found: &mut Vec<String>) {
    match value {
        Value::Number(_) => found.push(place.to_owned()),
        Value::Array(items) => {
            for (number, item) in items.iter().enumerate() {
                numbers(item, &format!("{place}/{number}"), found);
            }
        }
        Value::Object(fields) => {
            for (name, item) in fields {
                numbers(item, &format!("{place}/{name}"), found);
            }
        }
        _ => {}
    }
}

#[test]
fn states_that_were_made_up_are_refused_or_give_a_stream() {
    let files = Files::new(0);
    let sources = files.all();
    for packing in [None, Some(90)] {
        let config = batching(2, packing, 1);
        let states = made(stream(&sources, config, None), 60).into_iter();
        let states = states.map(|made| serde_json::to_value(&made.state).expect("json"));
        // Within a window, and within a pass over the shards.
        let mut within = states.filter(|state| {
            let finished = &state["mixture"]["sources"][2]["at"]["shards"]["finished"];
            (packing.is_none() || state["rows"] != json!(0)) && !finished[0].is_null()
        });
        let state = within.next().expect("one of them");
        let tried = |state: &Value| {
            let Ok(state) = serde_json::from_value::<BatchState>(state.clone()) else {
                return None;
            };
            let order = MixtureConfig::new(3);
            let stream = stream_of(&sources, order, preparer(None), config, Some(&state));
            let made = stream.and_then(|stream| stream.take(40).collect::<Result<Vec<_>, _>>());
            if let Err(error) = &made {
                assert!(matches!(error, DataError::Resume { .. }), "{error}");
            }
            Some(made.is_ok())
        };
        assert_eq!(tried(&state), Some(true));
        let mut places = Vec::new();
        numbers(&state, "", &mut places);
        assert!(places.iter().any(|place| place.ends_with("taken")));
        assert!(places.iter().any(|place| place.contains("finished/")));
        let (mut read, mut all) = (0, state.clone());
        for place in &places {
            for number in [u64::MAX, u64::MAX / 2, 1 << 40, u64::from(u32::MAX), 0] {
                // Of so many samples a shard might have, and it is not read to see.
                if number == u64::from(u32::MAX) && !place.contains("finished") {
                    continue;
                }
                let mut made_up = state.clone();
                *made_up.pointer_mut(place).expect("a number") = json!(number);
                read += usize::from(tried(&made_up).is_some());
            }
            *all.pointer_mut(place).expect("a number") = json!(u64::MAX);
        }
        assert!(read > places.len(), "{read}");
        // Nothing but the numbers that count, which are not held against the run.
        let mut counts = state.clone();
        for place in &places {
            if ["drawn", "taken", "pass", "rows"]
                .iter()
                .any(|it| place.ends_with(it))
            {
                *counts.pointer_mut(place).expect("a number") = json!(u64::MAX);
            }
        }
        assert_eq!(tried(&counts), Some(false));
        all["packing"] = json!(packing);
        assert_ne!(tried(&all), Some(true));

        let lists: [fn(&mut Vec<Value>); 6] = [
            |sources| sources.clear(),
            |sources| sources.truncate(2),
            |sources| sources.push(sources[0].clone()),
            |sources| sources.reverse(),
            |sources| {
                sources.truncate(1);
                sources[0]["name"] = json!("seven, five, shards");
            },
            |sources| sources[0]["at"] = json!("unread"),
        ];
        for change in lists {
            let mut made_up = state.clone();
            let list = made_up["mixture"]["sources"].as_array_mut();
            change(list.expect("a list"));
            assert_eq!(tried(&made_up), Some(false), "{made_up}");
        }
        let mut swapped = state.clone();
        swapped["mixture"]["sources"][2]["at"] = state["mixture"]["sources"][0]["at"].clone();
        assert_eq!(tried(&swapped), Some(false));
    }
}
