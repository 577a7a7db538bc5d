//! Several sources as one stream: order, resuming, packing, what is broken.

mod broken;
mod files;
mod resume;

use std::collections::{BTreeMap, BTreeSet};

use aki_data::IGNORE;
use aki_data::augment::{Amounts, Augmentation};
use aki_data::mixture::{Made, Mixture, MixtureConfig, MixtureState, Place, Preparer};
use aki_data::shards::RemoteConfig;
use aki_data::sources::{SourceConfig, SourceKind, Text};

use self::files::{Files, MEDIA, batching, keys, made, preparer, stream, tokenizer};

#[test]
fn sources_come_by_weight_and_each_record_once_a_pass() {
    let files = Files::new(0);
    let made = made(stream(&files.all(), batching(10, None, 2), None), 80);
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut of_seven = Vec::new();
    for key in keys(&made) {
        let (source, key) = key.split_once('/').expect("source");
        *counts.entry(source.to_owned()).or_default() += 1;
        if source == "seven" {
            of_seven.push(key.to_owned());
        }
    }
    // 800 items; three standard deviations are 42 and 37.
    assert!((358..=442).contains(&counts["seven"]), "{counts:?}");
    assert!((163..=237).contains(&counts["five"]), "{counts:?}");
    assert!((163..=237).contains(&counts["shards"]), "{counts:?}");
    for pass in of_seven.chunks_exact(7) {
        assert_eq!(pass.iter().collect::<BTreeSet<_>>().len(), 7, "{pass:?}");
    }
    assert_ne!(of_seven[..7], of_seven[7..14]);
}

#[test]
fn ranks_together_are_given_the_records_of_one() {
    let files = Files::new(0);
    let sources = files.sources(&[("five", 1.0), ("seven", 2.0)]);
    let preparer = preparer(None);
    let open = |rank, world_size, state: Option<&MixtureState>| {
        let config = MixtureConfig {
            seed: 3,
            rank,
            world_size,
        };
        Mixture::new(sources.clone(), config, state).expect("mixture")
    };
    let told = |place: Place| {
        let (source, item) = (place.source, place.item);
        let prepared = preparer.prepare(&sources, place).expect("tokenizer");
        (item, source, prepared.expect("good").key)
    };
    let next = |mixture: &mut Mixture| mixture.next().expect("a place").expect("good");
    let mut alone = open(0, 1, None);
    let alone: Vec<_> = (0..60).map(|_| told(next(&mut alone))).collect();
    for world_size in [2, 3, 5] {
        let mut ranks: Vec<_> = (0..world_size)
            .map(|rank| open(rank, world_size, None))
            .collect();
        let mut together = Vec::new();
        while together.len() < alone.len() {
            for (rank, mixture) in ranks.iter_mut().enumerate() {
                let place = next(mixture);
                // Wherever it is resumed.
                *mixture = open(rank, world_size, Some(&place.state));
                together.push(told(place));
            }
        }
        assert_eq!(together, alone, "{world_size} ranks");
    }
}

#[test]
fn a_text_is_what_its_own_encoding_is() {
    let files = Files::new(0);
    let sources = files.all();
    let made = made(stream(&sources, batching(2, None, 1), None), 6);
    let preparer = preparer(None);
    let mut encoded = BTreeMap::new();
    for source in sources.iter() {
        for example in source.in_file_order() {
            let example = example.expect("good");
            let (sequence, cut) = preparer.encode(&example).expect("ids");
            assert_eq!(cut, 0);
            encoded.insert(format!("{}/{}", source.name, example.key), sequence);
        }
    }
    for Made { batch, .. } in &made {
        assert_eq!(batch.picture_count, 2);
        for document in &batch.documents {
            let sequence = &encoded[&format!("{}/{}", document.kind, document.key)];
            let row = document.row * batch.seq_len;
            let ids = &batch.input_ids[row..row + sequence.input_ids.len()];
            assert!(
                ids.iter()
                    .zip(&sequence.input_ids)
                    .all(|(&a, &b)| a == i64::from(b))
            );
            assert_eq!(
                batch.labels[row..row + sequence.labels.len()],
                sequence.labels
            );
            assert_eq!(document.media[0].range, sequence.media[0]);
        }
    }
}

#[test]
fn packed_rows_hold_the_samples_of_the_unpacked_ones() {
    let files = Files::new(0);
    let sources = files.all();
    // The first window, whatever rows it makes.
    let packed = made(stream(&sources, batching(1, Some(120), 2), None), 60);
    let window = packed
        .iter()
        .position(|made| made.state.rows == 0)
        .expect("its end")
        + 1;
    let mut packed_keys = keys(&packed[..window]);
    let mut plain = keys(&made(
        stream(&sources, batching(1, None, 2), None),
        packed_keys.len(),
    ));
    packed_keys.sort();
    plain.sort();
    assert_eq!(packed_keys, plain);
    for Made { batch, .. } in &packed[..window] {
        assert_eq!((batch.row_count, batch.seq_len), (1, 120));
        let mut end = 0;
        for document in &batch.documents {
            assert_eq!(document.tokens.start, end);
            end = document.tokens.end;
            assert!(document.media.iter().all(|media| {
                document.tokens.start <= media.range.start && media.range.end <= end
            }));
        }
        assert!(batch.labels[end..].iter().all(|&label| label == IGNORE));
    }
    let counts = packed[window - 1].counts;
    assert_eq!(counts.places, 120 * window as u64);
    let padding = 1.0 - counts.tokens as f64 / counts.places as f64;
    assert!(padding < 0.1, "{padding}");
}

#[test]
fn a_box_moves_with_its_picture() {
    let files = Files::new(0);
    let path = |name: &str| files.folder.path().join(name);
    std::fs::write(
        path("regions.json"),
        r#"{"images": [{"id": 1, "file_name": "half.png", "width": 4, "height": 2, "caption": "red"}],
            "annotations": [{"image_id": 1, "bbox": [0, 0, 2, 1]}]}"#,
    )
    .expect("writing");
    let red = |x: u32, y: u32| {
        image::Rgb(if x < 2 && y < 1 {
            [255, 0, 0]
        } else {
            [0, 0, 255]
        })
    };
    image::RgbImage::from_fn(4, 2, red)
        .save(path("half.png"))
        .expect("picture");
    let config = SourceConfig {
        annotations: Some(path("regions.json")),
        images: Some(path("")),
        ..SourceConfig::new(SourceKind::RefCoco)
    };
    let source = config.open(&RemoteConfig::default()).expect("source");
    let example = source.in_file_order().next().expect("one").expect("good");
    let asked = |text: &Text| match text {
        Text::Record(record) => record.messages[0].text.clone(),
        Text::Parts(_) => unreachable!("a region is asked about"),
    };
    assert!(asked(&example.text).contains("[0.000, 0.000][0.500, 0.500]"));
    let ready = |augmentation, item| {
        let preparer = Preparer {
            augmentation,
            ..preparer(None)
        };
        let ready = preparer.ready(0, &source, example.clone(), item);
        ready.expect("tokenizer").expect("good")
    };
    let flip = |reference: bool| match reference {
        true => Augmentation::Reference,
        false => Augmentation::Careful(Amounts {
            flip: 1.0,
            shift: 0,
            crop: None,
        }),
    };
    let flipped = ready(Some(flip(false)), Some(0));
    let Text::Record(record) = &example.text else {
        unreachable!()
    };
    let right = aki_data::Region {
        x1: 0.5,
        y1: 0.0,
        x2: 1.0,
        y2: 0.5,
    };
    let moved = record.clone().with_region(right);
    let expected = moved.encode(&preparer(None).template, &tokenizer(), MEDIA);
    assert_eq!(flipped.sequence, expected.expect("ids"));
    let corner = |picture: &aki_data::Picture, x: usize| picture.rgb[3 * x];
    assert!(corner(&flipped.pictures[0], 3) > 200 && corner(&flipped.pictures[0], 0) < 50);
    // What is only looked at, or varied as the reference does, keeps its text.
    let plain = ready(Some(flip(false)), None);
    assert!(corner(&plain.pictures[0], 0) > 200);
    assert_eq!(plain.sequence, ready(None, Some(0)).sequence);
    assert_eq!(plain.sequence, ready(Some(flip(true)), Some(0)).sequence);
}
