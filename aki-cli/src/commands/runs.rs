//! `aki runs`.

use std::io::Write;
use std::path::{Path, PathBuf};

use aki_train::log::draw_compared;
use aki_train::runs::{Comparison, Difference, State, Summary, best, compare, list, prune};
use anyhow::{Context, Result};

use crate::args::{RUNS, RunsArgs, RunsCommand};

pub fn run(args: &RunsArgs) -> Result<()> {
    match &args.command {
        None => all(&args.folder, args.json),
        Some(RunsCommand::Compare { runs, svg }) => side_by_side(runs, svg.as_deref()),
        Some(RunsCommand::Best { run }) => {
            let (checkpoint, _) = best(run)?;
            Ok(writeln!(
                std::io::stdout(),
                "{}",
                checkpoint.path.display()
            )?)
        }
        Some(RunsCommand::Prune { run, keep, dry_run }) => remove(run, *keep, *dry_run),
    }
}

fn all(folder: &Path, json: bool) -> Result<()> {
    let mut runs = Vec::new();
    let before_the_first = folder == Path::new(RUNS) && !folder.exists();
    let found = match before_the_first {
        true => Vec::new(),
        false => list(folder)?,
    };
    for run in found {
        match run {
            Ok(run) => runs.push(run),
            // One that cannot be read hides none of the others.
            Err(error) => say!("warning: left out: {:#}", anyhow::Error::from(error)),
        }
    }
    let mut out = std::io::stdout();
    if json {
        return Ok(writeln!(out, "{}", serde_json::to_string(&runs)?)?);
    }
    if runs.is_empty() {
        say!("there is no run in {}", folder.display());
        return Ok(());
    }
    let head = [
        "run",
        "state",
        "stage",
        "step",
        "loss",
        "valid loss",
        "accuracy",
        "best",
        "size",
    ];
    let mut lines = vec![head.map(str::to_owned).to_vec()];
    lines.extend(runs.iter().map(line));
    print(&lines)
}

fn line(run: &Summary) -> Vec<String> {
    let state = match run.state {
        State::Running => "running",
        State::Complete => "complete",
        State::Stopped => "stopped",
    };
    let loss = |loss: Option<f64>| loss.map_or("-".to_owned(), |loss| format!("{loss:.4}"));
    let best = run.best.as_deref().and_then(Path::file_name);
    vec![
        run.name.clone(),
        state.to_owned(),
        run.stage.clone().unwrap_or("-".to_owned()),
        match run.stage {
            Some(_) => format!("{} of {}", run.step, run.steps),
            None => "-".to_owned(),
        },
        loss(run.loss),
        loss(run.valid_loss),
        run.accuracy
            .map_or("-".to_owned(), |share| format!("{:.2} %", 100.0 * share)),
        best.map_or("-".into(), |name| name.to_string_lossy().into_owned()),
        size(run.bytes),
    ]
}

fn side_by_side(runs: &[PathBuf], svg: Option<&Path>) -> Result<()> {
    let runs: Vec<&Path> = runs.iter().map(PathBuf::as_path).collect();
    let Comparison {
        names,
        settings,
        figures,
        records,
    } = compare(&runs)?;
    if let Some(file) = svg {
        let drawn = names.iter().zip(&records);
        let drawn: Vec<_> = drawn
            .map(|(name, records)| (name.as_str(), records.as_slice()))
            .collect();
        std::fs::write(file, draw_compared(&drawn))
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    let table = |title: &str, lines: &[Difference]| {
        let head = std::iter::once(title.to_owned()).chain(names.iter().cloned());
        let cell = |value: &Option<String>| value.clone().unwrap_or("-".to_owned());
        let of = |line: &Difference| {
            let values = line.values.iter().map(cell);
            std::iter::once(line.key.clone()).chain(values).collect()
        };
        let lines = lines.iter().map(of);
        let lines: Vec<Vec<String>> = std::iter::once(head.collect()).chain(lines).collect();
        print(&lines)
    };
    if settings.is_empty() {
        writeln!(std::io::stdout(), "no setting differs")?;
    } else {
        table("setting", &settings)?;
    }
    writeln!(std::io::stdout())?;
    table("result", &figures)?;
    Ok(())
}

fn remove(run: &Path, keep: usize, dry: bool) -> Result<()> {
    let gone = prune(run, keep, dry)?;
    let mut out = std::io::stdout();
    let mut bytes = 0;
    for checkpoint in &gone {
        bytes += checkpoint.bytes;
        writeln!(
            out,
            "{}  {}",
            checkpoint.path.display(),
            size(checkpoint.bytes)
        )?;
    }
    let (removed, freed) = match dry {
        true => ("would be removed", "would be free"),
        false => ("removed", "freed"),
    };
    say!("{} {removed}, {} {freed}", gone.len(), size(bytes));
    Ok(())
}

/// Prints lines in columns; the first is a head.
fn print(lines: &[Vec<String>]) -> Result<()> {
    let columns = lines.first().map_or(0, Vec::len);
    let width = |column: usize| {
        let cells = lines.iter().map(|line| line[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = std::io::stdout();
    for line in lines {
        let cells = line
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        let text = cells.collect::<Vec<_>>().join("  ");
        writeln!(out, "{}", text.trim_end())?;
    }
    Ok(())
}

/// Bytes as a person reads them.
fn size(bytes: u64) -> String {
    let mut number = bytes as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if number < 1000.0 {
            return match unit {
                "B" => format!("{bytes} B"),
                _ => format!("{number:.1} {unit}"),
            };
        }
        number /= 1000.0;
    }
    format!("{number:.1} TB")
}
