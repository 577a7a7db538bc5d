//! What a model's answers to a benchmark come to.

use aki_data::benchmark::{Benchmark, Questions, Score, Scorer};
use serde::Serialize;

use super::bootstrap::intervals;
use super::record::judges;
use super::{Answered, Meta};

/// The scores of a model on a benchmark; what `scores.json` has of it.
#[derive(Clone, Debug, Serialize)]
pub struct Scored {
    /// What the answers depend on.
    #[serde(flatten)]
    pub meta: Meta,
    /// Questions that the benchmark has.
    pub questions: usize,
    /// Those that were asked.
    pub asked: usize,
    /// Those among them that could not be: they count as answered wrong.
    pub errors: usize,
    /// Answers that were cut off, being as long as they may be or as there is room for.
    pub cut: usize,
    /// Seconds of answering.
    pub seconds: f64,
    /// The judges that were asked, if any was.
    pub judges: Vec<String>,
    /// The scores.
    #[serde(flatten)]
    pub score: Score,
    /// Of each headline score the 95 % interval, by a bootstrap over clusters; none where there is none.
    pub intervals: Vec<Option<[f64; 2]>>,
}

impl Scored {
    /// Of answers to some of a benchmark's questions.
    pub fn new(
        benchmark: Benchmark,
        meta: &Meta,
        rows: &[&Answered],
        questions: &Questions,
    ) -> Self {
        let marked: Vec<_> = rows.iter().map(|row| (&row.question, &row.mark)).collect();
        let scorer = Scorer::new(benchmark, &marked);
        let mut score = scorer.score();
        score.notes.splice(0..0, questions.notes().iter().cloned());
        let width = score.columns.len();
        Self {
            meta: meta.clone(),
            questions: questions.len(),
            asked: rows.len(),
            errors: rows.iter().filter(|row| row.error.is_some()).count(),
            cut: rows.iter().filter(|row| row.cut).count(),
            seconds: rows.iter().map(|row| row.seconds).sum(),
            judges: judges(rows.iter().copied()),
            intervals: intervals(scorer.clusters(), width, |times| scorer.columns(times)),
            score,
        }
    }

    /// What has to be told beside the numbers.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = self.score.notes.clone();
        if self.asked < self.questions {
            let (asked, questions) = (self.asked, self.questions);
            notes.push(format!(
                "only {asked} of {questions} questions were asked, the first ones with all that is scored with them"
            ));
        }
        if self.errors > 0 {
            notes.push(format!(
                "{} questions could not be asked and count as answered wrong; the lines with \"error\" in \
                 {}.jsonl say why",
                self.errors, self.meta.benchmark
            ));
        }
        if self.cut > 0 {
            let (cut, longest) = (self.cut, self.meta.max_new_tokens);
            notes.push(format!(
                "{cut} answers were cut off, at {longest} tokens or where the model has no more room"
            ));
        }
        if !self.judges.is_empty() {
            notes.push(format!("judged by {}", self.judges.join(", ")));
        }
        notes
    }
}
