//! The folder that answers and scores are written to.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use aki_data::benchmark::PromptStyle;
use aki_train::benchmark::SCORES;
use aki_train::files::write_whole;
use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use crate::args::EvalArgs;

/// Where `args` has them written: `eval` in a run's folder, `eval/NAME` here for any other model. The kit's
/// prompts have a folder of their own beside that.
pub fn folder(args: &EvalArgs) -> PathBuf {
    if let Some(out) = &args.out {
        return out.clone();
    }
    let kit = match args.prompt.into() {
        PromptStyle::Aki => "",
        PromptStyle::VlmEvalKit => "-vlmevalkit",
    };
    match args.model().join("model").is_dir() {
        true => args.model().join(format!("eval{kit}")),
        false => Path::new("eval").join(name(args.model()) + kit),
    }
}

/// What a model is called: its folder, or its run's.
pub fn name(model: &Path) -> String {
    let whole = std::fs::canonicalize(model).unwrap_or_else(|_| model.to_owned());
    let mut parts = whole.ancestors().filter_map(Path::file_name);
    let name = parts.find(|name| *name != "model");
    name.map_or("model".to_owned(), |name| {
        name.to_string_lossy().into_owned()
    })
}

/// Writes a benchmark's scores into `scores.json`, where those of the others stay.
pub fn write_scores(folder: &Path, model: &str, benchmark: &str, mut object: Value) -> Result<()> {
    let path = folder.join(SCORES);
    let mut scores: Map<String, Value> = match std::fs::read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Map::new(),
        there => there
            .map_err(anyhow::Error::from)
            .and_then(|bytes| Ok(serde_json::from_slice(&bytes)?))
            .with_context(|| format!("cannot read {}; mend or remove it", path.display()))?,
    };
    object["model_name"] = json!(model);
    scores.insert(benchmark.to_owned(), object);
    let text = serde_json::to_string_pretty(&scores)?;
    write_whole(&path, text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
}
