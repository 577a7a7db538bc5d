//! A benchmark in `VLMEvalKit`'s form: a table with a question a row and its pictures in it.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::field::{self, Field};
use super::group::Groups;
use super::prompt;
use super::question::Question;
use super::row;
use super::set::Benchmark;
use super::style::PromptStyle;
use super::tsv::Table;
use crate::DataError;
use crate::datasets::is_inside;
use crate::fingerprint::fnv1a;

/// The table, and where in it the pictures are.
#[derive(Debug)]
pub(super) struct Kit {
    table: Table,
    rows: Vec<Place>,
    /// Of every question: the row with its pictures, and the one that is shown if it is not all.
    shown: Vec<(usize, Option<usize>)>,
}

/// A row and its pictures.
#[derive(Debug)]
struct Place {
    byte: u64,
    field: Field,
}

impl Kit {
    /// Reads all but the pictures, and says by what they are known; how many rows have none is said in the notes.
    pub(super) fn open(
        benchmark: Benchmark,
        path: &Path,
        style: PromptStyle,
        notes: &mut Vec<String>,
    ) -> Result<(Self, Vec<Question>, u64), DataError> {
        let (mut rows, mut questions) = (Vec::new(), Vec::new());
        let table = Table::read(path, row::needed(benchmark), |row| {
            if !row.has("image") && !row.has("image_path") {
                let reason = "there is neither a column image nor a column image_path";
                return Err(row.fault("", reason.to_owned()));
            }
            rows.push(Place {
                byte: row.byte(),
                field: Field::of(row)?,
            });
            questions.push(row::question(benchmark, row)?);
            Ok(())
        })?;
        let mut kit = Self {
            table,
            rows,
            shown: Vec::new(),
        };
        let roots = kit.roots(&questions)?;
        let all = questions.len();
        let mut groups = Groups::default();
        let mut kept = Vec::new();
        for (at, (mut question, &root)) in questions.into_iter().zip(&roots).enumerate() {
            let pictures = kit.rows[root].field.count();
            if pictures == 0 {
                continue;
            }
            let only = shown(benchmark, style, &mut question, pictures);
            kit.shown.push((root, only));
            let picture = picture(&kit.rows[root].field);
            let key = kit.group(benchmark, at, &question, picture)?;
            groups.add(&mut question, key, picture);
            kept.push(question);
        }
        let pictures = groups.finish(&mut kept);
        if kept.len() < all {
            notes.push(format!(
                "{} of {all} rows have no picture and are left out, as the kit does",
                all - kept.len()
            ));
        }
        Ok((kit, kept, pictures))
    }

    /// Follows references: the row that holds each row's pictures.
    fn roots(&self, questions: &[Question]) -> Result<Vec<usize>, DataError> {
        let mut by_id = HashMap::new();
        for (at, question) in questions.iter().enumerate() {
            if let Some(other) = by_id.insert(question.id.as_str(), at) {
                let reason = format!("{:?} is the index of row {} too", question.id, other + 1);
                return Err(self.fault(at, "index", reason));
            }
        }
        let mut roots: Vec<Option<usize>> = vec![None; self.rows.len()];
        for start in 0..self.rows.len() {
            let (mut at, mut way) = (start, Vec::new());
            let root = loop {
                way.push(at);
                if let Some(root) = roots[at] {
                    break root;
                }
                let Field::Same(index) = &self.rows[at].field else {
                    break at;
                };
                if way.len() > self.rows.len() {
                    let reason = "its picture is another row's, and that one's its own";
                    return Err(self.fault(start, "image", reason.to_owned()));
                }
                at = *by_id.get(index.as_str()).ok_or_else(|| {
                    let reason = format!(
                        "{index:?} is no picture and no row's index; download the file again"
                    );
                    self.fault(at, "image", reason)
                })?;
            };
            for row in way {
                roots[row] = Some(root);
            }
        }
        Ok(roots.into_iter().flatten().collect())
    }

    /// What rows that are scored as one have in common.
    fn group(
        &self,
        benchmark: Benchmark,
        at: usize,
        question: &Question,
        picture: u64,
    ) -> Result<String, DataError> {
        match benchmark {
            Benchmark::MmBench => match question.id.parse::<u64>() {
                Ok(index) => Ok((index % ROTATION).to_string()),
                Err(_) => Err(self.fault(at, "index", format!("{:?} is no number", question.id))),
            },
            Benchmark::Mme if question.path.is_empty() => {
                Ok(format!("{picture:x} {}", question.parts.concat()))
            }
            Benchmark::Mme => Ok(format!("{} {}", question.path, question.parts.concat())),
            _ => Ok(question.id.clone()),
        }
    }

    /// The pictures of a question.
    pub(super) fn pictures(&self, index: usize, id: &str) -> Result<Vec<Vec<u8>>, DataError> {
        let (root, only) = self.shown[index];
        let place = &self.rows[root];
        if let Field::Files(files) = &place.field {
            let (skipped, taken) = only.map_or((0, usize::MAX), |which| (which, 1));
            let files = files.iter().skip(skipped).take(taken);
            return files.map(|file| self.file(file, id)).collect();
        }
        self.table.read_again(place.byte, root + 1, |row| {
            let pictures = field::decode(row, only)?;
            match Field::of(row)? {
                same if picture(&same) == picture(&place.field) => Ok(pictures),
                _ => Err(row.fault("image", "the file was changed while it was read".to_owned())),
            }
        })
    }

    /// A picture that has a file of its own, beside the table or where the kit puts them.
    fn file(&self, name: &str, id: &str) -> Result<Vec<u8>, DataError> {
        let fault = |reason| DataError::Benchmark {
            path: self.table.path.clone(),
            place: format!("index {id}, column image_path"),
            reason,
        };
        if !is_inside(name) {
            let reason = format!("{name:?} leads out of the data folder; make it a path within");
            return Err(fault(reason));
        }
        let folder = self.table.path.parent().unwrap_or(Path::new(""));
        let set = self.table.path.file_stem().unwrap_or_default();
        let places: [PathBuf; 2] = [
            folder.join(name),
            folder.join("images").join(set).join(name),
        ];
        let Some(path) = places.iter().find(|path| path.is_file()) else {
            let [beside, below] = places.each_ref().map(|path| path.display());
            return Err(fault(format!("there is no {beside} and no {below}")));
        };
        fs::read(path).map_err(|source| DataError::Io {
            path: path.clone(),
            source,
        })
    }

    fn fault(&self, at: usize, column: &str, reason: String) -> DataError {
        DataError::Benchmark {
            path: self.table.path.clone(),
            place: format!("row {}, column {column}", at + 1),
            reason,
        }
    }
}

/// Rows of the same question in other orders have indices that differ by so much.
const ROTATION: u64 = 1_000_000;

/// A number that the same pictures share.
fn picture(field: &Field) -> u64 {
    match field {
        Field::Here { hash, .. } => *hash,
        Field::Files(files) => fnv1a(files.join("\0").into_bytes()),
        Field::Empty | Field::Same(_) => 0,
    }
}

/// Says in the question which of its pictures are shown, and where; one alone is given.
fn shown(
    benchmark: Benchmark,
    style: PromptStyle,
    question: &mut Question,
    pictures: usize,
) -> Option<usize> {
    if style == PromptStyle::Aki {
        question.pictures = pictures;
        return None;
    }
    question.pictures = 1;
    let mut which = 0;
    if benchmark == Benchmark::Mmmu {
        (question.text, question.at, which) = prompt::at_first_mark(&question.text, pictures);
    }
    Some(which)
}
