//! Reads one source.

use std::collections::BTreeMap;

use aki_data::mixture::Preparer;
use aki_data::sources::{Example, Source};
use aki_data::{DataError, Dataset, Picture, Skipped};

use super::Step;
use super::lengths::Lengths;
use super::mix::Mix;
use super::report::{LeftOut, SourceReport};

/// How sources are read.
pub(super) struct Way {
    pub(super) preparer: Preparer,
    pub(super) batch: usize,
    pub(super) packing: Option<usize>,
    pub(super) workers: usize,
    pub(super) max_bad_share: f64,
    pub(super) decode: bool,
}

/// What is remembered of a good sample.
struct Measured {
    text_tokens: usize,
    places: usize,
    pictures: usize,
    is_cut: bool,
}

impl Way {
    /// Reads a source once. Also returns how long its samples are in a batch.
    pub(super) fn check(
        &self,
        source: &Source,
        told: &mut dyn FnMut(Step),
    ) -> Result<(SourceReport, Lengths), DataError> {
        let declared = source.declared()?;
        told(Step::Source {
            name: &source.name,
            samples: declared,
        });
        let mut report = begun(source, declared);
        // What a source is only measured on is not packed.
        let packing = self.packing.filter(|_| !report.valid);
        let decode = self.decode;
        let preparer = Preparer {
            packing,
            ..self.preparer.clone()
        };
        let work = move |example: Result<Example, Skipped>| match example {
            Ok(example) => measure(&preparer, &example, decode),
            Err(skipped) => Ok(Err(skipped)),
        };
        let (mut texts, mut places) = (Lengths::default(), Lengths::default());
        for measured in source.worked_in_file_order(self.workers, work)? {
            report.samples += 1;
            match measured? {
                Ok(measured) => {
                    report.good += 1;
                    texts.add(measured.text_tokens);
                    places.add(measured.places);
                    *report.pictures.entry(measured.pictures).or_default() += 1;
                    report.longer += u64::from(measured.is_cut);
                }
                Err(skipped) => report.add_broken(&skipped),
            }
            told(Step::Sample);
        }
        let mix = Mix::new([(1.0, &places)]);
        report.padding = mix.padding(self.batch);
        report.packed_padding = packing.and_then(|row| mix.packed_padding(row));
        report.text_tokens = texts.report();
        report.places = places.report();
        let (bad, seen) = report.judged();
        let few = bad as f64 <= self.max_bad_share * seen as f64;
        report.good_enough = report.good > 0 && few;
        Ok((report, places))
    }
}

/// What is known before it is read.
fn begun(source: &Source, declared: Option<u64>) -> SourceReport {
    let left_out = source.dataset().map_or(&[][..], Dataset::skipped);
    let left_out = left_out.iter().map(|skipped| LeftOut {
        reason: skipped.reason.to_string(),
        count: skipped.count,
        key: skipped.first.clone(),
    });
    let has_shards = source.dataset().is_none();
    SourceReport {
        name: source.name.to_string(),
        kind: source.config.kind.name(),
        valid: source.config.is_valid(),
        samples: 0,
        good: 0,
        broken: BTreeMap::new(),
        left_out: left_out.collect(),
        broken_entries: source.dataset().map_or(0, Dataset::broken) as u64,
        shards: has_shards.then(|| source.shards().len()),
        declared: declared.filter(|_| has_shards),
        pictures: BTreeMap::new(),
        text_tokens: None,
        places: None,
        longer: 0,
        padding: None,
        packed_padding: None,
        good_enough: false,
    }
}

fn measure(
    preparer: &Preparer,
    example: &Example,
    decode: bool,
) -> Result<Result<Measured, Skipped>, DataError> {
    let look = |bytes: &[u8], key: &str| match decode {
        true => preparer.decode(bytes, key).map(drop),
        false => Picture::size(bytes, key).map(drop),
    };
    let examined = match preparer.examine(example, look)? {
        Ok(examined) => examined,
        Err(skipped) => return Ok(Err(skipped)),
    };
    let places = examined.sequence.input_ids.len();
    let beyond_one = examined.sequence.media.iter().map(|range| range.len() - 1);
    Ok(Ok(Measured {
        text_tokens: places - beyond_one.sum::<usize>() + examined.cut,
        places,
        pictures: examined.pictures.len(),
        is_cut: examined.cut > 0,
    }))
}
