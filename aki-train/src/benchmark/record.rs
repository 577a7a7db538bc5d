//! `BENCHMARK.jsonl`: answers as they come, a line each.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use aki_data::benchmark::{Benchmark, Mark, Question};
use serde::{Deserialize, Serialize};

use super::Meta;
use crate::TrainError;
use crate::files::{append_after, whole_lines};
use crate::folder::{write_file, write_json};
use crate::run::claim;

/// What the names of files end with that say what answers depend on.
pub(super) const META: &str = ".meta.json";

/// A question that was asked, and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    /// The question, and what is right.
    #[serde(flatten)]
    pub question: Question,
    /// What the model said; none if there was an error, or if it was only seen that it is wrong (easy-VQA).
    pub answer: Option<String>,
    /// What the answer is worth.
    pub mark: Mark,
    /// How many tokens it has.
    pub tokens: usize,
    /// Whether it was cut off, being as long as it may be.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
    /// The time that it took, an even share of its batch's.
    pub seconds: f64,
    /// Why the question could not be asked; such a question counts as answered wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What a judge said of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judgement: Option<Judgement>,
}

/// What a judge said of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    /// The judge's model.
    pub model: String,
    /// The address that it was asked at; empty in older files.
    #[serde(default)]
    pub url: String,
    /// Its reply.
    pub reply: String,
}

impl Answered {
    /// What the model said; nothing if there was an error.
    pub fn answer(&self) -> &str {
        self.answer.as_deref().unwrap_or_default()
    }

    /// Whether a judge may be asked. Of what could not be asked one would make up an answer, but where it gives
    /// GPT-4's stored answer a mark as well.
    pub fn is_for_judge(&self, benchmark: Benchmark) -> bool {
        self.error.is_none() || benchmark == Benchmark::LlavaW
    }

    /// Works out again what the answer is worth, with the judge's reply if there is one.
    pub fn mark_again(&mut self, benchmark: Benchmark) {
        let question = &self.question;
        let judged = self.judgement.as_ref();
        let judged = judged.and_then(|judged| question.read_judgement(&judged.reply));
        self.mark = match judged {
            Some(mark) => mark,
            None if self.is_for_judge(benchmark) => question.mark(self.answer()),
            None => Mark {
                value: Some(0.0),
                ..Mark::default()
            },
        };
    }
}

/// The models that judged some of these answers, sorted.
pub(super) fn judges<'a>(rows: impl Iterator<Item = &'a Answered>) -> Vec<String> {
    let models = rows.filter_map(|row| Some(row.judgement.as_ref()?.model.clone()));
    models.collect::<BTreeSet<_>>().into_iter().collect()
}

/// The answers to a benchmark's questions in a folder, to which more are added.
#[derive(Debug)]
pub struct Record {
    folder: PathBuf,
    meta: Meta,
    file: File,
    rows: Rows,
    /// Keeps others out of the folder.
    _lock: File,
}

impl Record {
    /// Opens those in `folder`, which is made if need be, or begins anew: then what is there is renamed to
    /// `BENCHMARK.old-N`, and `tell` is told. A last line that was torn is dropped.
    ///
    /// # Errors
    ///
    /// [`TrainError`] if answers are there that depend on something else, if a line of them is damaged, or
    /// if another process writes there.
    pub fn open(
        folder: &Path,
        meta: &Meta,
        fresh: bool,
        tell: impl Fn(&str),
    ) -> Result<Self, TrainError> {
        let lock = claim(folder)?;
        let path = path_of(folder, &meta.benchmark);
        if fresh {
            set_aside(folder, &meta.benchmark, &tell)?;
        }
        let (mut rows, mut whole) = (Rows::default(), 0);
        if path.exists() {
            let there = read_meta(folder, &meta.benchmark)?;
            let differ = meta.differences(&there, None);
            if !differ.is_empty() {
                return Err(TrainError::Request(format!(
                    "{} has answers of another run ({}); choose another folder with --out, or set them \
                     aside with --fresh",
                    path.display(),
                    differ.join("; ")
                )));
            }
            (rows, whole) = read_lines(&path)?;
        }
        write_json(&meta_path(folder, &meta.benchmark), meta)?;
        let file = append_after(&path, whole);
        Ok(Self {
            folder: folder.to_owned(),
            meta: meta.clone(),
            file: file.map_err(TrainError::io("write", &path))?,
            rows,
            _lock: lock,
        })
    }

    /// Whether the question with this id is answered; one that could not be asked is not.
    pub fn has(&self, id: &str) -> bool {
        let place = self.rows.places.get(id);
        place.is_some_and(|&place| self.rows.all[place].error.is_none())
    }

    /// Adds an answer, which takes the place of an earlier one to the same question, and writes it.
    ///
    /// # Errors
    ///
    /// [`TrainError::Io`] if it cannot be written.
    pub fn push(&mut self, row: Answered) -> Result<(), TrainError> {
        let mut line = serde_json::to_string(&row).unwrap_or_default();
        line.push('\n');
        let written = self.file.write_all(line.as_bytes());
        written.map_err(TrainError::io("write", &self.path()))?;
        self.rows.push(row);
        Ok(())
    }

    /// Adds answers that came all at once, each in the place of an earlier one to the same question, puts all into the
    /// order of the questions, and writes them anew.
    ///
    /// # Errors
    ///
    /// [`TrainError::Io`] if they cannot be written.
    pub fn put(
        &mut self,
        rows: Vec<Answered>,
        place: impl Fn(&str) -> usize,
    ) -> Result<(), TrainError> {
        for row in rows {
            self.rows.push(row);
        }
        self.rewrite(place)
    }

    /// The answers, to be judged; [`Self::rewrite`] then.
    pub fn rows_mut(&mut self) -> &mut [Answered] {
        &mut self.rows.all
    }

    /// What the answers depend on.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// The answers that are there.
    pub fn rows(&self) -> &[Answered] {
        &self.rows.all
    }

    /// Puts the answers into the order of the questions, and writes them anew.
    ///
    /// # Errors
    ///
    /// [`TrainError::Io`] if they cannot be written.
    pub fn rewrite(&mut self, place: impl Fn(&str) -> usize) -> Result<(), TrainError> {
        let mut rows = std::mem::take(&mut self.rows).all;
        rows.sort_by_key(|row| place(&row.question.id));
        self.rows = rows.into_iter().collect();
        let path = self.path();
        let lines = lines(&self.rows.all);
        write_file(&path, lines.as_bytes())?;
        let file = append_after(&path, lines.len());
        self.file = file.map_err(TrainError::io("write", &path))?;
        Ok(())
    }

    fn path(&self) -> PathBuf {
        path_of(&self.folder, &self.meta.benchmark)
    }
}

/// Answers in the order in which they came, one a question: the last.
#[derive(Debug, Default)]
struct Rows {
    all: Vec<Answered>,
    /// Where the answer to the question with an id is.
    places: HashMap<String, usize>,
}

impl Rows {
    fn push(&mut self, mut row: Answered) {
        let next = self.all.len();
        let place = *self.places.entry(row.question.id.clone()).or_insert(next);
        match self.all.get_mut(place) {
            Some(there) => {
                // What could not be asked again is what the judge saw.
                if there.error.is_some() && row.error.is_some() {
                    row.judgement = there.judgement.take();
                }
                *there = row;
            }
            None => self.all.push(row),
        }
    }
}

impl FromIterator<Answered> for Rows {
    fn from_iter<I: IntoIterator<Item = Answered>>(rows: I) -> Self {
        let mut all = Self::default();
        rows.into_iter().for_each(|row| all.push(row));
        all
    }
}

/// The answers in a folder, to be looked at.
///
/// # Errors
///
/// [`TrainError`] if there are none, or a line is damaged.
pub fn read(folder: &Path, benchmark: &str) -> Result<(Meta, Vec<Answered>), TrainError> {
    let meta = read_meta(folder, benchmark)?;
    let (rows, _) = read_lines(&path_of(folder, benchmark))?;
    Ok((meta, rows.all))
}

/// The benchmarks of which answers are in a folder, sorted by name.
///
/// # Errors
///
/// [`TrainError::Io`] if there is no such folder.
pub fn benchmarks(folder: &Path) -> Result<Vec<String>, TrainError> {
    let listed = TrainError::io("list", folder);
    let entries = std::fs::read_dir(folder).map_err(listed)?;
    let names = entries.flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        // `BENCHMARK.old-1` was set aside.
        let name = name.strip_suffix(META)?;
        (!name.contains('.')).then(|| name.to_owned())
    });
    let mut names: Vec<String> = names.collect();
    names.sort_unstable();
    Ok(names)
}

fn path_of(folder: &Path, benchmark: &str) -> PathBuf {
    folder.join(format!("{benchmark}.jsonl"))
}

fn meta_path(folder: &Path, benchmark: &str) -> PathBuf {
    folder.join(format!("{benchmark}{META}"))
}

fn read_meta(folder: &Path, benchmark: &str) -> Result<Meta, TrainError> {
    let path = meta_path(folder, benchmark);
    let bytes = std::fs::read(&path).map_err(TrainError::io("read", &path))?;
    serde_json::from_slice(&bytes).map_err(|error| damaged(&path, None, &error))
}

fn lines(rows: &[Answered]) -> String {
    let line = |row| serde_json::to_string(row).unwrap_or_default() + "\n";
    rows.iter().map(line).collect()
}

/// The answers in a file, and how many bytes of it they are.
fn read_lines(path: &Path) -> Result<(Rows, usize), TrainError> {
    let bytes = whole_lines(path).map_err(TrainError::io("read", path))?;
    let lines = bytes.split_inclusive(|&byte| byte == b'\n');
    let read = |(at, line)| {
        serde_json::from_slice(line).map_err(|error| damaged(path, Some(at + 1), &error))
    };
    let rows = lines.enumerate().map(read).collect::<Result<_, _>>()?;
    Ok((rows, bytes.len()))
}

fn damaged(path: &Path, line: Option<usize>, error: &serde_json::Error) -> TrainError {
    let line = line.map_or_else(String::new, |line| format!(" line {line}"));
    let path = path.display();
    TrainError::Request(format!(
        "{path}{line} is damaged: {error}; mend it, or begin anew with --fresh"
    ))
}

/// Renames a benchmark's files to `BENCHMARK.old-N`.
fn set_aside(folder: &Path, benchmark: &str, tell: impl Fn(&str)) -> Result<(), TrainError> {
    let numbered = |number: usize| format!("{benchmark}.old-{number}");
    let mut number = 1;
    while path_of(folder, &numbered(number)).exists() {
        number += 1;
    }
    for of in [path_of, meta_path] {
        let (from, to) = (of(folder, benchmark), of(folder, &numbered(number)));
        if from.exists() {
            std::fs::rename(&from, &to).map_err(TrainError::io("rename", &from))?;
            tell(&format!("{} is now {}", from.display(), to.display()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn meta(model: &str) -> Meta {
        Meta {
            benchmark: "mme".to_owned(),
            model: model.to_owned(),
            dtype: "f32".to_owned(),
            prompt: "aki".to_owned(),
            max_new_tokens: 512,
            data: String::new(),
        }
    }

    fn row(id: &str) -> Answered {
        Answered {
            question: Question {
                id: id.to_owned(),
                text: "a \"text\"\n".to_owned(),
                ..Question::default()
            },
            answer: Some("Yes".to_owned()),
            mark: Mark::default(),
            tokens: 1,
            cut: false,
            seconds: 0.5,
            error: None,
            judgement: None,
        }
    }

    fn open(folder: &Path, meta: &Meta, fresh: bool) -> Result<Record, TrainError> {
        Record::open(folder, meta, fresh, |_| ())
    }

    #[test]
    fn a_torn_line_is_asked_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        let mut record = open(folder, &meta("a"), false).expect("a record");
        record.push(row("1")).expect("a line");
        record.push(row("2")).expect("a line");
        drop(record);
        let path = folder.join("mme.jsonl");
        let whole = fs::read_to_string(&path).expect("lines");
        fs::write(&path, &whole[..whole.len() - 9]).expect("a file");
        let mut record = open(folder, &meta("a"), false).expect("a record");
        assert_eq!(record.rows(), [row("1")]);
        assert!(record.has("1") && !record.has("2"));
        record.push(row("2")).expect("a line");
        drop(record);
        assert_eq!(fs::read_to_string(&path).expect("lines"), whole);
        assert_eq!(
            read(folder, "mme").expect("answers").1,
            [row("1"), row("2")]
        );

        fs::write(&path, format!("{{}}\n{whole}")).expect("a file");
        let error = open(folder, &meta("a"), false).expect_err("a broken line");
        assert!(error.to_string().contains("mme.jsonl line 1 is damaged"));
    }

    #[test]
    fn what_could_not_be_asked_is_asked_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        let failed = Answered {
            answer: None,
            error: Some("no picture".to_owned()),
            ..row("1")
        };
        let mut record = open(folder, &meta("a"), false).expect("a record");
        record.push(failed).expect("a line");
        record.push(row("2")).expect("a line");
        drop(record);
        let mut record = open(folder, &meta("a"), false).expect("a record");
        assert!(record.has("2") && !record.has("1"));
        record.push(row("1")).expect("a line");
        assert_eq!(record.rows(), [row("1"), row("2")]);
        drop(record);
        assert_eq!(
            read(folder, "mme").expect("answers").1,
            [row("1"), row("2")]
        );
    }

    #[test]
    fn answers_of_two_models_are_not_mixed() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        let mut record = open(folder, &meta("a"), false).expect("a record");
        record.push(row("1")).expect("a line");
        let second = open(folder, &meta("a"), false).expect_err("it is in use");
        assert!(matches!(second, TrainError::InUse { .. }));
        drop(record);
        let error = open(folder, &meta("b"), false).expect_err("another model");
        let told = error.to_string();
        assert!(told.contains("(model: b here, a there)"), "{told}");
        assert!(told.contains("--out") && told.contains("--fresh"), "{told}");
        let record = open(folder, &meta("b"), true).expect("a record");
        assert!(record.rows().is_empty());
        drop(record);
        assert!(folder.join("mme.old-1.jsonl").exists());
        assert_eq!(benchmarks(folder).expect("a folder"), ["mme"]);
    }

    #[test]
    fn answers_at_once_take_the_place_of_others() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        let place = |id: &str| id.parse().unwrap_or(0);
        let mut record = open(folder, &meta("a"), false).expect("a record");
        record.put(vec![row("2"), row("3")], place).expect("a file");
        let other = Answered {
            tokens: 7,
            ..row("2")
        };
        let rows = vec![other.clone(), row("1")];
        record.put(rows, place).expect("a file");
        drop(record);
        let rows = read(folder, "mme").expect("answers").1;
        assert_eq!(rows, [row("1"), other, row("3")]);
    }

    #[test]
    fn judged_answers_stand_in_the_order_of_the_questions() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        let mut record = open(folder, &meta("a"), false).expect("a record");
        record.push(row("2")).expect("a line");
        record.push(row("1")).expect("a line");
        record.rows_mut()[0].judgement = Some(Judgement {
            model: "judge".to_owned(),
            url: "http://localhost/v1".to_owned(),
            reply: "1.0".to_owned(),
        });
        let place = |id: &str| id.parse().unwrap_or(0);
        record.rewrite(place).expect("a file");
        record.push(row("3")).expect("a line");
        let rows = read(folder, "mme").expect("answers").1;
        let ids: Vec<&str> = rows.iter().map(|row| row.question.id.as_str()).collect();
        assert_eq!(ids, ["1", "2", "3"]);
        assert!(rows[1].judgement.is_some());
    }
}
