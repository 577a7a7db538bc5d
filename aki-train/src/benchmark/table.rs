//! Scores as tables.

use std::fmt::Write as _;

use aki_data::benchmark::{self, Benchmark, published_columns};

use super::{Compared, Scored};
use crate::markdown::table;

/// What is written where there is no score.
const NONE: &str = "-";

/// A benchmark's scores with their intervals, then what they are made of, then what else is to be known.
pub fn scored_table(benchmark: Benchmark, scored: &Scored) -> String {
    let meta = &scored.meta;
    let mut text = format!(
        "{}: {} of {} questions, prompt {}, {} in at most {} tokens\n\n",
        benchmark.title(),
        scored.asked,
        scored.questions,
        meta.prompt,
        meta.dtype,
        meta.max_new_tokens
    );
    let mut lines = vec![
        ["score", "value", "95 % interval", "n"]
            .map(str::to_owned)
            .to_vec(),
    ];
    let unjudged = benchmark.needs_judge() && scored.judges.is_empty();
    let columns = scored.score.columns.iter().zip(&scored.score.of);
    for (((name, value), of), interval) in columns.zip(&scored.intervals) {
        let value = match value {
            Some(value) => format!("{value:.1}"),
            None if unjudged => "needs a judge".to_owned(),
            None => NONE.to_owned(),
        };
        let interval = interval.map_or(NONE.to_owned(), |[low, high]| {
            format!("{low:.1} to {high:.1}")
        });
        lines.push(vec![format!("**{name}**"), value, interval, of.to_string()]);
    }
    for part in &scored.score.parts {
        let value = part
            .value
            .map_or(NONE.to_owned(), |value| format!("{value:.1}"));
        lines.push(vec![
            part.name.clone(),
            value,
            String::new(),
            part.of.to_string(),
        ]);
    }
    text += &table(&lines);
    if unjudged && scored.score.columns.iter().any(|it| it.1.is_none()) {
        text += "- no score: it needs a judge (--judge URL --judge-model NAME); the answers are written\n";
    }
    for note in scored.notes() {
        writeln!(text, "- {note}").ok();
    }
    text
}

/// A row of published scores, or one's own: a name, and what there is of the columns of Table 1.
pub type OwnRow = (String, Vec<(&'static str, Option<f64>)>);

/// One's own rows beside the published ones, in the columns that one's own have.
pub fn published_table(own: &[OwnRow]) -> String {
    let has = |column: &str| {
        own.iter()
            .any(|(_, scores)| scores.iter().any(|it| it.0 == column))
    };
    let columns: Vec<&str> = published_columns().filter(|&column| has(column)).collect();
    let head = std::iter::once("system").chain(columns.iter().copied());
    let mut lines = vec![head.map(str::to_owned).collect::<Vec<_>>()];
    let number = |score: Option<f64>| score.map_or(NONE.to_owned(), |score| format!("{score:.1}"));
    for (name, scores) in benchmark::published() {
        let scores = published_columns().zip(scores).filter(|it| has(it.0));
        let scores = scores.map(|(_, &score)| number(Some(score)));
        lines.push(std::iter::once((*name).to_owned()).chain(scores).collect());
    }
    for (name, scores) in own {
        let of = |column: &str| scores.iter().find(|it| it.0 == column).and_then(|it| it.1);
        let scores = columns.iter().map(|column| number(of(column)));
        lines.push(
            std::iter::once(format!("**{name}**"))
                .chain(scores)
                .collect(),
        );
    }
    table(&lines)
}

/// Two systems side by side.
pub fn compared_table(names: [&str; 2], compared: &[Compared]) -> String {
    let head = [
        "score",
        names[0],
        names[1],
        "difference",
        "95 % interval",
        "p",
        "n",
    ];
    let mut lines = vec![head.map(str::to_owned).to_vec()];
    for of in compared {
        for column in &of.columns {
            let numbers = match (column.scores, column.interval, column.p) {
                (Some([first, second]), interval, p) => [
                    format!("{first:.1}"),
                    format!("{second:.1}"),
                    format!("{:+.1}", second - first),
                    interval.map_or(NONE.to_owned(), |[low, high]| {
                        format!("{low:+.1} to {high:+.1}")
                    }),
                    p.map_or(NONE.to_owned(), |p| format!("{p:.4}")),
                ],
                _ => [NONE; 5].map(str::to_owned),
            };
            let name = std::iter::once(column.name.to_owned());
            let rows = std::iter::once(column.of.to_string());
            lines.push(name.chain(numbers).chain(rows).collect());
        }
    }
    table(&lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ones_own_columns_stand_beside_the_published() {
        let own = [(
            "mine".to_owned(),
            vec![("POPE", Some(12.34)), ("MM-Vet", None)],
        )];
        let text = published_table(&own);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "| system             | POPE | MM-Vet |");
        assert_eq!(lines[1], "|--------------------|-----:|-------:|");
        assert_eq!(lines[9], "| MMA                | 82.7 |   30.2 |");
        assert_eq!(lines[11], "| **mine**           | 12.3 |      - |");
    }
}
