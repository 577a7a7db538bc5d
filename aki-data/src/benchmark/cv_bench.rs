//! CV-Bench: its questions, and what the original's evaluation of it writes.

use std::path::Path;

use super::group::Groups;
use super::mark::Mark;
use super::parquet::Table;
use super::prompt;
use super::question::{Expected, Question};
use super::score::Score;
use super::style::PromptStyle;
use crate::DataError;

/// Its files, and where each question's picture is: file, row group, row.
#[derive(Debug)]
pub(super) struct CvBench {
    tables: Vec<Table>,
    places: Vec<[usize; 3]>,
}

impl CvBench {
    /// Reads all but the pictures of these files, and says by what they are known.
    pub(super) fn open<'a>(
        paths: impl Iterator<Item = &'a Path>,
        style: PromptStyle,
    ) -> Result<(Self, Vec<Question>, u64), DataError> {
        let (mut tables, mut places, mut questions) = (Vec::new(), Vec::new(), Vec::new());
        let mut groups = Groups::default();
        for path in paths {
            let table = Table::open(path)?;
            for group in 0..table.groups() {
                let hashes = table.hashes(group)?;
                let rows = Rows::of(&table, group)?;
                for (row, hash) in hashes.into_iter().enumerate() {
                    let mut question = rows.question(row, style).map_err(|(column, reason)| {
                        DataError::Benchmark {
                            path: path.to_owned(),
                            place: format!("row group {group}, row {row}, column {column}"),
                            reason,
                        }
                    })?;
                    let id = question.id.clone();
                    if groups.add(&mut question, id, hash) > 1 {
                        return Err(DataError::Benchmark {
                            path: path.to_owned(),
                            place: format!("row group {group}, row {row}, column idx"),
                            reason: format!("{} is there twice", question.id),
                        });
                    }
                    questions.push(question);
                    places.push([tables.len(), group, row]);
                }
            }
            tables.push(table);
        }
        let pictures = groups.finish(&mut questions);
        Ok((Self { tables, places }, questions, pictures))
    }

    /// The picture of a question.
    pub(super) fn picture(&self, index: usize) -> Result<Vec<u8>, DataError> {
        let [table, group, row] = self.places[index];
        self.tables[table].picture(group, row)
    }
}

/// The columns of a row group that questions are made of, each row as its items.
struct Rows([Vec<Vec<String>>; COLUMNS.len()]);

const COLUMNS: [&str; 8] = [
    "idx", "type", "task", "question", "choices", "answer", "filename", "source",
];

impl Rows {
    fn of(table: &Table, group: usize) -> Result<Self, DataError> {
        let mut columns = COLUMNS.map(|_| Vec::new());
        for (column, name) in columns.iter_mut().zip(COLUMNS) {
            *column = table.column(group, name)?;
        }
        Ok(Self(columns))
    }

    /// The question of a row, or the column that cannot be used, and why.
    fn question(&self, row: usize, style: PromptStyle) -> Result<Question, (&'static str, String)> {
        let [idx, kind, task, asked, _, answer, file, source] =
            [0, 1, 2, 3, 4, 5, 6, 7].map(|at| {
                let items = self.0[at].get(row).map_or(&[][..], Vec::as_slice);
                items
                    .first()
                    .ok_or_else(|| (COLUMNS[at], "empty".to_owned()))
            });
        let choices = self.0[4].get(row).cloned().unwrap_or_default();
        let options: Vec<(char, String)> = ('A'..='Z').zip(choices).collect();
        let answer = answer?;
        let letter = options.iter().map(|it| it.0).find(|letter| {
            let bare = answer.trim().trim_start_matches('(').trim_end_matches(')');
            bare == letter.to_string()
        });
        let letter = letter.ok_or_else(|| {
            (
                "answer",
                format!(
                    "{answer:?} is none of the {} choices' letters",
                    options.len()
                ),
            )
        })?;
        let (text, alone) = match style {
            PromptStyle::Aki => (prompt::letter(asked?, &options), true),
            PromptStyle::VlmEvalKit => (prompt::multiple_choice(None, asked?, &options), false),
        };
        Ok(Question {
            // The numbers of the two files may begin anew.
            id: format!("{}-{}", kind?, idx?),
            text,
            pictures: 1,
            path: file?.clone(),
            parts: vec![source?.clone(), task?.clone()],
            expected: Expected::Option {
                letter,
                options,
                alone,
                judged: false,
            },
            ..Question::default()
        })
    }
}

/// Every prediction, as the original's `cv_bench_results.csv` has them: the question as it was
/// asked, the picture's name, the right letter, the answer, the source, and 1 for a hit.
pub fn cv_bench_csv(rows: &[(&Question, &str, &Mark)]) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let header = [
        "question",
        "path",
        "answer",
        "prediction",
        "source",
        "result",
    ];
    // Nothing can fail in memory.
    let _ = writer.write_record(header);
    for (question, answer, mark) in rows {
        let letter = match &question.expected {
            Expected::Option { letter, .. } => letter.to_string(),
            _ => String::new(),
        };
        let source = question.parts.first().map_or("", String::as_str);
        let hit = if mark.value == Some(1.0) { "1" } else { "0" };
        let (text, path) = (question.text.as_str(), question.path.as_str());
        let _ = writer.write_record([text, path, &letter, answer, source, hit]);
    }
    String::from_utf8(writer.into_inner().unwrap_or_default()).unwrap_or_default()
}

/// The scores, as the original's `cv_bench_results.txt` has them: shares, not percent, and `nan` for
/// what there are no rows of.
pub fn cv_bench_text(score: &Score) -> String {
    let share = |name: &str| {
        let column = score.columns.iter().find(|it| it.0 == name).map(|it| it.1);
        let part = score
            .parts
            .iter()
            .find(|it| it.name == name)
            .map(|it| it.value);
        let value = column.or(part).flatten();
        value.map_or_else(|| "nan".to_owned(), |it| format!("{:.4}", it / 100.0))
    };
    format!(
        "CV-Bench Accuracy: {}\n\nType Accuracies:\n2D Accuracy: {}\n3D Accuracy: {}\n\nSource \
         Accuracies:\nADE20K Accuracy: {}\nCOCO Accuracy: {}\nOmni3D Accuracy: {}\n",
        share("combined"),
        share("CV-2D"),
        share("CV-3D"),
        share("ADE20K"),
        share("COCO"),
        share("Omni3D"),
    )
}
