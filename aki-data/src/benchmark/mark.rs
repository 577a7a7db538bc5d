//! What an answer is worth.

use serde::{Deserialize, Serialize};

use super::question::{Expected, Question};
use super::read;
use crate::pretraining::literal;

/// What was read out of an answer, and what it is worth.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Mark {
    /// What was read: an option's letter, `yes`, `no`, a number, a text. None if nothing can be
    /// read, or if a judge gave points.
    pub read: Option<String>,
    /// 1 if right, 0 if wrong; what the judge gave: 0 to 1 (MM-Vet), 0 to 10 (LLaVA-Bench). None
    /// if a judge must say.
    pub value: Option<f64>,
    /// What the judge gave GPT-4's stored answer (LLaVA-Bench).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub against: Option<f64>,
}

impl Mark {
    /// Of what was read.
    pub(super) fn of(read: impl ToString, right: bool) -> Self {
        Self {
            read: Some(read.to_string()),
            value: Some(f64::from(u8::from(right))),
            against: None,
        }
    }

    /// What a judge gave; then nothing is read.
    pub(super) fn given(value: f64) -> Self {
        Self {
            value: Some(value),
            ..Self::default()
        }
    }

    /// Of an answer of which nothing can be read; none: a judge may.
    pub(super) fn unreadable(value: Option<f64>) -> Self {
        Self {
            value,
            ..Self::default()
        }
    }
}

impl Question {
    /// What can be read out of an answer without a judge. What cannot be read is wrong, or, where a
    /// judge could, left open.
    pub fn mark(&self, answer: &str) -> Mark {
        let open = match &self.expected {
            Expected::Option { judged, .. } => *judged,
            Expected::Yes(_) => false,
            _ => true,
        };
        let unreadable = Mark::unreadable((!open).then_some(0.0));
        self.read(answer).unwrap_or(unreadable)
    }

    /// None if nothing can be read.
    pub(super) fn read(&self, answer: &str) -> Option<Mark> {
        match &self.expected {
            Expected::Option {
                letter,
                options,
                alone,
                ..
            } => {
                let read = match alone {
                    true => {
                        let letters = options.iter().map(|(letter, _)| *letter);
                        let said = answer.trim();
                        letters.into_iter().find(|it| said == it.to_string())
                    }
                    false => read::option(answer, options),
                };
                read.map(|read| Mark::of(read, read == *letter))
            }
            Expected::Yes(yes) => read::yes_or_no(answer)
                .map(|read| Mark::of(if read { "yes" } else { "no" }, read == *yes)),
            Expected::Number(number) => {
                let read = read::number(answer)?;
                #[expect(clippy::float_cmp, reason = "as it is written, so it is asked for")]
                let right = read == *number;
                Some(Mark::of(read, right))
            }
            Expected::Text(text) => is_same(answer, text).then(|| Mark::of(answer.trim(), true)),
            Expected::Graded(_) | Expected::Compared { .. } => None,
        }
    }
}

/// The same text, or lists with the same items.
pub(super) fn is_same(answer: &str, text: &str) -> bool {
    let list = |text: &str| literal::parse(text).ok().filter(|it| it.items().is_some());
    answer.trim() == text.trim()
        || list(answer).is_some_and(|answer| list(text).is_some_and(|text| answer == text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(expected: Expected) -> Question {
        Question {
            expected,
            ..Question::default()
        }
    }

    fn option(alone: bool, judged: bool) -> Question {
        question(Expected::Option {
            letter: 'A',
            options: vec![('A', "12".to_owned()), ('B', "Other Answers".to_owned())],
            alone,
            judged,
        })
    }

    #[test]
    fn what_is_read_is_right_or_wrong() {
        assert_eq!(option(false, false).mark("(A)"), Mark::of('A', true));
        assert_eq!(option(false, false).mark("it is 12"), Mark::of('A', true));
        assert_eq!(option(false, false).mark("B"), Mark::of('B', false));
        let unread = Mark::unreadable(Some(0.0));
        assert_eq!(option(false, false).mark("no idea"), unread);
        let yes = question(Expected::Yes(true));
        assert_eq!(yes.mark("Yes."), Mark::of("yes", true));
        assert_eq!(yes.mark("no"), Mark::of("no", false));
        assert_eq!(yes.mark("maybe"), unread);
    }

    #[test]
    fn the_originals_cv_bench_wants_the_letter_alone() {
        let question = option(true, false);
        assert_eq!(question.mark("A"), Mark::of('A', true));
        assert_eq!(question.mark(" B\n"), Mark::of('B', false));
        for answer in ["Answer: B", "Answer: A", "A.", "(A)", "12", "C", "a", ""] {
            assert_eq!(
                question.mark(answer),
                Mark::unreadable(Some(0.0)),
                "{answer}"
            );
        }
    }

    #[test]
    fn what_a_judge_could_read_is_left_open() {
        let open = Mark::unreadable(None);
        assert_eq!(option(false, true).mark("A"), Mark::of('A', true));
        assert_eq!(option(false, true).mark("no idea"), open);
        let number = question(Expected::Number(0.6));
        assert_eq!(number.mark("0.60"), Mark::of(0.6, true));
        assert_eq!(number.mark("6"), Mark::of(6, false));
        assert_eq!(number.mark("about 0.6"), open);
        let list = question(Expected::Text("[2007, 2008]".to_owned()));
        assert_eq!(list.mark("[2007,2008]"), Mark::of("[2007,2008]", true));
        assert_eq!(list.mark("[2008, 2007]"), open);
        let graded = question(Expected::Graded("x = 3".to_owned()));
        assert_eq!(graded.mark("x = 3"), open);
    }
}
