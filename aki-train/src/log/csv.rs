//! `metrics.csv`: the records of `metrics.jsonl` as a table, for spreadsheets.
//!
//! It is written as a whole from the records, so that it never says anything else than they do. Names of
//! stages are letters, digits, `-` and `_`, and the rest are numbers: nothing needs quoting.

use std::fmt::Write as _;
use std::path::Path;

use super::Record;
use crate::TrainError;
use crate::folder::write_file;

const COLUMNS: &str = "stage,step,split,loss,accuracy,lr,grad_norm,samples_per_second,\
                       tokens_per_second,mfu,data_wait,memory,seconds";

/// The records as lines of numbers, the first with their names. What was not measured is empty.
pub fn table(records: &[Record]) -> String {
    let mut text = format!("{COLUMNS}\n");
    for record in records {
        let Record { stage, step, .. } = record;
        write!(text, "{stage},{step},{}", record.split.name()).ok();
        for (_, value) in record.numbers() {
            match value {
                Some(value) => write!(text, ",{value}").ok(),
                None => text.write_char(',').ok(),
            };
        }
        writeln!(text, ",{}", record.seconds).ok();
    }
    text
}

/// Writes `metrics.csv` into the run folder.
///
/// # Errors
///
/// [`TrainError::Io`] if the file cannot be written.
pub fn write_csv(run_dir: &Path, records: &[Record]) -> Result<(), TrainError> {
    write_file(&run_dir.join("metrics.csv"), table(records).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Split;

    #[test]
    fn a_line_a_record_and_nothing_where_nothing_was_measured() {
        let train = Record {
            lr: Some(1e-3),
            grad_norm: Some(0.5),
            tokens_per_second: Some(1200.0),
            mfu: Some(0.4),
            data_wait: Some(0.01),
            memory: Some(1 << 20),
            ..Record::new("captions", 3, Split::Train, 0.25, 2.0)
        };
        let valid = Record {
            accuracy: Some(0.5),
            ..Record::new("captions", 3, Split::Valid, f64::NAN, 2.5)
        };
        assert_eq!(
            table(&[train, valid]),
            format!(
                "{COLUMNS}\n\
                 captions,3,train,0.25,,0.001,0.5,,1200,0.4,0.01,1048576,2\n\
                 captions,3,valid,NaN,0.5,,,,,,,,2.5\n"
            )
        );
        assert_eq!(COLUMNS.split(',').count(), 13);
    }
}
