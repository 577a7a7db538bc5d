//! `aki data check`.

use std::fmt::Write as _;
use std::io::Write;

use aki_train::check::{self, LengthReport, Report, Request, SourceReport, Step};
use aki_train::config::RunConfig;
use aki_train::progress::Progress;
use anyhow::{Context, Result};

use crate::commands::Done;
use crate::{signals, terminal};

/// Characters of the longest bar.
const BAR: u64 = 40;

pub fn run(
    config: &RunConfig,
    stage: Option<&str>,
    sources: &[String],
    decode: bool,
    json: bool,
) -> Result<Done> {
    let request = Request {
        stage: config.stage_to_look_at(stage)?,
        sources,
        decode,
    };
    // Nothing is written that would have to be finished.
    signals::on_first(|| std::process::exit(i32::from(signals::exit_code())))
        .context("cannot wait for Ctrl-C")?;
    let mut progress: Option<Progress> = None;
    let mut told = |step: Step| match step {
        Step::Source { name, samples } => {
            let next = Progress::new(name, samples, "samples");
            progress.replace(next).iter().for_each(Progress::finish);
        }
        Step::Sample => progress.iter().for_each(|it| it.inc(1)),
    };
    let report = check::check(config, request, &mut told);
    progress.iter().for_each(Progress::finish);
    let report = report?;
    let mut out = std::io::stdout();
    if json {
        writeln!(out, "{}", serde_json::to_string(&report)?)?;
    } else {
        write!(out, "{}", table(&report))?;
    }
    Ok(match report.good {
        true => Done::Finished,
        false => Done::Unfit,
    })
}

fn table(report: &Report) -> String {
    let mut lines = vec![limits(report), String::new()];
    for source in &report.sources {
        describe(source, report, &mut lines);
        lines.push(String::new());
    }
    if report.sources.iter().filter(|source| !source.valid).count() > 1
        && let Some(padding) = padding(report, report.padding, report.packed_padding)
    {
        lines.push(format!(
            "padding of all in stage {}: {padding}",
            report.stage
        ));
    }
    let bad = report.sources.iter().filter(|source| !source.good_enough);
    for source in bad {
        lines.push(if source.good == 0 {
            format!("bad: {} has no good sample", source.name)
        } else {
            let ((bad, seen), name, share) = (source.judged(), &source.name, report.max_bad_share);
            format!(
                "bad: {bad} of {seen} samples of {name} are broken, more than the share of \
                 {share} that data.max_bad_share allows"
            )
        });
    }
    if report.good {
        lines.push("good".to_owned());
    }
    lines.join("\n") + "\n"
}

fn limits(report: &Report) -> String {
    let text = report.max_text_len.map_or_else(
        || "texts of any length".to_owned(),
        |limit| format!("texts of at most {limit} tokens"),
    );
    let rows = report.packing.map_or_else(String::new, |row| {
        format!(", packed into rows of {row} tokens")
    });
    format!(
        "stage {}: batches of {}, {text}{rows}",
        report.stage, report.batch
    )
}

fn describe(source: &SourceReport, report: &Report, lines: &mut Vec<String>) {
    let SourceReport { samples, good, .. } = source;
    let valid = if source.valid { ", valid" } else { "" };
    lines.push(format!("{} ({}{valid})", source.name, source.kind));
    let mut line = |name: &str, text: String| {
        lines.push(format!("  {name:<12}{text}").trim_end().to_owned());
    };
    if let Some(shards) = source.shards {
        let declared = match source.declared {
            Some(declared) if declared == *samples => {
                ", as many samples declared as found".to_owned()
            }
            Some(declared) => format!(", {declared} samples declared and {samples} found"),
            None => String::new(),
        };
        line("shards", format!("{shards}{declared}"));
    }
    line(
        "samples",
        format!("{samples}: {good} good, {} broken", source.all_broken()),
    );
    for (kind, broken) in &source.broken {
        let (shard, key) = (&broken.shard, &broken.key);
        let text = format!(
            "{} {kind}; the first is {key:?} in {shard}: {}",
            broken.count, broken.reason
        );
        line("broken", terminal::plain(&text));
    }
    for left in &source.left_out {
        let text = format!(
            "{}: {}; the first is {:?}",
            left.count, left.reason, left.key
        );
        line("left out", terminal::plain(&text));
    }
    let pictures = source.pictures.iter();
    let pictures: Vec<_> = pictures
        .map(|(pictures, &count)| match count {
            1 => format!("{pictures} in 1 sample"),
            _ => format!("{pictures} in {count} samples"),
        })
        .collect();
    if !pictures.is_empty() {
        line("pictures", pictures.join(", "));
    }
    if let Some(texts) = &source.text_tokens {
        line("text tokens", range(texts));
        let most = texts
            .histogram
            .iter()
            .map(|bar| bar.count)
            .max()
            .unwrap_or(1);
        for bar in &texts.histogram {
            let length = (bar.count * BAR).div_ceil(most) as usize;
            let up_to = format!("<= {}", bar.up_to);
            line(
                "",
                format!("{up_to:>9} {:>6} {}", bar.count, "█".repeat(length)),
            );
        }
    }
    if let Some(limit) = report.max_text_len {
        line(
            "longer",
            format!("{} than {limit} tokens, and cut", source.longer),
        );
    }
    if let Some(places) = &source.places {
        line("places", range(places));
    }
    if let Some(padding) = padding(report, source.padding, source.packed_padding) {
        line("padding", padding);
    }
}

fn range(lengths: &LengthReport) -> String {
    let LengthReport {
        min,
        median,
        p95,
        max,
        mean,
        ..
    } = lengths;
    format!("{min} to {max}, mean {mean:.1}, median {median}, 95 % up to {p95}")
}

fn padding(report: &Report, batch: Option<f64>, packed: Option<f64>) -> Option<String> {
    let mut text = format!("{:.1} % in batches of {}", 100.0 * batch?, report.batch);
    if let (Some(packed), Some(row)) = (packed, report.packing) {
        write!(text, "; {:.1} % packed into rows of {row}", 100.0 * packed).ok();
    }
    Some(text)
}
