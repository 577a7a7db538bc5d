//! Measures a tuned model on the test questions.

use aki_data::PictureOrder;
use serde::{Deserialize, Serialize};

use super::Row;
use super::plan::{Part, StudyRun};
use crate::TrainError;
use crate::evaluation::{Accuracy, evaluate};
use crate::folder::{ModelFolder, write_json};
use crate::run::RunOptions;

/// What a model came to, in its run's folder.
pub(super) const FILE: &str = "measured.json";

/// Accuracy on the test questions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Measured {
    /// Where pictures stood.
    pub order: PictureOrder,
    pub accuracy: Accuracy,
}

/// Asks a tuned model all test questions, in each order that it was tuned in, the last one first; unless that
/// is done, or the run is a pre-training. False if the user stopped it.
///
/// # Errors
///
/// [`TrainError`] if the model or the questions cannot be read, or the result not be written.
pub(super) fn measure(run: &StudyRun, options: &RunOptions) -> Result<bool, TrainError> {
    let Part::Tuning(row) = run.part else {
        return Ok(true);
    };
    let path = run.config.run_dir.join(FILE);
    if path.exists() {
        return Ok(true);
    }
    let samples = run.test_samples()?;
    let mut model = ModelFolder::load(&run.config.run_dir, None, &options.device)?;
    let mut measured = Vec::new();
    for &order in row.tuning().orders.iter().rev() {
        model.config.order = order;
        let pictures = samples.len();
        let batch = run.config.evaluation.batch;
        let questions = model.questions(samples.clone(), batch);
        let found = evaluate(
            "measuring",
            &model.aki,
            &questions,
            pictures,
            &options.interrupter,
        )?;
        let Some(found) = found else {
            return Ok(false);
        };
        measured.push(Measured {
            order,
            accuracy: found.accuracy,
        });
    }
    write_json(&path, &measured)?;
    Ok(true)
}

/// What was found of a model, for each order of its row's tuning, the last one first.
///
/// # Errors
///
/// [`TrainError`] if the file cannot be read or is none of ours.
pub(super) fn measured(run: &StudyRun, row: Row) -> Result<Vec<Measured>, TrainError> {
    let path = run.config.run_dir.join(FILE);
    let text = std::fs::read_to_string(&path).map_err(TrainError::io("read", &path))?;
    let found = serde_json::from_str(&text).map_err(|error| error.to_string());
    let found = found.and_then(|found: Vec<Measured>| {
        let orders = found.iter().map(|it| &it.order);
        match orders.eq(row.tuning().orders.iter().rev()) {
            true => Ok(found),
            false => Err("other orders than the row's".to_owned()),
        }
    });
    found.map_err(|reason| TrainError::Model { path, reason })
}
