//! `aki data scenes`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use aki_data::scenes::{Scenes, Split, TOKENIZER, Written, sheet, write_scenes};
use aki_data::{Sample, Turn};
use aki_train::TrainError;
use aki_train::evaluation::majority;
use aki_train::files::write_whole;
use aki_train::progress::Progress;
use anyhow::{Context, Result};

use crate::args::ScenesArgs;
use crate::commands::Done;
use crate::commands::new_folder::NewFolder;

/// Scenes of each split whose questions are kept to be counted: some 30 MB of text.
const COUNTED: usize = 20_000;
/// Samples on the sheet.
const SHOWN: usize = 12;

pub fn run(args: &ScenesArgs) -> Result<Done> {
    NewFolder::check(&args.out)?;
    let folder = NewFolder::begin(&args.out)?;
    let progress = Progress::new(
        "drawing",
        Some((args.samples + args.test) as u64),
        "samples",
    );
    let scenes = |split| Scenes {
        seed: args.seed,
        split,
        questions: args.questions_per_scene as usize,
    };
    let write = |split: Split, name: &str, samples: usize| -> Result<(Vec<Sample>, Written)> {
        let mut kept: Vec<Sample> = Vec::new();
        let written = write_scenes(
            &scenes(split),
            samples,
            &folder.path().join(name),
            &mut |sample| {
                progress.inc(1);
                if kept.len() < COUNTED {
                    let picture = Vec::new();
                    kept.push(Sample { picture, ..sample });
                }
            },
        );
        Ok((kept, written.map_err(TrainError::from)?))
    };
    let (train, written) = write(Split::Train, "train", args.samples)?;
    let (test, tested) = write(Split::Test, "test", args.test)?;
    progress.finish();
    let shown = 0..args.samples.min(SHOWN);
    let shown: Vec<Sample> = shown.map(|it| scenes(Split::Train).sample(it)).collect();
    for (name, bytes) in [
        ("tokenizer.json", TOKENIZER),
        ("sheet.svg", sheet(&shown).as_bytes()),
    ] {
        let path = folder.path().join(name);
        write_whole(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    }
    folder.finish()?;
    let mut out = std::io::stdout();
    writeln!(
        out,
        "{} scenes to train on and {} to test on, {:.1} MB, in {}",
        args.samples,
        args.test,
        (written.bytes + tested.bytes) as f64 / 1e6,
        args.out.display()
    )?;
    show(&train, &test, &mut out)
}

/// What answering without looking gets: by chance, and with the most frequent answer to the kind of a
/// question or to its text.
fn show(train: &[Sample], test: &[Sample], out: &mut impl Write) -> Result<Done> {
    let mut answers: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for turn in train.iter().flat_map(|sample| &sample.turns) {
        answers.entry(&turn.kind).or_default().insert(&turn.answer);
    }
    let by_kind = majority(train, test, |turn: &Turn| &turn.kind);
    let by_text = majority(train, test, |turn: &Turn| &turn.question);
    writeln!(
        out,
        "| question  | to test | answers | chance | by kind | by text |"
    )?;
    writeln!(out, "|---|---:|---:|---:|---:|---:|")?;
    for (kind, tally) in &by_kind.kinds {
        let answers = answers.get(kind.as_str()).map_or(0, BTreeSet::len);
        let percent = |share: f64| format!("{:.1} %", 100.0 * share);
        writeln!(
            out,
            "| {kind:<9} | {:>7} | {answers:>7} | {:>6} | {:>7} | {:>7} |",
            tally.asked,
            percent(1.0 / answers.max(1) as f64),
            percent(tally.accuracy()),
            percent(by_text.kinds[kind].accuracy())
        )?;
    }
    Ok(Done::Finished)
}
