//! `aki eval`.

use std::fmt::Write as _;
use std::io::Write;
use std::time::{Duration, Instant};

use aki_data::read_shards;
use aki_train::evaluation::{Evaluation, Likelihood, Tally, evaluate};
use anyhow::Result;
use burn::train::Interrupter;
use serde_json::{Value, json};

use super::{Done, asset, open_model};
use crate::args::{Benchmark, EvalArgs, name_of};
use crate::signals;

/// Pictures of a batch.
const BATCH: usize = 8;

pub fn run(args: &EvalArgs) -> Result<Done> {
    let (model, device_name) = open_model(&args.model, args.dtype, false, args.device)?;
    let interrupter = Interrupter::new();
    let stop = interrupter.clone();
    signals::on_first(move || stop.stop(Some("stopped by the user")))?;
    let mut out = std::io::stdout();
    for &benchmark in &args.benchmarks {
        let shard = match benchmark {
            Benchmark::EasyVqa => asset("easy-vqa/test.tar")?,
        };
        let mut samples = read_shards(&[shard])?.samples;
        samples.truncate(args.limit.unwrap_or(usize::MAX));
        let begun = Instant::now();
        let pictures = samples.len();
        let questions = model.questions(samples, BATCH);
        let evaluation = evaluate("measuring", &model.aki, &questions, pictures, &interrupter);
        let Some(evaluation) = evaluation? else {
            return Ok(Done::Interrupted);
        };
        let name = name_of(benchmark);
        if args.json {
            let object = object(&name, &evaluation, begun.elapsed(), &device_name);
            writeln!(out, "{object}")?;
        } else {
            write!(out, "{}", table(&evaluation))?;
            let seconds = begun.elapsed().as_secs_f64();
            writeln!(out, "{name}: {seconds:.0} s on {device_name}")?;
        }
    }
    Ok(Done::Finished)
}

fn table(evaluation: &Evaluation) -> String {
    let mut text =
        String::from("| question | asked | accuracy | perplexity |\n|---|---:|---:|---:|\n");
    let mut row = |kind: &str, tally: Tally, likelihood: Likelihood| {
        let accuracy = format!("{:.2} %", 100.0 * tally.accuracy());
        writeln!(
            text,
            "| {kind:<8} | {:>5} | {accuracy:>8} | {:>10.4} |",
            tally.asked,
            likelihood.perplexity()
        )
        .ok();
    };
    for (kind, &tally) in &evaluation.accuracy.kinds {
        row(kind, tally, evaluation.likelihood[kind]);
    }
    row(
        "**all**",
        evaluation.accuracy.all(),
        evaluation.likelihood_of_all(),
    );
    text
}

fn object(name: &str, evaluation: &Evaluation, took: Duration, device: &str) -> Value {
    let of = |tally: Tally, likelihood: Likelihood| {
        json!({
            "asked": tally.asked,
            "right": tally.right,
            "accuracy": tally.accuracy(),
            "perplexity": likelihood.perplexity(),
        })
    };
    let kinds = evaluation.accuracy.kinds.iter();
    let kinds = kinds.map(|(kind, &tally)| (kind.clone(), of(tally, evaluation.likelihood[kind])));
    json!({
        "benchmark": name,
        "device": device,
        "seconds": took.as_secs_f64(),
        "all": of(evaluation.accuracy.all(), evaluation.likelihood_of_all()),
        "kinds": kinds.collect::<serde_json::Map<_, _>>(),
    })
}
