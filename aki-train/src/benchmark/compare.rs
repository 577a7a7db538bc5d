//! Two systems' answers to the same questions.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::bootstrap::{SWAPS, intervals, swaps};
use super::record::judges;
use super::{Answered, Measure};

/// What two systems come to on the questions that both have answered.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compared {
    /// The benchmark's name.
    pub benchmark: String,
    /// Questions that both have answered, and those that the first or the second alone has.
    pub questions: [usize; 3],
    /// Clusters that the questions are of.
    pub clusters: usize,
    /// The models that judged the first's and the second's answers; none where no answer needs a judge.
    pub judges: [Option<Vec<String>>; 2],
    /// By headline score.
    pub columns: Vec<Column>,
}

/// A headline score of both.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Column {
    /// What it is called.
    pub name: &'static str,
    /// Of how many rows it is, of either.
    pub of: usize,
    /// Both scores, where they can be said.
    pub scores: Option<[f64; 2]>,
    /// The 95 % interval of the second less the first, by a bootstrap over clusters that draws the same ones for
    /// both.
    pub interval: Option<[f64; 2]>,
    /// How often chance alone would make them differ as much, by a permutation test: in each cluster
    /// the two change places or not.
    pub p: Option<f64>,
}

/// Compares two systems' answers to a benchmark.
pub fn compare(benchmark: &str, first: &[Answered], second: &[Answered]) -> Compared {
    let by_id: HashMap<&str, &Answered> = second
        .iter()
        .map(|row| (row.question.id.as_str(), row))
        .collect();
    let both: Vec<[&Answered; 2]> = first
        .iter()
        .filter_map(|row| Some([row, *by_id.get(row.question.id.as_str())?]))
        .collect();
    let mut ranks: BTreeMap<usize, usize> = both
        .iter()
        .map(|[row, _]| (row.question.cluster, 0))
        .collect();
    for (rank, (_, number)) in ranks.iter_mut().enumerate() {
        *number = rank;
    }
    let judges = [0, 1].map(|side| {
        let rows = || both.iter().map(|rows| rows[side]);
        let judges = judges(rows());
        let needs_one = !judges.is_empty() || rows().any(|row| row.mark.value.is_none());
        needs_one.then_some(judges)
    });
    // One measure has them all, and a draw says which of the two a cluster's rows are taken from.
    let rows = both.iter().flat_map(|rows| {
        let rank = ranks[&rows[0].question.cluster];
        [0, 1].map(|side| {
            let mut row = rows[side].clone();
            row.question.cluster = 2 * rank + side;
            row
        })
    });
    let rows: Vec<Answered> = rows.collect();
    let measure = Measure::new(benchmark, &rows);
    let clusters = ranks.len();
    let columns = match clusters {
        0 => Vec::new(),
        _ => columns(&measure, clusters),
    };
    Compared {
        benchmark: benchmark.to_owned(),
        questions: [
            both.len(),
            first.len() - both.len(),
            second.len() - both.len(),
        ],
        clusters,
        judges,
        columns,
    }
}

fn columns(measure: &Measure, clusters: usize) -> Vec<Column> {
    let (names, of) = (measure.names(), measure.of());
    // The scores of two systems, the first of which has `times` of each cluster's first rows where it has
    // not changed places.
    let pair = |times: &dyn Fn(usize) -> u32, changed: &dyn Fn(usize) -> bool| {
        [0, 1].map(|system| {
            let of = |cluster: usize, side: usize| match (side == system) != changed(cluster) {
                true => times(cluster),
                false => 0,
            };
            let times = (0..clusters).flat_map(|it| [of(it, 0), of(it, 1)]);
            measure.columns(&times.collect::<Vec<u32>>())
        })
    };
    let differences = |[first, second]: [Vec<Option<f64>>; 2]| -> Vec<Option<f64>> {
        let both = first.into_iter().zip(second);
        both.map(|(first, second)| Some(second? - first?)).collect()
    };
    let scores = pair(&|_| 1, &|_| false);
    let found = differences(scores.clone());
    let intervals = intervals(clusters, names.len(), |times| {
        differences(pair(&|it| times[it], &|_| false))
    });
    let mut as_far = vec![Some(0_usize); names.len()];
    for changed in swaps(clusters) {
        let drawn = differences(pair(&|_| 1, &|it| changed[it]));
        for ((count, drawn), found) in as_far.iter_mut().zip(drawn).zip(&found) {
            // Sums in another order may differ in their last bits.
            let is_as_far = drawn
                .zip(*found)
                .map(|(drawn, found)| drawn.abs() >= found.abs() - 1e-9);
            *count = count
                .zip(is_as_far)
                .map(|(count, it)| count + usize::from(it));
        }
    }
    let [first, second] = scores;
    let columns = names.iter().enumerate();
    let column = |(at, &name): (usize, &&'static str)| Column {
        name,
        // The measure has the rows of both.
        of: of[at] / 2,
        scores: first[at]
            .zip(second[at])
            .map(|(first, second)| [first, second]),
        interval: intervals[at],
        p: as_far[at].map(|count| (count + 1) as f64 / (SWAPS + 1) as f64),
    };
    columns.map(column).collect()
}

#[cfg(test)]
mod tests {
    use aki_data::benchmark::{Mark, Question};

    use super::*;
    use crate::benchmark::Judgement;

    /// Answers to questions of which `right` says what they are worth; two share a picture.
    fn rows(right: &[bool]) -> Vec<Answered> {
        let row = |(at, &right)| Answered {
            question: Question {
                id: format!("{at}"),
                cluster: at / 2,
                ..Question::default()
            },
            answer: None,
            mark: Mark {
                value: Some(f64::from(u8::from(right))),
                ..Mark::default()
            },
            tokens: 1,
            cut: false,
            seconds: 0.0,
            error: None,
            judgement: None,
        };
        right.iter().enumerate().map(row).collect()
    }

    #[test]
    fn what_is_better_throughout_is_seen() {
        let worse: Vec<bool> = (0..200).map(|at| at % 4 < 2).collect();
        let mut better = worse.clone();
        better.iter_mut().step_by(4).for_each(|it| *it = true);
        better
            .iter_mut()
            .skip(2)
            .step_by(4)
            .for_each(|it| *it = true);
        let compared = compare("easy-vqa", &rows(&worse), &rows(&better));
        assert_eq!(compared.questions, [200, 0, 0]);
        assert_eq!(compared.clusters, 100);
        let column = &compared.columns[0];
        assert_eq!((column.scores, column.of), (Some([50.0, 75.0]), 200));
        let [low, high] = column.interval.expect("an interval");
        assert!(low > 18.0 && low < 25.0 && high > 25.0 && high < 32.0);
        assert!(column.p.expect("a value") < 0.001);
    }

    /// Four clusters, of which three differ one way and one the other: of the 16 ways to change places,
    /// 10 give a sum as far from 0 as 2.
    #[test]
    fn chance_is_counted() {
        let first = rows(&[true, false, true, false, true, false, true, false]);
        let second = rows(&[true, true, true, true, true, true, false, false]);
        let column = &compare("easy-vqa", &first, &second).columns[0];
        assert_eq!(column.scores, Some([50.0, 75.0]));
        assert!((column.p.expect("a value") - 10.0 / 16.0).abs() < 0.04);
    }

    #[test]
    fn the_same_answers_do_not_differ() {
        let first = rows(&[true, false, true, true]);
        let compared = compare("easy-vqa", &first, &first[1..]);
        assert_eq!(compared.questions, [3, 1, 0]);
        let column = &compared.columns[0];
        assert_eq!(column.interval, Some([0.0, 0.0]));
        assert_eq!(column.p, Some(1.0));
        let none = compare("easy-vqa", &first[..1], &first[1..]);
        assert!(none.columns.is_empty());
    }

    #[test]
    fn what_no_judge_has_seen_has_no_score() {
        let first = rows(&[true, false, true, true]);
        let mut second = first.clone();
        second[3].mark.value = None;
        let column = &compare("easy-vqa", &first, &second).columns[0];
        assert_eq!(
            (column.scores, column.interval, column.p),
            (None, None, None)
        );
    }

    #[test]
    fn judges_are_those_of_what_both_have_answered() {
        let judged = |models: &[&str]| {
            let mut rows = rows(&vec![true; models.len()]);
            for (row, model) in rows.iter_mut().zip(models) {
                match *model {
                    "" => row.mark.value = None,
                    model => {
                        row.judgement = Some(Judgement {
                            model: model.to_owned(),
                            url: String::new(),
                            reply: "1".to_owned(),
                        });
                    }
                }
            }
            rows
        };
        let names = |names: &[&str]| -> Option<Vec<String>> {
            Some(names.iter().map(|&it| it.to_owned()).collect())
        };
        let first = judged(&["b", "a", "b", "c"]);
        let of = |second: &[Answered]| compare("easy-vqa", &first, second).judges;
        assert_eq!(of(&first[..3]), [names(&["a", "b"]), names(&["a", "b"])]);
        assert_eq!(of(&judged(&["b", ""])), [names(&["a", "b"]), names(&["b"])]);
        assert_eq!(of(&judged(&[""])), [names(&["b"]), names(&[])]);
        assert_eq!(of(&rows(&[true])), [names(&["b"]), None]);
    }
}
