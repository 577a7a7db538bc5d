//! `aki data bench`: how fast the batches of a stage are made, and where the time goes.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aki_data::mixture::{Counts, Timings, Work};
use aki_train::TrainError;
use aki_train::config::StageTarget;
use aki_train::data::Norm;
use anyhow::{Result, ensure};
use serde_json::{Map, Value, json};

use super::super::Done;
use crate::args::DataBench;

/// Threads beside the workers: one reads shards, one makes batches.
const OTHER_THREADS: usize = 2;

/// What was measured from the first batch on.
struct Measured {
    /// From the start to the first batch.
    first: f64,
    seconds: f64,
    workers: usize,
    batches: usize,
    pictures: usize,
    counts: Counts,
    /// Seconds of each kind of work.
    spent: [f64; Work::ALL.len()],
}

pub fn run(args: DataBench) -> Result<Done> {
    let json = args.json;
    let measured = measure(args)?;
    let mut out = std::io::stdout();
    if json {
        writeln!(out, "{}", measured.json())?;
    } else {
        write!(out, "{}", measured.table())?;
    }
    Ok(Done::Finished)
}

fn measure(args: DataBench) -> Result<Measured> {
    let (mut config, stage) = super::load(&args.file, args.run)?;
    config.data.workers = args.workers.or(config.data.workers);
    let stage = config.stage_to_look_at(stage.as_deref())?;
    if stage.target != StageTarget::Sources {
        let reason = format!(
            "stage {} learns samples that are held in memory; only those with target = \"sources\" \
             read while they train",
            stage.name
        );
        return Err(TrainError::Request(reason).into());
    }
    let tokenizer = Arc::new(config.text.open_tokenizer()?);
    let preparer = config.preparer(stage, tokenizer, Norm::default());
    let timings = preparer.timings.clone();
    let begun = Instant::now();
    let sources = config.open_sources(stage)?;
    let loader = config.mixture(stage, sources, preparer, |text| say!("{text}"));
    let mut made = loader.made(0)?;
    let first = made.next().transpose()?;
    let before = first.map(|first| first.counts).unwrap_or_default();
    let (start, spent_before) = (Instant::now(), spent(&timings));
    let limit = Duration::from_secs(args.seconds.into());
    let (mut batches, mut pictures, mut counts) = (0, 0, before);
    while args
        .batches
        .map_or(start.elapsed() < limit, |wanted| batches < wanted)
        && let Some(next) = made.next().transpose()?
    {
        batches += 1;
        pictures += next.batch.picture_count;
        counts = next.counts;
    }
    let seconds = start.elapsed().as_secs_f64();
    ensure!(
        batches > 0,
        "the data end with the first batch, and what is measured comes after it; give more samples"
    );
    let mut spent = spent(&timings);
    for (spent, before) in spent.iter_mut().zip(spent_before) {
        *spent -= before;
    }
    Ok(Measured {
        first: (start - begun).as_secs_f64(),
        seconds,
        workers: config.batching(stage).workers,
        batches,
        pictures,
        counts: Counts {
            samples: counts.samples - before.samples,
            cut: counts.cut - before.cut,
            skipped: counts.skipped - before.skipped,
            tokens: counts.tokens - before.tokens,
            places: counts.places - before.places,
        },
        spent,
    })
}

fn spent(timings: &Timings) -> [f64; Work::ALL.len()] {
    Work::ALL.map(|work| timings.spent(work).as_secs_f64())
}

impl Measured {
    /// Places of the batches that hold no token.
    fn padding(&self) -> f64 {
        1.0 - self.counts.tokens as f64 / self.counts.places as f64
    }

    /// What the threads did, and for how many seconds: the kinds of work, then waiting.
    fn rows(&self) -> Vec<(&'static str, f64)> {
        let worked: f64 = self.spent.iter().sum();
        let there = (self.workers + OTHER_THREADS) as f64 * self.seconds;
        let waited = ("waiting", (there - worked).max(0.0));
        let work = Work::ALL.map(Work::name).into_iter().zip(self.spent);
        work.chain([waited]).collect()
    }

    /// Seconds, milliseconds a sample and the share of all threads' time.
    fn columns(&self) -> impl Iterator<Item = (&'static str, [f64; 3])> {
        let rows = self.rows();
        let all: f64 = rows.iter().map(|(_, seconds)| seconds).sum();
        let samples = self.counts.samples as f64;
        rows.into_iter()
            .map(move |(name, seconds)| (name, [seconds, 1e3 * seconds / samples, seconds / all]))
    }

    fn table(&self) -> String {
        let Counts {
            samples,
            cut,
            skipped,
            tokens,
            ..
        } = self.counts;
        let a_second = |count: f64| count / self.seconds;
        let head = format!(
            "{samples} samples in {:.2} s: {:.1} samples/s, {:.1} pictures/s, {:.0} tokens/s\n\
             {:.1} % padding, {cut} cut, {skipped} skipped; {} workers; the first batch came after {:.2} s\n\n\
             thread time    seconds  ms/sample   share",
            self.seconds,
            a_second(samples as f64),
            a_second(self.pictures as f64),
            a_second(tokens as f64),
            100.0 * self.padding(),
            self.workers,
            self.first,
        );
        let rows = self.columns().map(|(name, [seconds, ms, share])| {
            let share = 100.0 * share;
            format!("{name:<11} {seconds:>10.2} {ms:>10.3} {share:>5.1} %")
        });
        let lines: Vec<String> = std::iter::once(head).chain(rows).collect();
        lines.join("\n") + "\n"
    }

    fn json(&self) -> Value {
        let time = self.columns().map(|(name, [seconds, ms, share])| {
            let row = json!({ "seconds": seconds, "ms_per_sample": ms, "share": share });
            (name.to_owned(), row)
        });
        let Counts {
            samples,
            cut,
            skipped,
            tokens,
            ..
        } = self.counts;
        json!({
            "workers": self.workers,
            "batches": self.batches,
            "samples": samples,
            "pictures": self.pictures,
            "tokens": tokens,
            "cut": cut,
            "skipped": skipped,
            "padding": self.padding(),
            "first_batch_seconds": self.first,
            "seconds": self.seconds,
            "samples_per_second": samples as f64 / self.seconds,
            "pictures_per_second": self.pictures as f64 / self.seconds,
            "tokens_per_second": tokens as f64 / self.seconds,
            "thread_time": time.collect::<Map<_, _>>(),
        })
    }
}
