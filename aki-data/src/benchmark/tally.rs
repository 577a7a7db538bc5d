//! Counts of rows, and the scores they give.

use std::ops::AddAssign;

use super::mark::Mark;
use super::question::{Expected, Question};
use super::set::Benchmark;

/// Counts of rows and of groups of rows that are right or wrong as one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Tally {
    pub(super) rows: f64,
    /// Rows without a mark yet.
    pub(super) open: f64,
    /// Of the marks.
    pub(super) sum: f64,
    /// Of what the judge gave GPT-4.
    pub(super) against: f64,
    pub(super) groups: f64,
    /// Groups with nothing wrong.
    pub(super) whole: f64,
    /// Rows where yes is right and was said.
    pub(super) true_yes: f64,
    /// Rows where yes was said and is wrong.
    pub(super) false_yes: f64,
    /// Rows where yes is right and was not said: no was, or nothing that can be read.
    pub(super) false_no: f64,
}

impl Tally {
    /// Of one row, with no groups.
    pub(super) fn row(question: &Question, mark: &Mark) -> Self {
        let flag = |it| f64::from(u8::from(it));
        let said = mark.read.as_deref() == Some("yes");
        let right = question.expected == Expected::Yes(true);
        Self {
            rows: 1.0,
            open: flag(mark.value.is_none()),
            sum: mark.value.unwrap_or_default(),
            against: mark.against.unwrap_or_default(),
            true_yes: flag(said && right),
            false_yes: flag(said && !right),
            false_no: flag(!said && right),
            ..Self::default()
        }
    }

    /// So many of the same.
    pub(super) fn times(mut self, times: f64) -> Self {
        for count in self.counts() {
            *count *= times;
        }
        self
    }

    fn counts(&mut self) -> [&mut f64; 9] {
        [
            &mut self.rows,
            &mut self.open,
            &mut self.sum,
            &mut self.against,
            &mut self.groups,
            &mut self.whole,
            &mut self.true_yes,
            &mut self.false_yes,
            &mut self.false_no,
        ]
    }

    /// The benchmark's measure of these rows; none if there are none, or one has no mark.
    pub(super) fn measure(&self, benchmark: Benchmark) -> Option<f64> {
        if self.open > 0.0 {
            return None;
        }
        match benchmark {
            Benchmark::Mme => Some(self.accuracy()? + percent(self.whole, self.groups)?),
            Benchmark::MmBench => percent(self.whole, self.groups),
            Benchmark::LlavaW => percent(self.sum, self.against),
            Benchmark::Pope => self.f1(),
            _ => self.accuracy(),
        }
    }

    pub(super) fn accuracy(&self) -> Option<f64> {
        percent(self.sum, self.rows)
    }

    fn f1(&self) -> Option<f64> {
        let wrong = self.false_yes + self.false_no;
        percent(2.0 * self.true_yes, 2.0 * self.true_yes + wrong)
    }

    pub(super) fn precision(&self) -> Option<f64> {
        percent(self.true_yes, self.true_yes + self.false_yes)
    }

    pub(super) fn recall(&self) -> Option<f64> {
        percent(self.true_yes, self.true_yes + self.false_no)
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, mut other: Self) {
        for (count, more) in self.counts().into_iter().zip(other.counts()) {
            *count += *more;
        }
    }
}

/// None of nothing.
pub(super) fn percent(some: f64, all: f64) -> Option<f64> {
    (all > 0.0).then(|| 100.0 * some / all)
}
