//! Published benchmarks, asked one after the other.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use aki_data::benchmark::{Benchmark, PromptStyle, Questions, cv_bench_csv, cv_bench_text};
use aki_train::benchmark::{
    Answered, Meta, OwnRow, Record, Request, Scored, ask, data_of, published_table, scored_table,
};
use aki_train::files::write_whole;
use aki_train::folder::ModelFolder;
use anyhow::{Context, Result, bail, ensure};
use burn::train::Interrupter;
use serde_json::json;

use super::judge::Judge;
use super::out;
use crate::args::{EvalArgs, Named};
use crate::commands::Done;

/// Benchmarks, with their questions.
pub struct Chosen {
    style: PromptStyle,
    benchmarks: Vec<(Benchmark, Questions)>,
}

impl Chosen {
    /// Reads the questions of all that were named. Of `all` those are left out, and told, whose files are not there.
    pub fn open(args: &EvalArgs) -> Result<Self> {
        let style = args.prompt.into();
        let named = |benchmark| args.benchmarks.contains(&Named::Published(benchmark));
        let all = args.benchmarks.contains(&Named::All);
        let (mut benchmarks, mut missing) = (Vec::new(), Vec::new());
        for benchmark in Benchmark::ALL {
            if !named(benchmark) && !all {
                continue;
            }
            ensure!(
                !args.data.is_empty(),
                "--data is missing: the folder with the file {}",
                benchmark.files_told(" or ")
            );
            let absent = args.data.iter().find(|folder| !folder.is_dir());
            if let Some(folder) = absent {
                bail!("--data: there is no folder {}", folder.display());
            }
            let is_there = |folder: &&PathBuf| benchmark.files_in(folder).is_some();
            let folder = match args.data.iter().find(is_there) {
                Some(folder) => folder,
                None if named(benchmark) => &args.data[0],
                None => {
                    let (name, files) = (benchmark.name(), benchmark.files_told(" or "));
                    missing.push(format!("{name} ({files})"));
                    continue;
                }
            };
            let questions = Questions::open(benchmark, folder, style)?;
            benchmarks.push((benchmark, questions));
        }
        if !missing.is_empty() {
            let missing = missing.join(", ");
            ensure!(
                !benchmarks.is_empty(),
                "no benchmark's files are in --data: {missing}"
            );
            say!("left out, since the files are not in --data: {missing}");
        }
        Ok(Self { style, benchmarks })
    }

    pub fn is_empty(&self) -> bool {
        self.benchmarks.is_empty()
    }

    /// Whether one of them has no score without a judge.
    pub fn needs_judge(&self) -> bool {
        self.benchmarks.iter().any(|(it, _)| it.needs_judge())
    }

    /// Asks, has judged and scores one after the other. `print` is by what the model is known.
    pub fn run(
        &self,
        args: &EvalArgs,
        print: &str,
        models: &mut [ModelFolder],
        devices: &str,
        judge: Option<&Judge>,
        interrupter: &Interrupter,
    ) -> Result<Done> {
        if !self.style.newline() {
            models[0].check_placed()?;
        }
        let (folder, name) = (out::folder(args), out::name(args.model()));
        let (mut all, mut stdout) = (Vec::new(), std::io::stdout());
        for (benchmark, questions) in &self.benchmarks {
            let benchmark = *benchmark;
            let meta = Meta {
                benchmark: benchmark.name().to_owned(),
                model: print.to_owned(),
                dtype: models[0].aki.dtype().name().to_owned(),
                prompt: self.style.name().to_owned(),
                max_new_tokens: benchmark.max_new_tokens(self.style),
                data: data_of(questions),
            };
            let request = Request {
                benchmark,
                questions,
                style: self.style,
                asked: &questions.first(args.limit.unwrap_or(usize::MAX)),
                batch: args.batch,
                max_new_tokens: meta.max_new_tokens,
            };
            let mut record = Record::open(&folder, &meta, args.fresh, |line| say!("{line}"))?;
            if all.is_empty() {
                say!("answers and scores are written to {}", folder.display());
            }
            let Some(scored) =
                answered(&request, models, &mut record, judge, &folder, interrupter)?
            else {
                let how = if args.fresh { " without --fresh" } else { "" };
                say!("stopped; the same command{how} goes on where it ended");
                return Ok(Done::Interrupted);
            };
            let mut object = serde_json::to_value(&scored)?;
            object["device"] = json!(devices);
            object["notes"] = json!(scored.notes());
            match args.json {
                true => writeln!(stdout, "{object}")?,
                false => writeln!(stdout, "{}", scored_table(benchmark, &scored))?,
            }
            out::write_scores(&folder, &name, benchmark.name(), object)?;
            all.push(scored);
        }
        if !args.json {
            let columns = all.iter().flat_map(|scored| scored.score.columns.clone());
            let own: OwnRow = (name, columns.collect());
            write!(stdout, "{}", published_table(&[own]))?;
            writeln!(
                stdout,
                "prompt {}, computed on {devices}",
                self.style.name()
            )?;
        }
        Ok(Done::Finished)
    }
}

/// The scores of one benchmark; none if it was stopped.
fn answered(
    request: &Request,
    models: &mut [ModelFolder],
    record: &mut Record,
    judge: Option<&Judge>,
    folder: &Path,
    interrupter: &Interrupter,
) -> Result<Option<Scored>> {
    let (benchmark, questions) = (request.benchmark, request.questions);
    let places: HashMap<&str, usize> = questions.iter().map(|it| it.id.as_str()).zip(0..).collect();
    let place = |id: &str| places.get(id).copied().unwrap_or(usize::MAX);
    let asked = |row: &Answered| {
        let place = place(&row.question.id);
        request.asked.binary_search(&place).is_ok()
    };
    // What reads answers may have been mended since.
    for row in record.rows_mut() {
        row.mark_again(benchmark);
    }
    let answered = |row: &&Answered| asked(row) && row.error.is_none();
    let count = |record: &Record| record.rows().iter().filter(answered).count();
    let already = count(record);
    let tell = |count: usize, how: &str| {
        let (name, all) = (benchmark.name(), request.asked.len());
        say!("{name}: {count} of {all} questions are answered{how}");
    };
    if already > 0 {
        tell(already, " already");
    }
    if !ask(models, request, record, interrupter)? {
        tell(count(record), "");
        return Ok(None);
    }
    if let Some(judge) = judge.filter(|_| benchmark.needs_judge()) {
        let rows = record.rows_mut().iter_mut().filter(|row| asked(row));
        if !judge.judge(benchmark, folder, rows.collect(), interrupter)? {
            return Ok(None);
        }
    }
    record.rewrite(place)?;
    let rows: Vec<&Answered> = record.rows().iter().filter(|row| asked(row)).collect();
    let scored = Scored::new(benchmark, record.meta(), &rows, questions);
    if benchmark == Benchmark::CvBench {
        let marked = rows
            .iter()
            .map(|row| (&row.question, row.answer(), &row.mark));
        let csv = cv_bench_csv(&marked.collect::<Vec<_>>());
        for (file, text) in [("csv", csv), ("txt", cv_bench_text(&scored.score))] {
            let path = folder.join(format!("cv_bench_results.{file}"));
            write_whole(&path, text.as_bytes())
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    Ok(Some(scored))
}
