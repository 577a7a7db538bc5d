//! What a run ends with: the table, five pictures, `report.md` and the curves.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::TrainError;
use crate::evaluation::{Accuracy, Tally};
use crate::folder::{write_file, write_json};
use crate::log::{Record, Split, draw, draw_png, write_csv};

/// The result of a run; `report.json` holds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// What the run trained on, as the program was asked for it.
    pub device: String,
    /// Threads the machine offers.
    pub threads: usize,
    /// Weights of the network.
    pub parameters: usize,
    /// Seconds of training, measurements on the way included, the final ones not.
    pub seconds: f64,
    /// Each stage's last figures.
    pub stages: Vec<StageResult>,
    /// The model's accuracy on the test set.
    pub trained: Accuracy,
    /// The same network before training.
    pub untrained: Accuracy,
    /// Every question answered with its kind's most frequent answer.
    pub majority: Accuracy,
    /// Questions asked of the finished model.
    pub examples: Vec<Example>,
}

/// A stage's last figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageResult {
    /// The stage's name.
    pub name: String,
    /// Optimizer steps.
    pub steps: usize,
    /// Who may look at whom, and where pictures stand if not before their texts.
    pub attention: String,
    /// Mean training loss of the last 50 steps.
    pub train_loss: Option<f64>,
    /// Loss on the samples set aside, at the end.
    pub valid_loss: Option<f64>,
    /// Share of exactly right texts on the samples set aside, at the end.
    pub valid_accuracy: Option<f64>,
}

/// A question asked of the finished model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    /// The picture, relative to the run folder.
    pub picture: PathBuf,
    /// The question.
    pub question: String,
    /// What the model said.
    pub answer: String,
    /// What is true.
    pub truth: String,
}

impl StageResult {
    /// A stage's last figures out of the run's records; none where there is no number.
    pub(crate) fn from_records(
        name: &str,
        steps: usize,
        attention: String,
        records: &[Record],
    ) -> Self {
        let of = |split| {
            records
                .iter()
                .rev()
                .filter(move |r| r.stage == name && r.split == split)
        };
        let losses: Vec<f64> = of(Split::Train)
            .take(50)
            .map(|record| record.loss)
            .collect();
        let valid = of(Split::Valid).next();
        Self {
            name: name.to_owned(),
            steps,
            attention,
            train_loss: number(losses.iter().sum::<f64>() / losses.len() as f64),
            valid_loss: valid.and_then(|record| number(record.loss)),
            valid_accuracy: valid.and_then(|record| record.accuracy),
        }
    }
}

/// JSON has no NaN, and a report none either.
fn number(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

fn loss(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.4}"))
}

/// A text that may stand in a cell of a Markdown table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ")
}

impl Report {
    /// The accuracy table in Markdown, which reads well in a terminal too; or why there is none.
    pub fn table(&self) -> String {
        if self.trained.all().asked == 0 {
            return "No question was asked: no stage learns questions, or data.test has none.\n"
                .to_owned();
        }
        let mut text = String::from(
            "| question | asked | majority | untrained | trained |\n|---|---:|---:|---:|---:|\n",
        );
        let share = |tally: Tally| match tally.asked {
            0 => "-".to_owned(),
            _ => percent(tally.accuracy()),
        };
        let of = |accuracy: &Accuracy, kind: &str| {
            share(accuracy.kinds.get(kind).copied().unwrap_or_default())
        };
        for (kind, tally) in &self.trained.kinds {
            writeln!(
                text,
                "| {:<8} | {:>5} | {:>8} | {:>9} | {:>7} |",
                cell(kind),
                tally.asked,
                of(&self.majority, kind),
                of(&self.untrained, kind),
                of(&self.trained, kind)
            )
            .ok();
        }
        let all = self.trained.all();
        writeln!(
            text,
            "| {:<8} | {:>5} | {:>8} | {:>9} | {:>7} |",
            "**all**",
            all.asked,
            share(self.majority.all()),
            share(self.untrained.all()),
            share(all)
        )
        .ok();
        text
    }

    /// The whole report in Markdown.
    pub fn markdown(&self, title: &str) -> String {
        let mut text = format!(
            "# {title}\n\nTrained on {} ({} threads) in {:.0} s; {} parameters; aki {}.\n\n",
            self.device,
            self.threads,
            self.seconds,
            self.parameters,
            env!("CARGO_PKG_VERSION"),
        );
        text += "## Held-out accuracy\n\n";
        if self.trained.all().asked > 0 {
            text += "An answer is right if greedy decoding gives exactly the true one. \"Majority\" answers every question with its kind's most frequent answer in the training set.\n\n";
        }
        text += &self.table();
        text += "\n## Stages\n\n| stage | attention | steps | train loss | valid loss | valid accuracy |\n|---|---|---:|---:|---:|---:|\n";
        for stage in &self.stages {
            writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} |",
                stage.name,
                stage.attention,
                stage.steps,
                loss(stage.train_loss),
                loss(stage.valid_loss),
                stage.valid_accuracy.map_or("-".to_owned(), percent)
            )
            .ok();
        }
        text += "\n![curves](curves.svg)\n";
        if !self.examples.is_empty() {
            text += "\n## Examples\n\n| picture | question | answer | truth |\n|---|---|---|---|\n";
        }
        for example in &self.examples {
            let Example {
                picture,
                question,
                answer,
                truth,
            } = example;
            writeln!(
                text,
                "| ![]({}) | {} | {} | {} |",
                picture.display(),
                cell(question),
                cell(answer),
                cell(truth)
            )
            .ok();
        }
        text
    }

    /// Writes `report.json`, `report.md`, `curves.svg`, `curves.png` and `metrics.csv` into the run folder.
    ///
    /// # Errors
    ///
    /// [`TrainError::Io`] if a file cannot be written.
    pub fn write(&self, run_dir: &Path, records: &[Record]) -> Result<(), TrainError> {
        write_file(&run_dir.join("curves.svg"), draw(records).as_bytes())?;
        // The picture is for those who cannot show the other; a run is not lost over it.
        match draw_png(records) {
            Ok(png) => write_file(&run_dir.join("curves.png"), &png)?,
            Err(reason) => tracing::warn!("curves.png cannot be drawn: {reason}"),
        }
        write_csv(run_dir, records)?;
        let title = run_dir.file_name().unwrap_or_default().to_string_lossy();
        write_file(&run_dir.join("report.md"), self.markdown(&title).as_bytes())?;
        // Last, since its presence says that the run is complete.
        write_json(&run_dir.join("report.json"), self)
    }

    /// Reads a finished run's `report.json`; nothing if the run has none.
    ///
    /// # Errors
    ///
    /// [`TrainError`] if the file cannot be read or is no report.
    pub fn read(run_dir: &Path) -> Result<Option<Self>, TrainError> {
        use std::io::ErrorKind as Kind;
        let path = run_dir.join("report.json");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if matches!(error.kind(), Kind::NotFound | Kind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(TrainError::io("read", &path)(error)),
        };
        serde_json::from_str(&text)
            .map(Some)
            .map_err(|error| TrainError::Model {
                path,
                reason: error.to_string(),
            })
    }
}
