//! `aki eval --list`.

use std::io::Write;

use aki_data::benchmark::{Benchmark, published};
use aki_train::benchmark::EASY_VQA;
use anyhow::Result;
use serde_json::json;

pub fn print(as_json: bool) -> Result<()> {
    let mut out = std::io::stdout();
    for benchmark in Benchmark::ALL {
        if as_json {
            let object = json!({
                "benchmark": benchmark.name(),
                "title": benchmark.title(),
                "files": benchmark.files(),
                "scores": benchmark.columns(),
                "judge": benchmark.needs_judge(),
                "prompts": benchmark.differs(),
            });
            writeln!(out, "{object}")?;
            continue;
        }
        let judge = match benchmark.needs_judge() {
            true => "; needs a judge",
            false => "",
        };
        writeln!(
            out,
            "{:<12} {}\n             files: {}\n             scores: {}{judge}\n             prompts: {}",
            benchmark.name(),
            benchmark.title(),
            benchmark.files_told(", or "),
            benchmark.columns().join(", "),
            benchmark.differs()
        )?;
    }
    if !as_json {
        writeln!(
            out,
            "{EASY_VQA:<12} easy-VQA, built in\n             scores: accuracy, perplexity"
        )?;
        let rows: Vec<&str> = published().iter().map(|(name, _)| *name).collect();
        writeln!(out, "\npublished beside them: {}", rows.join(", "))?;
    }
    Ok(())
}
