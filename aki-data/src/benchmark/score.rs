//! From marks to scores.

use std::collections::BTreeSet;

use serde::Serialize;

use super::mark::Mark;
use super::question::Question;
use super::set::Benchmark;
use super::tally::{Tally, percent};

/// Scores of a benchmark, in the units of Table 1: percent, but for MME's sums.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Score {
    /// The headline scores, in the order of [`Benchmark::columns`]; none where it cannot be said.
    pub columns: Vec<(&'static str, Option<f64>)>,
    /// Of each of them, of how many rows or, in `MMBench`, questions in all their orders.
    pub of: Vec<usize>,
    /// What they are made of: categories, splits, other measures.
    pub parts: Vec<Part>,
    /// What is missing or left out, in sentences.
    pub notes: Vec<String>,
}

/// A score of a part of the rows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Part {
    /// Which part, or which measure of it.
    pub name: String,
    /// The score; none where it cannot be said.
    pub value: Option<f64>,
    /// Of how many rows or, in `MMBench`, questions in all their orders.
    pub of: usize,
}

/// Scores of rows, and of these rows drawn anew.
///
/// What rows count for is added up by cluster once, so that a draw costs a sum over clusters.
#[derive(Clone, Debug)]
pub struct Scorer {
    benchmark: Benchmark,
    /// Names of the parts, in order; the first has none and is the whole.
    names: Vec<String>,
    /// Of each cluster what it counts for, and in which part.
    clusters: Vec<Vec<(usize, Tally)>>,
    /// Groups of which some rows are not there.
    incomplete: usize,
}

impl Scorer {
    /// Of these rows, in any order.
    pub fn new(benchmark: Benchmark, rows: &[(&Question, &Mark)]) -> Self {
        let parts: BTreeSet<_> = rows.iter().flat_map(|(it, _)| &it.parts).cloned().collect();
        let names: Vec<_> = [String::new()].into_iter().chain(parts).collect();
        let mut rows = rows.to_vec();
        rows.sort_by_key(|(it, _)| (it.cluster, it.group, &it.id));
        let mut scorer = Self {
            benchmark,
            names,
            clusters: Vec::new(),
            incomplete: 0,
        };
        for cluster in rows.chunk_by(|a, b| a.0.cluster == b.0.cluster) {
            let mut cells = vec![Tally::default(); scorer.names.len()];
            for group in cluster.chunk_by(|a, b| a.0.group == b.0.group) {
                scorer.count(group, &mut cells);
            }
            let cells = cells.into_iter().enumerate();
            let cells = cells.filter(|(_, tally)| *tally != Tally::default());
            scorer.clusters.push(cells.collect());
        }
        scorer
    }

    /// Adds up the rows of one group.
    fn count(&mut self, group: &[(&Question, &Mark)], cells: &mut [Tally]) {
        let first = group[0].0;
        // One question is no pair.
        let at_least = if self.benchmark == Benchmark::Mme {
            2
        } else {
            1
        };
        let complete = group.len() >= first.group_len.max(at_least);
        self.incomplete += usize::from(!complete);
        let whole = group.iter().all(|(_, mark)| mark.value == Some(1.0));
        let as_one = Tally {
            groups: f64::from(u8::from(complete)),
            whole: f64::from(u8::from(complete && whole)),
            ..Tally::default()
        };
        for (at, (question, mark)) in group.iter().enumerate() {
            let mut tally = Tally::row(question, mark);
            if at == 0 {
                tally += as_one;
            }
            // POPE counts a row once in each of its parts, and so in the whole.
            let in_whole = match self.benchmark {
                Benchmark::Pope => question.parts.len().max(1),
                _ => 1,
            };
            cells[0] += tally.times(in_whole as f64);
            for part in &question.parts {
                if let Some(cell) = self.cell(part) {
                    cells[cell] += tally;
                }
            }
        }
    }

    fn cell(&self, part: &str) -> Option<usize> {
        self.names.binary_search_by(|it| it.as_str().cmp(part)).ok()
    }

    /// How many clusters the rows are of. They come in ascending order of [`Question::cluster`], so
    /// two scorers of the same questions have the same.
    pub fn clusters(&self) -> usize {
        self.clusters.len()
    }

    /// The headline scores if each cluster had come so many times, [`Self::clusters`] in number.
    pub fn columns(&self, times: &[u32]) -> Vec<Option<f64>> {
        self.headline(&self.add(times.iter().copied()))
    }

    fn add(&self, times: impl Iterator<Item = u32>) -> Vec<Tally> {
        let mut cells = vec![Tally::default(); self.names.len()];
        for (cluster, times) in self.clusters.iter().zip(times) {
            if times > 0 {
                for (cell, tally) in cluster {
                    cells[*cell] += tally.times(f64::from(times));
                }
            }
        }
        cells
    }

    /// How many rows each headline score is of; in `MMBench`, questions in all their orders.
    pub fn of(&self) -> Vec<usize> {
        self.of_cells(&self.add(std::iter::repeat(1)))
    }

    fn of_cells(&self, cells: &[Tally]) -> Vec<usize> {
        let rows = |part: &&str| self.cell(part).map_or(0, |cell| self.rows(&cells[cell]));
        let of = |parts: &&[&str]| parts.iter().map(rows).sum();
        headline_parts(self.benchmark).iter().map(of).collect()
    }

    /// What counts as one in the benchmark.
    fn rows(&self, tally: &Tally) -> usize {
        let count = match self.benchmark {
            Benchmark::MmBench => tally.groups,
            _ => tally.rows,
        };
        count as usize
    }

    /// Of each headline score, whether its parts are added up, else averaged.
    fn headline(&self, cells: &[Tally]) -> Vec<Option<f64>> {
        let of = |parts: &&[&str]| {
            let measure = |part: &&str| cells[self.cell(part)?].measure(self.benchmark);
            let sum: f64 = parts.iter().map(measure).sum::<Option<f64>>()?;
            let count = if self.benchmark == Benchmark::Mme {
                1
            } else {
                parts.len()
            };
            Some(sum / count as f64)
        };
        headline_parts(self.benchmark).iter().map(of).collect()
    }

    /// The scores of all rows.
    pub fn score(&self) -> Score {
        let cells = self.add(std::iter::repeat(1));
        let values = self.headline(&cells);
        let columns = self.benchmark.columns().iter().copied();
        let columns: Vec<_> = columns.zip(values).collect();
        Score {
            notes: self.notes(&cells, &columns),
            parts: self.parts(&cells, &columns),
            of: self.of_cells(&cells),
            columns,
        }
    }

    fn parts(&self, cells: &[Tally], columns: &[(&str, Option<f64>)]) -> Vec<Part> {
        let part = |name: String, value, of: f64| Part {
            name,
            value,
            of: of as usize,
        };
        let whole = cells[0];
        let mut parts = Vec::new();
        for (name, tally) in self.names.iter().zip(cells) {
            let title = |measure: &str| match (name.is_empty(), measure.is_empty()) {
                (_, true) => name.clone(),
                (true, _) => measure.to_owned(),
                (false, _) => format!("{name}, {measure}"),
            };
            if !name.is_empty() {
                parts.push(Part {
                    name: title(""),
                    value: tally.measure(self.benchmark),
                    of: self.rows(tally),
                });
            }
            if self.benchmark == Benchmark::Pope {
                parts.push(part(title("accuracy"), tally.accuracy(), tally.rows));
                parts.push(part(title("precision"), tally.precision(), tally.rows));
                parts.push(part(title("recall"), tally.recall(), tally.rows));
            }
        }
        match self.benchmark {
            Benchmark::Mme => parts.push(part("accuracy".to_owned(), whole.accuracy(), whole.rows)),
            Benchmark::MmBench => {
                let name = "every order by itself".to_owned();
                parts.push(part(name, whole.accuracy(), whole.rows));
            }
            Benchmark::LlavaW if whole.open == 0.0 => {
                let points = [("ours", whole.sum), ("GPT-4", whole.against)];
                parts.extend(points.map(|(name, sum)| {
                    part(
                        format!("points of {name}"),
                        percent(sum / 10.0, whole.rows),
                        whole.rows,
                    )
                }));
            }
            Benchmark::CvBench => {
                let sum: Option<f64> = columns.iter().map(|it| it.1).sum();
                parts.push(part(
                    "combined".to_owned(),
                    sum.map(|it| it / 2.0),
                    whole.rows,
                ));
            }
            _ => (),
        }
        if whole.open > 0.0 && whole.open < whole.rows {
            let judged = Tally {
                rows: whole.rows - whole.open,
                open: 0.0,
                ..whole
            };
            let value = judged.measure(self.benchmark);
            parts.push(part(
                "rows with a mark alone".to_owned(),
                value,
                judged.rows,
            ));
        }
        parts
    }

    fn notes(&self, cells: &[Tally], columns: &[(&str, Option<f64>)]) -> Vec<String> {
        let whole = cells[0];
        let mut notes = Vec::new();
        if self.incomplete > 0 {
            let all = self.incomplete + whole.groups as usize;
            let what = match self.benchmark {
                Benchmark::Mme => "pictures lack one of their two questions, and count no pair",
                _ => "questions lack some of their orders, and are left out",
            };
            notes.push(format!("{} of {all} {what}", self.incomplete));
        }
        if whole.open > 0.0 {
            notes.push(format!(
                "{} of {} answers have no mark: no judge has said, or not in the form asked for",
                whole.open, whole.rows
            ));
            return notes;
        }
        let needed = headline_parts(self.benchmark).iter().zip(columns);
        for (parts, (name, _)) in needed.filter(|(_, column)| column.1.is_none()) {
            let lacks = |part: &&&str| {
                let cell = self
                    .cell(part)
                    .map(|cell| cells[cell].measure(self.benchmark));
                cell.flatten().is_none()
            };
            let missing: Vec<_> = parts.iter().filter(lacks).copied().collect();
            let of = missing.join(", ");
            let of = if of.is_empty() {
                String::new()
            } else {
                format!(" of {of}")
            };
            notes.push(format!("no {name}: too few rows{of}"));
        }
        notes
    }
}

/// Parts of which each headline score is made; the whole is one without a name.
fn headline_parts(benchmark: Benchmark) -> &'static [&'static [&'static str]] {
    match benchmark {
        Benchmark::Mme => &[
            &[
                "OCR",
                "artwork",
                "celebrity",
                "color",
                "count",
                "existence",
                "landmark",
                "position",
                "posters",
                "scene",
            ],
            &[
                "code_reasoning",
                "commonsense_reasoning",
                "numerical_calculation",
                "text_translation",
            ],
        ],
        Benchmark::Mmmu => &[&["validation"]],
        Benchmark::CvBench => &[&["ADE20K", "COCO"], &["Omni3D"]],
        _ => &[&[""]],
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::benchmark::Expected;

    const PARTS: [&str; 3] = ["adversarial", "popular", "random"];

    /// Rows of some clusters, each of some groups: the parts of a group, as bits, and of each of
    /// its rows what is right and what was said.
    fn rows(group_len: usize) -> impl Strategy<Value = Vec<(Question, Mark)>> {
        let row = (any::<bool>(), prop::option::of(any::<bool>()));
        let group = (1..8_usize, prop::collection::vec(row, group_len));
        let clusters = prop::collection::vec(prop::collection::vec(group, 1..4), 1..6);
        clusters.prop_map(|clusters| {
            let groups = clusters.into_iter().enumerate();
            let groups = groups.flat_map(|(at, groups)| groups.into_iter().map(move |it| (at, it)));
            let mut rows = Vec::new();
            for (group, (cluster, (bits, said))) in groups.enumerate() {
                let parts = PARTS
                    .iter()
                    .enumerate()
                    .filter(|(bit, _)| bits >> bit & 1 == 1);
                let parts: Vec<_> = parts.map(|(_, part)| (*part).to_owned()).collect();
                let group_len = said.len();
                for (yes, said) in said {
                    let question = Question {
                        id: rows.len().to_string(),
                        cluster,
                        group,
                        group_len,
                        parts: parts.clone(),
                        expected: Expected::Yes(yes),
                        ..Question::default()
                    };
                    let said = said.map_or("?", |said| if said { "Yes." } else { "No." });
                    let mark = question.mark(said);
                    rows.push((question, mark));
                }
            }
            rows
        })
    }

    fn score(benchmark: Benchmark, rows: &[(&Question, &Mark)]) -> Score {
        Scorer::new(benchmark, rows).score()
    }

    fn refer(rows: &[(Question, Mark)]) -> Vec<(&Question, &Mark)> {
        rows.iter()
            .map(|(question, mark)| (question, mark))
            .collect()
    }

    fn part<'a>(score: &'a Score, name: &str) -> &'a Part {
        let part = score.parts.iter().find(|it| it.name == name);
        part.unwrap_or_else(|| panic!("no {name}"))
    }

    proptest! {
        #[test]
        fn the_order_of_rows_changes_nothing(rows in rows(2), seed: u64) {
            for benchmark in Benchmark::ALL {
                let sorted = score(benchmark, &refer(&rows));
                let mut mixed = rows.clone();
                let len = mixed.len();
                for at in 0..len {
                    mixed.swap(at, (seed as usize).wrapping_mul(at + 7) % len);
                }
                prop_assert_eq!(score(benchmark, &refer(&mixed)), sorted);
            }
        }

        #[test]
        fn all_orders_are_never_right_more_often_than_each(rows in rows(3)) {
            let score = score(Benchmark::MmBench, &refer(&rows));
            let each = part(&score, "every order by itself").value;
            prop_assert!(score.columns[0].1 <= each);
            prop_assert!(score.notes.is_empty());
        }

        #[test]
        fn a_pair_is_never_worth_more_than_its_rows(rows in rows(2)) {
            let marks = refer(&rows);
            let score = score(Benchmark::Mme, &marks);
            for name in PARTS {
                let of: Vec<_> = marks.iter().filter(|it| it.0.parts.contains(&name.to_owned())).collect();
                if !of.is_empty() {
                    let right = of.iter().filter(|it| it.1.value == Some(1.0)).count();
                    let accuracy = 100.0 * right as f64 / of.len() as f64;
                    let value = part(&score, name).value.expect("a score");
                    prop_assert!(accuracy <= value && value <= 2.0 * accuracy);
                }
            }
        }

        #[test]
        fn a_row_counts_in_each_of_its_parts_and_so_in_the_whole(rows in rows(1)) {
            let score = score(Benchmark::Pope, &refer(&rows));
            let all: usize = rows.iter().map(|(question, _)| question.parts.len()).sum();
            prop_assert_eq!(part(&score, "accuracy").of, all);
            let of_parts = PARTS.iter().filter_map(|name| score.parts.iter().find(|it| it.name == *name));
            prop_assert_eq!(of_parts.map(|it| it.of).sum::<usize>(), all);
        }

        #[test]
        fn drawing_a_cluster_again_is_having_its_rows_again(
            rows in rows(2), times in prop::collection::vec(0..4_u32, 5),
        ) {
            for benchmark in [Benchmark::Mme, Benchmark::MmBench, Benchmark::Pope, Benchmark::SeedI] {
                let scorer = Scorer::new(benchmark, &refer(&rows));
                let times = &times[..scorer.clusters()];
                let mut again = Vec::new();
                for (question, mark) in &rows {
                    for copy in 0..times[question.cluster] as usize {
                        let mut question = question.clone();
                        question.id.extend(["-", &copy.to_string()]);
                        question.group += copy * rows.len();
                        question.cluster += copy * rows.len();
                        again.push((question, mark.clone()));
                    }
                }
                let expected: Vec<_> = score(benchmark, &refer(&again)).columns;
                let expected: Vec<_> = expected.into_iter().map(|it| it.1).collect();
                let drawn = scorer.columns(times);
                for (drawn, expected) in drawn.iter().zip(&expected) {
                    // MME has none of its categories here, so both are none.
                    let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
                    prop_assert!(match (drawn, expected) {
                        (Some(a), Some(b)) => near(*a, *b),
                        (a, b) => a == b,
                    }, "{:?} {:?}", drawn, expected);
                }
                let once = vec![1; scorer.clusters()];
                let columns: Vec<_> = scorer.score().columns.into_iter().map(|it| it.1).collect();
                prop_assert_eq!(scorer.columns(&once), columns);
            }
        }
    }
}
