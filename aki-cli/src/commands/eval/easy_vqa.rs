//! easy-VQA, of which no answer has to be decoded.

use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use aki_data::benchmark::{Expected, Mark, Question};
use aki_data::{Sample, read_shards};
use aki_train::benchmark::{Answered, EASY_VQA, Meta, fingerprint, write};
use aki_train::evaluation::{Evaluation, Likelihood, Tally, evaluate};
use aki_train::folder::ModelFolder;
use anyhow::Result;
use burn::train::Interrupter;
use serde_json::{Value, json};

use crate::args::EvalArgs;
use crate::commands::{Done, asset};

pub fn run(
    args: &EvalArgs,
    model: &ModelFolder,
    device: &str,
    interrupter: &Interrupter,
) -> Result<Done> {
    let shard = asset("easy-vqa/test.tar")?;
    let mut samples = read_shards(std::slice::from_ref(&shard))?.samples;
    samples.truncate(args.limit.unwrap_or(usize::MAX));
    let begun = Instant::now();
    let pictures = samples.len();
    let asked = args.out.as_ref().map(|_| samples.clone());
    let questions = model.questions(samples, args.batch);
    let evaluation = evaluate("measuring", &model.aki, &questions, pictures, interrupter);
    let Some(evaluation) = evaluation? else {
        return Ok(Done::Interrupted);
    };
    let took = begun.elapsed();
    if let Some((folder, samples)) = args.out.as_deref().zip(asked) {
        keep(folder, args, model, &shard, &samples, &evaluation, took)?;
    }
    let mut out = std::io::stdout();
    if args.json {
        let object = object(EASY_VQA, &evaluation, took, device);
        writeln!(out, "{object}")?;
    } else {
        write!(out, "{}", table(&evaluation))?;
        let seconds = took.as_secs_f64();
        writeln!(out, "{EASY_VQA}: {seconds:.0} s on {device}")?;
    }
    Ok(Done::Finished)
}

/// Writes down each question with what it came to. Of a wrong answer it is only known that it is wrong.
fn keep(
    folder: &Path,
    args: &EvalArgs,
    model: &ModelFolder,
    shard: &Path,
    samples: &[Sample],
    evaluation: &Evaluation,
    took: Duration,
) -> Result<()> {
    let turns = samples.iter().enumerate();
    let turns =
        turns.flat_map(|(picture, sample)| sample.turns.iter().map(move |it| (picture, it)));
    let seconds = took.as_secs_f64() / evaluation.each.len().max(1) as f64;
    let rows = turns.zip(&evaluation.each).enumerate();
    let rows = rows.map(|(at, ((picture, turn), &(right, likelihood)))| Answered {
        question: Question {
            id: at.to_string(),
            text: turn.question.clone(),
            pictures: 1,
            cluster: picture,
            group: at,
            group_len: 1,
            parts: vec![turn.kind.clone()],
            path: samples[picture].key.clone(),
            expected: Expected::Text(turn.answer.clone()),
            ..Question::default()
        },
        answer: right.then(|| turn.answer.clone()),
        mark: Mark {
            read: right.then(|| turn.answer.clone()),
            value: Some(f64::from(u8::from(right))),
            against: None,
        },
        tokens: likelihood.tokens,
        seconds,
        error: None,
        judgement: None,
    });
    let meta = Meta {
        benchmark: EASY_VQA.to_owned(),
        model: fingerprint(args.model())?,
        dtype: model.aki.dtype().name().to_owned(),
        prompt: "aki".to_owned(),
        max_new_tokens: 0,
        data: blake3::hash(&std::fs::read(shard)?).to_string(),
    };
    write(folder, &meta, &rows.collect::<Vec<_>>())?;
    eprintln!("{EASY_VQA}: answers are written to {}", folder.display());
    Ok(())
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
