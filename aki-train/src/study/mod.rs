//! Table 1 as one study: every system trained from nothing at equal budget, measured and compared.
//!
//! A [`Row`] says what a system is; runs are made of the rows that differ in nothing else, and [`run`] carries
//! them out one after the other. A study that was stopped goes on where it was, since each run does. [`Table`]
//! is what they came to.

mod csv;
mod curves;
mod data;
mod measure;
mod page;
mod plan;
mod rows;
mod statistics;
mod table;

use std::path::PathBuf;
use std::time::Instant;

pub use data::DataSet;
pub use rows::{Phase, Row};
pub use statistics::{Interval, Spread};
pub use table::{DataTable, Network, OverCausal, Point, RowResult, Scores, Table};

use crate::TrainError;
use crate::run::{Outcome, RunOptions, claim, other_keys, train};
use plan::StudyRun;

/// What is studied.
#[derive(Clone, Debug, PartialEq)]
pub struct Study {
    /// The systems, in any order.
    pub rows: Vec<Row>,
    /// What they learn, in any order.
    pub data: Vec<DataSet>,
    /// How often each is trained: with the seeds 1 to this.
    pub seeds: u64,
    /// The run file that all runs are made of, with a stage `captions` and a stage `questions`.
    pub base: PathBuf,
    /// Changes of it, as `--set` has them, for all runs alike.
    pub settings: Vec<String>,
    /// Where everything goes.
    pub out: PathBuf,
}

/// How a study ended.
pub enum Studied {
    /// Everything is trained and measured, and its files are written.
    Complete(Box<Table>),
    /// The user stopped it in this run; the same command goes on.
    Interrupted(String),
}

/// Carries out a study, from where it was left. `table1.md`, `.csv` and `.json` and `accuracy-steps.svg` and
/// `.png` are in its folder then.
///
/// # Errors
///
/// [`TrainError`] if a run cannot begin or go on. What was done stays in the folder.
pub fn run(study: &Study, options: &RunOptions) -> Result<Studied, TrainError> {
    let mut study = study.clone();
    study.out = std::path::absolute(&study.out).map_err(TrainError::io("find", &study.out))?;
    // In the table's order, each once, however they were asked for.
    study.rows = Row::ALL
        .into_iter()
        .filter(|row| study.rows.contains(row))
        .collect();
    study.data = DataSet::ALL
        .into_iter()
        .filter(|data| study.data.contains(data))
        .collect();
    let runs = plan::plan(&study)?;
    let _lock = claim(&study.out)?;
    runs.iter().try_for_each(check)?;
    for &data in &study.data {
        data.prepare(&study.out, options.notice)?;
    }
    let mut progress = Progress::new(&runs, options.notice);
    for run in &runs {
        if !run.is_done() {
            progress.tell(run);
            if !carry_out(run, options)? {
                return Ok(Studied::Interrupted(run.name()));
            }
            progress.count(run);
        }
        remove_checkpoints(run)?;
    }
    let table = Table::of(&study, &runs)?;
    page::write(&table, &study.out)?;
    Ok(Studied::Complete(Box::new(table)))
}

/// Keys of a run file that say where files are.
const FILES: [&str; 3] = ["start", "text.tokenizer", "data.train"];

/// That a run was not begun with other settings.
fn check(run: &StudyRun) -> Result<(), TrainError> {
    let run_dir = &run.config.run_dir;
    if !run_dir.join("config.toml").exists() {
        return Ok(());
    }
    let mut keys = other_keys(run_dir, &run.config)?;
    // The study decides these; they differ if it or the repository was moved, which is nothing to a run that is
    // done.
    let is_file = |key: &String| {
        let mut rests = FILES.iter().filter_map(|file| key.strip_prefix(file));
        rests.any(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    keys.retain(|key| !run.is_done() || !is_file(key));
    match keys[..] {
        [] => Ok(()),
        ref keys => Err(TrainError::Request(format!(
            "{} was trained with other settings ({}); give the study another folder with --out, or remove this one",
            run_dir.display(),
            keys.join(", ")
        ))),
    }
}

/// Trains a run to its end and measures it. False if the user stopped it.
fn carry_out(run: &StudyRun, options: &RunOptions) -> Result<bool, TrainError> {
    let outcome = train(&run.config, options)?;
    Ok(!matches!(outcome, Outcome::Interrupted { .. }) && measure::measure(run, options)?)
}

/// Of no use once a run is complete, and all of them would be a gigabyte.
fn remove_checkpoints(run: &StudyRun) -> Result<(), TrainError> {
    let checkpoints = run.config.run_dir.join("checkpoints");
    match std::fs::remove_dir_all(&checkpoints) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(TrainError::io("remove", &checkpoints)(error))
        }
        _ => Ok(()),
    }
}

/// Tells how far a study is.
struct Progress {
    notice: fn(&str),
    begun: Instant,
    /// Runs, and those that are done.
    runs: (usize, usize),
    /// Steps of this call's runs, and those that are done.
    steps: (usize, usize),
}

impl Progress {
    fn new(runs: &[StudyRun], notice: fn(&str)) -> Self {
        let left = runs.iter().filter(|run| !run.is_done());
        let steps: Vec<usize> = left.map(StudyRun::steps).collect();
        let done = runs.len() - steps.len();
        notice(&format!("{} runs, {done} of them done", runs.len()));
        Self {
            notice,
            begun: Instant::now(),
            runs: (runs.len(), done),
            steps: (steps.iter().sum(), 0),
        }
    }

    fn tell(&self, run: &StudyRun) {
        let ((runs, done), (steps, taken)) = (self.runs, self.steps);
        let left = if taken == 0 {
            String::new()
        } else {
            let a_step = self.begun.elapsed().as_secs_f64() / taken as f64;
            let minutes = a_step * (steps - taken) as f64 / 60.0;
            format!(", about {minutes:.0} min left")
        };
        let (number, name) = (done + 1, run.name());
        (self.notice)(&format!("run {number} of {runs}: {name}{left}"));
    }

    fn count(&mut self, run: &StudyRun) {
        self.runs.1 += 1;
        self.steps.1 += run.steps();
    }
}
