//! The folder that answers and scores are written to.

use std::path::{Path, PathBuf};

use aki_data::benchmark::PromptStyle;
use aki_train::benchmark::Scored;
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

/// Writes `scores.json`: what is there already stays, less what was measured again.
pub fn write_scores(folder: &Path, model: &str, device: &str, scored: &[Scored]) -> Result<()> {
    let path = folder.join("scores.json");
    let there = std::fs::read(&path).ok();
    let there = there.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let mut scores: Map<String, Value> = there.unwrap_or_default();
    for scored in scored {
        let mut object = serde_json::to_value(scored)?;
        object["model_name"] = json!(model);
        object["device"] = json!(device);
        object["notes"] = json!(scored.notes());
        scores.insert(scored.meta.benchmark.clone(), object);
    }
    let text = serde_json::to_string_pretty(&scores)?;
    write_whole(&path, text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
}
