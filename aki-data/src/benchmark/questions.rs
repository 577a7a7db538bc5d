//! The questions of a benchmark, and their pictures.

use std::path::Path;

use super::cv_bench::CvBench;
use super::kit::Kit;
use super::question::{Expected, Question};
use super::set::Benchmark;
use super::style::PromptStyle;
use crate::DataError;

/// The questions of a benchmark, in the order of its files. Pictures are read when they are asked
/// for, best one after the other.
#[derive(Debug)]
pub struct Questions {
    all: Vec<Question>,
    source: Source,
    pictures_hash: u64,
    notes: Vec<String>,
}

#[derive(Debug)]
enum Source {
    Kit(Kit),
    CvBench(CvBench),
}

impl Questions {
    /// Reads all but the pictures from the benchmark's files in `folder`.
    ///
    /// # Errors
    /// [`DataError::Io`], or [`DataError::Benchmark`] if a file is not what it should be.
    pub fn open(
        benchmark: Benchmark,
        folder: &Path,
        style: PromptStyle,
    ) -> Result<Self, DataError> {
        let fault = |reason| DataError::Benchmark {
            path: folder.to_owned(),
            place: benchmark.title().to_owned(),
            reason,
        };
        let files = benchmark.files_in(folder).ok_or_else(|| {
            let maker = match benchmark {
                Benchmark::CvBench => "nyu-visionx/CV-Bench on the Hugging Face hub",
                _ => "the addresses in VLMEvalKit",
            };
            fault(format!(
                "the folder has no {}; download it from {maker}, or name another folder",
                benchmark.files_told(", and no ")
            ))
        })?;
        let mut notes = Vec::new();
        let paths: Vec<_> = files.iter().map(|file| folder.join(file)).collect();
        let (source, questions, pictures_hash) = if benchmark == Benchmark::CvBench {
            let (source, questions, hash) = CvBench::open(paths.iter().map(|it| &**it), style)?;
            (Source::CvBench(source), questions, hash)
        } else {
            let (source, questions, hash) = Kit::open(benchmark, &paths[0], style, &mut notes)?;
            (Source::Kit(source), questions, hash)
        };
        if questions.is_empty() {
            return Err(fault(format!(
                "no row of {} can be asked",
                files.join(", ")
            )));
        }
        notes.extend(odd(benchmark, &questions));
        Ok(Self {
            all: questions,
            source,
            pictures_hash,
            notes,
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Never: a benchmark without questions is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// One of them.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn get(&self, index: usize) -> &Question {
        &self.all[index]
    }

    /// All of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Question> {
        self.all.iter()
    }

    /// Places of the first questions, at most so many, but whole groups and one at least: half of a group has
    /// no score. In the order of the files.
    pub fn first(&self, limit: usize) -> Vec<usize> {
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for (at, question) in self.all.iter().enumerate() {
            // Groups are numbered in the order in which they come.
            if question.group == groups.len() {
                groups.push(Vec::new());
            }
            groups[question.group].push(at);
        }
        let mut first: Vec<usize> = Vec::new();
        for group in groups {
            if !first.is_empty() && first.len() + group.len() > limit {
                break;
            }
            first.extend(group);
        }
        first.sort_unstable();
        first
    }

    /// A hash of all pictures that are in the files; of those that have files of their own, of their names.
    pub fn pictures_hash(&self) -> u64 {
        self.pictures_hash
    }

    /// What is odd about the files, in sentences: rows that are left out, or cannot be answered.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The pictures of one of them, as they are stored (PNG, JPEG, ..), [`Question::pictures`] in
    /// number.
    ///
    /// # Errors
    /// [`DataError::Io`], or [`DataError::Benchmark`] if they are damaged.
    ///
    /// # Panics
    /// If there are not so many questions.
    pub fn pictures(&self, index: usize) -> Result<Vec<Vec<u8>>, DataError> {
        match &self.source {
            Source::Kit(kit) => kit.pictures(index, &self.all[index].id),
            Source::CvBench(cv_bench) => Ok(vec![cv_bench.picture(index)?]),
        }
    }
}

impl<'a> IntoIterator for &'a Questions {
    type Item = &'a Question;
    type IntoIter = std::slice::Iter<'a, Question>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// What is odd about questions; nothing that would keep them from being asked.
fn odd(benchmark: Benchmark, questions: &[Question]) -> Vec<String> {
    let all = questions.len();
    let count = |is: &dyn Fn(&Question) -> bool| questions.iter().filter(|it| is(it)).count();
    let lacking = count(&|it| match &it.expected {
        Expected::Option {
            letter, options, ..
        } => !options.iter().any(|it| it.0 == *letter),
        _ => false,
    });
    let short = count(&|it| match (&it.expected, benchmark) {
        (Expected::Option { options, .. }, Benchmark::MmBench) => it.group_len < options.len(),
        (_, Benchmark::Mme) => it.group_len != 2,
        _ => false,
    });
    let mut notes = Vec::new();
    if lacking > 0 {
        notes.push(format!(
            "{lacking} of {all} rows lack the option that is right: every answer to them is wrong"
        ));
    }
    if short > 0 {
        notes.push(match benchmark {
            Benchmark::Mme => format!("{short} of {all} rows are not two to a picture"),
            _ => {
                format!("{short} of {all} rows are of questions without all orders of the options")
            }
        });
    }
    notes
}
