//! How runs differ, in their settings and in what they came to.

use std::collections::BTreeSet;
use std::path::Path;

use super::summary::{config_of, records_of};
use crate::TrainError;
use crate::log::Record;
use crate::report::{Report, StageResult};

/// Runs side by side.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Their names: the folders', as they were given.
    pub names: Vec<String>,
    /// Settings in which they differ.
    pub settings: Vec<Difference>,
    /// What they came to.
    pub figures: Vec<Difference>,
    /// Their logs.
    pub records: Vec<Vec<Record>>,
}

/// A line of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What differs.
    pub key: String,
    /// For each run its value; none if it has none.
    pub values: Vec<Option<String>>,
}

/// Compares the runs in some folders.
///
/// # Errors
///
/// [`TrainError`] if one holds none or its files cannot be read.
pub fn compare(runs: &[&Path]) -> Result<Comparison, TrainError> {
    let (mut settings, mut figures) = (Vec::new(), Vec::new());
    let mut records = Vec::new();
    for run in runs {
        let config = config_of(run)?;
        let table = config.to_toml().parse::<toml::Table>().unwrap_or_default();
        let mut flat = Vec::new();
        flatten("", &table.into(), &mut flat);
        settings.push(flat);
        let found = records_of(run)?;
        let mut reached = Vec::new();
        for stage in config.active() {
            let result = StageResult::from_records(&stage.name, stage.steps, String::new(), &found);
            let steps = found.iter().filter(|record| record.stage == stage.name);
            let steps = steps.map(|record| record.step).max().unwrap_or(0);
            let name = |what: &str| format!("{}: {what}", stage.name);
            let number = |value: Option<f64>| value.map(|value| format!("{value:.4}"));
            let percent = |value: Option<f64>| value.map(|value| format!("{:.2} %", 100.0 * value));
            reached.extend([
                (name("steps"), Some(format!("{steps} of {}", stage.steps))),
                (name("training loss"), number(result.train_loss)),
                (name("validation loss"), number(result.valid_loss)),
                (name("validation accuracy"), percent(result.valid_accuracy)),
            ]);
        }
        if let Some(report) = Report::read(run)? {
            let test = report.trained.all();
            let accuracy = (test.asked > 0).then(|| format!("{:.2} %", 100.0 * test.accuracy()));
            reached.push(("test accuracy".to_owned(), accuracy));
        }
        let seconds = found.last().map(|last| format!("{:.0}", last.seconds));
        reached.push(("seconds of training".to_owned(), seconds));
        figures.push(
            reached
                .into_iter()
                .filter_map(|(key, value)| Some((key, value?)))
                .collect(),
        );
        records.push(found);
    }
    let mut settings = beside(&settings);
    settings.retain(|line| {
        line.key != "run_dir" && line.values.iter().any(|value| *value != line.values[0])
    });
    Ok(Comparison {
        names: runs.iter().map(|run| run.display().to_string()).collect(),
        settings,
        figures: beside(&figures),
        records,
    })
}

/// The values of a table under their dotted keys; stages and sources go by their names.
fn flatten(key: &str, value: &toml::Value, flat: &mut Vec<(String, String)>) {
    let join = |name: &str| match key {
        "" => name.to_owned(),
        _ => format!("{key}.{name}"),
    };
    match value {
        toml::Value::Table(table) => {
            for (name, value) in table {
                flatten(&join(name), value, flat);
            }
        }
        toml::Value::Array(values) if values.iter().any(toml::Value::is_table) => {
            for (index, value) in values.iter().enumerate() {
                let name = value.get("name").and_then(toml::Value::as_str);
                flatten(&join(name.unwrap_or(&index.to_string())), value, flat);
            }
        }
        value => flat.push((key.to_owned(), value.to_string())),
    }
}

/// The values of several runs under their keys, in the order of the first run that has each.
fn beside(runs: &[Vec<(String, String)>]) -> Vec<Difference> {
    let mut seen = BTreeSet::new();
    let keys = runs
        .iter()
        .flatten()
        .map(|(key, _)| key)
        .filter(|key| seen.insert(*key));
    let of = |key: &str, run: &Vec<(String, String)>| {
        run.iter()
            .find(|(other, _)| other == key)
            .map(|(_, value)| value.clone())
    };
    let keys: Vec<&String> = keys.collect();
    keys.into_iter()
        .map(|key| Difference {
            key: key.clone(),
            values: runs.iter().map(|run| of(key, run)).collect(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_go_by_their_names() {
        let table: toml::Table = "seed = 1\nlist = [1, 2]\n[[stage]]\nname = 'a'\nlr = 0.5\n\
                                  [[stage]]\nname = 'b'\nlr = 0.25\n[[x]]\ny = 3\n"
            .parse()
            .unwrap();
        let mut flat = Vec::new();
        flatten("", &table.into(), &mut flat);
        let flat: Vec<_> = flat
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let expected = [
            "seed=1",
            "list=[1, 2]",
            "stage.a.name=\"a\"",
            "stage.a.lr=0.5",
            "stage.b.name=\"b\"",
            "stage.b.lr=0.25",
            "x.0.y=3",
        ];
        assert_eq!(flat, expected);
    }

    #[test]
    fn what_a_run_lacks_is_left_open() {
        let run = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect()
        };
        let lines = beside(&[run(&[("a", "1")]), run(&[("b", "2"), ("a", "3")])]);
        assert_eq!(lines[0].key, "a");
        assert_eq!(
            lines[0].values,
            [Some("1".to_owned()), Some("3".to_owned())]
        );
        assert_eq!(lines[1].values, [None, Some("2".to_owned())]);
    }
}
