//! What a study came to.

use std::collections::{BTreeMap, BTreeSet};

use aki_data::{PictureOrder, read_shards};
use aki_model::AkiConfig;
use serde::Serialize;

use super::measure::{Measured, measured};
use super::plan::{Part, StudyRun};
use super::rows::Row;
use super::statistics::{Interval, Spread};
use super::{DataSet, Study};
use crate::TrainError;
use crate::config::RunConfig;
use crate::evaluation::{Accuracy, majority};
use crate::log::{Record, Split, read};
use crate::report::Report;

/// What a study came to; `table1.json` holds it. Accuracies are shares, 0 to 1.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Table {
    /// Of the program that put it together.
    pub version: &'static str,
    /// What it was trained on: devices as the program was asked for them, with the threads of their machines.
    pub devices: Vec<String>,
    /// Changes of the base file.
    pub settings: Vec<String>,
    /// Weights are drawn and samples ordered with the seeds 1 to this.
    pub seeds: u64,
    /// Of one row as of another.
    pub network: Network,
    /// By data set.
    pub data: Vec<DataTable>,
}

/// What all models of a study have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Network {
    /// Tokens a picture.
    pub media_len: usize,
    /// Blocks of the decoder.
    pub decoder_layers: usize,
    /// Optimizer steps of pre-training, and pictures a step.
    pub pretraining: (usize, usize),
    /// Optimizer steps of tuning, and pictures a step.
    pub tuning: (usize, usize),
}

/// What a study came to on a data set.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DataTable {
    /// Which one.
    pub data: DataSet,
    /// Parameters of each model.
    pub parameters: usize,
    /// Test questions by kind.
    pub asked: BTreeMap<String, usize>,
    /// Accuracy of answering every question with the most frequent answer to its text in the training set.
    pub question_alone: f64,
    /// The systems.
    pub rows: Vec<RowResult>,
}

/// What a system came to on a data set.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RowResult {
    /// Which one.
    pub row: Row,
    /// On the test questions, in the order that it was tuned in last; then in the other one that it was tuned
    /// in, if any.
    pub scores: Vec<Scores>,
    /// How much higher the first of these is than that of [`Row::Causal`], if that was trained.
    pub over_causal: Option<OverCausal>,
    /// Seconds of training, pre-training and measurements on the way among them.
    pub seconds: Spread,
    /// Accuracy on held-out samples of the training set along the tuning.
    pub curve: Vec<Point>,
}

/// How much higher one row's accuracy is than another's, seed by seed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OverCausal {
    /// On all questions.
    pub all: Interval,
    /// By kind of question.
    pub kinds: BTreeMap<String, Interval>,
}

/// Accuracy on test questions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scores {
    /// Where pictures stood.
    pub order: PictureOrder,
    /// Of all questions.
    pub all: Spread,
    /// By kind of question.
    pub kinds: BTreeMap<String, Spread>,
}

/// A point of a curve.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// Optimizer steps of the tuning.
    pub step: usize,
    /// Accuracy then.
    pub accuracy: Spread,
}

impl Table {
    /// Puts together what complete runs left.
    ///
    /// # Errors
    ///
    /// [`TrainError`] if a file of theirs cannot be read.
    pub(super) fn of(study: &Study, runs: &[StudyRun]) -> Result<Self, TrainError> {
        let device = |run: &StudyRun| -> Result<String, TrainError> {
            let report = report(run)?;
            Ok(format!("{} ({} threads)", report.device, report.threads))
        };
        let devices: BTreeSet<String> = runs.iter().map(device).collect::<Result<_, _>>()?;
        let data = study.data.iter().map(|&data| {
            let of_data = runs.iter().filter(|run| run.data == data);
            DataTable::of(data, study, &of_data.collect::<Vec<_>>())
        });
        Ok(Self {
            version: env!("CARGO_PKG_VERSION"),
            devices: devices.into_iter().collect(),
            settings: study.settings.clone(),
            seeds: study.seeds,
            network: Network::of(runs),
            data: data.collect::<Result<_, _>>()?,
        })
    }
}

impl Network {
    fn of(runs: &[StudyRun]) -> Self {
        let steps = |wanted: fn(&Part) -> bool| {
            let run = runs.iter().find(|run| wanted(&run.part));
            run.map_or((0, 0), |run| {
                (
                    run.steps(),
                    run.config.stage.first().map_or(0, |stage| stage.batch),
                )
            })
        };
        let model = runs.first().map(|run| &run.config.model);
        Self {
            media_len: model.map_or(0, AkiConfig::media_len),
            decoder_layers: model.map_or(0, |model| model.language.num_hidden_layers),
            pretraining: steps(|part| matches!(part, Part::Pretraining(_))),
            tuning: steps(|part| matches!(part, Part::Tuning(_))),
        }
    }
}

impl DataTable {
    fn of(data: DataSet, study: &Study, runs: &[&StudyRun]) -> Result<Self, TrainError> {
        let mut rows = Vec::new();
        for &row in &study.rows {
            rows.push(RowResult::of(row, runs)?);
        }
        let causal = rows.iter().find(|result| result.row == Row::Causal);
        if let Some(causal) = causal.map(|causal| causal.scores[0].clone()) {
            for result in rows.iter_mut().filter(|result| result.row != Row::Causal) {
                result.over_causal = Some(result.scores[0].over(&causal));
            }
        }
        let (mut asked, mut question_alone, mut parameters) = (BTreeMap::new(), 0.0, 0);
        if let Some(run) = runs.last() {
            let train = read_shards(&run.config.data.train)?.samples;
            let found = majority(&train, &run.test_samples()?, |turn| &turn.question);
            question_alone = found.all().accuracy();
            asked.extend(
                found
                    .kinds
                    .into_iter()
                    .map(|(kind, tally)| (kind, tally.asked)),
            );
            parameters = report(run)?.parameters;
        }
        Ok(Self {
            data,
            parameters,
            asked,
            question_alone,
            rows,
        })
    }
}

impl RowResult {
    fn of(row: Row, runs: &[&StudyRun]) -> Result<Self, TrainError> {
        let of_part = |part: Part| runs.iter().filter(move |run| run.part == part);
        let (mut seconds, mut found, mut curves) = (Vec::new(), Vec::new(), Vec::new());
        let pretrainings = of_part(Part::Pretraining(row.pretraining()));
        for (pretraining, tuning) in pretrainings.zip(of_part(Part::Tuning(row))) {
            seconds.push(report(pretraining)?.seconds + report(tuning)?.seconds);
            found.push(measured(tuning, row)?);
            let (records, _) = read(&tuning.config.run_dir.join("metrics.jsonl"))?;
            curves.push(accuracies(&tuning.config, &records));
        }
        let orders = row.tuning().orders.len();
        Ok(Self {
            row,
            scores: (0..orders).map(|index| Scores::of(&found, index)).collect(),
            over_causal: None,
            seconds: Spread::of(seconds),
            curve: curve(&curves),
        })
    }

    /// On all test questions, in the order that it was tuned in last.
    pub fn all(&self) -> &Spread {
        &self.scores[0].all
    }
}

impl Scores {
    /// How much higher these are than `others`, of the same seeds.
    pub fn over(&self, others: &Self) -> OverCausal {
        let of_kind = |(kind, values): (&String, &Spread)| {
            let others = others.kinds.get(kind)?;
            Some((kind.clone(), Interval::paired(values, others)))
        };
        OverCausal {
            all: Interval::paired(&self.all, &others.all),
            kinds: self.kinds.iter().filter_map(of_kind).collect(),
        }
    }

    /// Of the models of all seeds, each with what was found in its orders.
    fn of(found: &[Vec<Measured>], index: usize) -> Self {
        let of = |share: &dyn Fn(&Accuracy) -> f64| {
            Spread::of(
                found
                    .iter()
                    .map(|orders| share(&orders[index].accuracy))
                    .collect(),
            )
        };
        let kinds = found[0][index].accuracy.kinds.keys().map(|kind| {
            let share = |accuracy: &Accuracy| {
                accuracy
                    .kinds
                    .get(kind)
                    .copied()
                    .unwrap_or_default()
                    .accuracy()
            };
            (kind.clone(), of(&share))
        });
        Self {
            order: found[0][index].order,
            all: of(&|accuracy| accuracy.all().accuracy()),
            kinds: kinds.collect(),
        }
    }
}

fn report(run: &StudyRun) -> Result<Report, TrainError> {
    Report::read(&run.config.run_dir)?.ok_or_else(|| TrainError::Model {
        path: run.config.run_dir.clone(),
        reason: "report.json is gone".to_owned(),
    })
}

/// The accuracies measured along a run, at their steps from its beginning.
fn accuracies(config: &RunConfig, records: &[Record]) -> Vec<(usize, f64)> {
    let (mut points, mut start) = (Vec::new(), 0);
    for stage in config.active() {
        let of_stage = records
            .iter()
            .filter(|record| record.split == Split::Valid && record.stage == stage.name);
        points.extend(of_stage.filter_map(|record| Some((start + record.step, record.accuracy?))));
        start += stage.steps;
    }
    points
}

/// The curves of all seeds as one; they are measured at the same steps.
fn curve(curves: &[Vec<(usize, f64)>]) -> Vec<Point> {
    let steps = curves.first().into_iter().flatten().map(|(step, _)| *step);
    let point = |(index, step): (usize, usize)| {
        let values = curves.iter().filter_map(|curve| Some(curve.get(index)?.1));
        Point {
            step,
            accuracy: Spread::of(values.collect()),
        }
    };
    steps.enumerate().map(point).collect()
}
