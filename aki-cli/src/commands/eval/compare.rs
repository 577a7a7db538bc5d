//! `aki eval compare`.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;

use aki_data::benchmark::Benchmark;
use aki_train::benchmark::{benchmarks, compare, compared_table, read};
use anyhow::{Result, ensure};
use serde_json::json;

/// What must be the same in both for answers to be compared.
const THE_SAME: [&str; 3] = ["prompt", "max_new_tokens", "data"];

pub fn run(folders: [&Path; 2], as_json: bool) -> Result<()> {
    let [first, second] = folders.map(|it| it.display().to_string());
    let there: [BTreeSet<String>; 2] = [
        benchmarks(folders[0])?.into_iter().collect(),
        benchmarks(folders[1])?.into_iter().collect(),
    ];
    for (there, folder) in there.iter().zip([&first, &second]) {
        ensure!(
            !there.is_empty(),
            "there are no answers in {folder}; name a folder that `aki eval` wrote"
        );
    }
    for (at, folder) in [&first, &second].into_iter().enumerate() {
        for alone in there[at].difference(&there[1 - at]) {
            say!("left out: {alone}, which only {folder} has");
        }
    }
    let mut all = Vec::new();
    for benchmark in there[0].intersection(&there[1]) {
        let (meta, mut rows) = read(folders[0], benchmark)?;
        let (other, mut others) = read(folders[1], benchmark)?;
        let differ = meta.differences(&other, Some(&THE_SAME));
        ensure!(
            differ.is_empty(),
            "{benchmark} was not asked in the same way in {first} and in {second} ({})",
            differ.join("; ")
        );
        if let Some(benchmark) = Benchmark::named(benchmark) {
            // What reads answers may have been mended since.
            let rows = rows.iter_mut().chain(&mut others);
            rows.for_each(|row| row.mark_again(benchmark));
        }
        let compared = compare(benchmark, &rows, &others);
        if let [Some(judges), Some(others)] = &compared.judges {
            let [judges, others] = [judges, others].map(|judges| match judges[..] {
                [] => "no judge".to_owned(),
                _ => judges.join(", "),
            });
            ensure!(
                judges == others,
                "{benchmark} was judged by {judges} in {first} and by {others} in {second}; have both judged by one model: \
                 `aki eval {benchmark}` with --judge and --judge-model asks the judge alone, where the answers are there"
            );
        }
        let [_, only_first, only_second] = compared.questions;
        for (only, folder) in [(only_first, &first), (only_second, &second)] {
            if only > 0 {
                say!(
                    "{benchmark}: left out are {only} questions that only {folder} has answers to"
                );
            }
        }
        let lacking = compared.columns.iter().filter(|it| it.scores.is_none());
        for column in lacking {
            say!(
                "{benchmark}: no {} to compare: answers have no mark yet, or too few were asked",
                column.name
            );
        }
        all.push(compared);
    }
    ensure!(
        !all.is_empty(),
        "{first} and {second} have answers to no benchmark in common"
    );
    let mut out = std::io::stdout();
    if as_json {
        for compared in &all {
            writeln!(out, "{}", json!(compared))?;
        }
        return Ok(());
    }
    write!(out, "{}", compared_table([&first, &second], &all))?;
    writeln!(
        out,
        "difference: the second less the first, with the 95 % interval of a paired bootstrap over clusters; p: paired permutation over clusters"
    )?;
    Ok(())
}
