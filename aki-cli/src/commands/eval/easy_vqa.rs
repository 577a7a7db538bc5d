//! easy-VQA, of which no answer has to be decoded.

use std::fmt::Write as _;
use std::io::Write;
use std::time::{Duration, Instant};

use aki_data::benchmark::{Expected, Mark, PromptStyle, Question};
use aki_data::{Sample, read_shards};
use aki_train::benchmark::{Answered, EASY_VQA, Measure, Meta, Record};
use aki_train::evaluation::{Evaluation, Likelihood, Tally, evaluate};
use aki_train::folder::ModelFolder;
use anyhow::Result;
use burn::train::Interrupter;
use serde_json::{Value, json};

use super::out;
use crate::args::EvalArgs;
use crate::commands::{Done, asset};

/// `print` is by what the model is known.
pub fn run(
    args: &EvalArgs,
    print: &str,
    model: &ModelFolder,
    device: &str,
    interrupter: &Interrupter,
) -> Result<Done> {
    let shard = asset("easy-vqa/test.tar")?;
    let mut samples = read_shards(std::slice::from_ref(&shard))?.samples;
    samples.truncate(args.limit.unwrap_or(usize::MAX));
    let meta = Meta {
        benchmark: EASY_VQA.to_owned(),
        model: print.to_owned(),
        dtype: model.aki.dtype().name().to_owned(),
        prompt: "aki".to_owned(),
        max_new_tokens: 0,
        data: blake3::hash(&std::fs::read(shard)?).to_string(),
    };
    let folder = out::folder(args);
    if let PromptStyle::VlmEvalKit = args.prompt.into() {
        say!("warning: {EASY_VQA} has no prompt of VLMEvalKit's; it is asked with its own");
    }
    let mut record = Record::open(&folder, &meta, args.fresh, |line| say!("{line}"))?;
    let begun = Instant::now();
    let pictures = samples.len();
    let questions = model.questions(samples.clone(), args.batch);
    let evaluation = evaluate("measuring", &model.aki, &questions, pictures, interrupter);
    let Some(evaluation) = evaluation? else {
        return Ok(Done::Interrupted);
    };
    let took = begun.elapsed();
    let rows = rows(&samples, &evaluation, took);
    let found = found(&evaluation, &rows);
    let object = object(&found, took, device);
    let mut stdout = std::io::stdout();
    if args.json {
        writeln!(stdout, "{object}")?;
    } else {
        write!(stdout, "{}", table(&found))?;
        let seconds = took.as_secs_f64();
        writeln!(stdout, "{EASY_VQA}: {seconds:.0} s on {device}")?;
    }
    let place = |id: &str| id.parse().unwrap_or(usize::MAX);
    record.put(rows, place)?;
    out::write_scores(&folder, &out::name(args.model()), EASY_VQA, object)?;
    say!(
        "{EASY_VQA}: answers and scores are written to {}",
        folder.display()
    );
    Ok(Done::Finished)
}

/// Each question with what it came to. Of a wrong answer it is only known that it is wrong.
fn rows(samples: &[Sample], evaluation: &Evaluation, took: Duration) -> Vec<Answered> {
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
        cut: false,
        seconds,
        error: None,
        judgement: None,
    });
    rows.collect()
}

/// The 95 % interval of the accuracy on questions of a kind, or of all, in percent: pictures are drawn.
fn interval(rows: &[Answered], kind: Option<&str>) -> Option<[f64; 2]> {
    let is_it = |row: &&Answered| kind.is_none_or(|kind| row.question.parts[0] == kind);
    let measure = Measure::new(EASY_VQA, rows.iter().filter(is_it));
    measure.intervals().first().copied().flatten()
}

/// What came of the questions of a kind.
struct Found<'a> {
    /// None of all.
    kind: Option<&'a str>,
    tally: Tally,
    likelihood: Likelihood,
    interval: Option<[f64; 2]>,
}

/// Of each kind, and at last of all.
fn found<'a>(evaluation: &'a Evaluation, rows: &[Answered]) -> Vec<Found<'a>> {
    let found = |kind, tally, likelihood| Found {
        kind,
        tally,
        likelihood,
        interval: interval(rows, kind),
    };
    let kinds = evaluation.accuracy.kinds.iter();
    let kinds =
        kinds.map(|(kind, &tally)| found(Some(kind.as_str()), tally, evaluation.likelihood[kind]));
    let (all, likelihood) = (evaluation.accuracy.all(), evaluation.likelihood_of_all());
    kinds.chain([found(None, all, likelihood)]).collect()
}

fn table(found: &[Found]) -> String {
    let mut text = String::from(
        "| question | asked | accuracy |    95 % interval | perplexity |\n|---|---:|---:|---:|---:|\n",
    );
    for it in found {
        let accuracy = format!("{:.2} %", 100.0 * it.tally.accuracy());
        let interval = it
            .interval
            .map(|[low, high]| format!("{low:.2} to {high:.2}"));
        writeln!(
            text,
            "| {:<8} | {:>5} | {accuracy:>8} | {:>16} | {:>10.4} |",
            it.kind.unwrap_or("**all**"),
            it.tally.asked,
            interval.unwrap_or("-".to_owned()),
            it.likelihood.perplexity()
        )
        .ok();
    }
    text
}

fn object(found: &[Found], took: Duration, device: &str) -> Value {
    let mut object = json!({
        "benchmark": EASY_VQA,
        "device": device,
        "seconds": took.as_secs_f64(),
        "kinds": {},
    });
    for it in found {
        let place = match it.kind {
            Some(kind) => &mut object["kinds"][kind],
            None => &mut object["all"],
        };
        *place = json!({
            "asked": it.tally.asked,
            "right": it.tally.right,
            "accuracy": it.tally.accuracy(),
            "interval": it.interval,
            "perplexity": it.likelihood.perplexity(),
        });
    }
    object
}
