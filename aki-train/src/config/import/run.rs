//! The run file's text.

use std::fmt::Write;
use std::path::Path;

use aki_data::Template;
use aki_model::language::LanguageConfig;

use super::ImportError;
use super::compose::compose;
use super::interpolate::resolve;
use super::network::network;
use super::settings::{Settings, or};
use super::sources::{Source, sources};
use super::stage::{check_kind, stage};
use crate::TrainError;
use crate::config::RunConfig;
use crate::folder::write_file;

/// A run file made of a Hydra configuration.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The run file. The notices stand at its end, as comments.
    pub toml: String,
    /// What the configuration says and a run file has no room for, what it leaves out, and what is
    /// still to do by hand; a line each.
    pub notices: Vec<String>,
}

impl Imported {
    /// Writes the run file, which must not be there yet.
    ///
    /// # Errors
    ///
    /// [`TrainError::Io`] if it is, or cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), TrainError> {
        if path.exists() {
            let there = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
            return Err(TrainError::io("write", path)(there));
        }
        write_file(path, self.toml.as_bytes())
    }
}

/// Settings that a run has no use for, and why.
const WITHOUT_USE: [(&str, &str); 11] = [
    ("model_family", "there is one family"),
    ("training_mode", "a run that was stopped goes on by itself"),
    ("log_dir", "logs are written to run_dir"),
    (
        "report_to_tensorboard",
        "logs for TensorBoard are always written",
    ),
    (
        "resume_from_checkpoint",
        "the weights to begin with; `aki convert` makes a model folder of them",
    ),
    ("dataset_resampled", "samples are drawn by weight"),
    ("offline", "nothing is downloaded"),
    ("dist_url", "for several GPUs"),
    ("dist_backend", "for several GPUs"),
    ("no_set_device_rank", "for several GPUs"),
    ("horovod", "for several GPUs"),
];

/// Reads the Hydra configuration at `file` and makes a run file of it. `env` gives the environment's
/// variables, which `${oc.env:NAME}` asks for.
///
/// # Errors
///
/// [`ImportError`] if a file cannot be read or composed, or if a value cannot be had or understood.
pub fn import(file: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Imported, ImportError> {
    let mut composed = compose(file)?;
    let mut notices = std::mem::take(&mut composed.notices);
    if composed.tree.shift_remove("hydra").is_some() {
        notices.push("hydra: settings of Hydra itself are left out".to_owned());
    }
    let resolved = resolve(&composed, env)?;
    let mut settings = Settings::new(composed, resolved);
    check_kind(&mut settings)?;
    let stage = stage(&mut settings, &mut notices)?;
    let run_dir = or(
        settings.text("run_name")?,
        "runs/sft".to_owned(),
        "run_name",
        &mut notices,
    );
    let seed = or(settings.whole("seed")?, 42, "seed", &mut notices);
    let language = or(
        settings.text("lm_path")?,
        "microsoft/Phi-3.5-mini-instruct".to_owned(),
        "lm_path",
        &mut notices,
    );
    let tokenizer = settings
        .text("tokenizer_path")?
        .filter(|path| !path.is_empty());
    let tokenizer = tokenizer.unwrap_or_else(|| language.clone());
    if LanguageConfig::known(&tokenizer).is_some() {
        notices.push(format!(
            "text.tokenizer: {tokenizer} is a name on the Hugging Face hub; put in the path of a \
             tokenizer that has <image> and <|endofchunk|>, such as AKI-4B's folder"
        ));
    }
    notices.push(
        "start: the weights to begin with, in a folder of the published layout; `aki convert` makes \
         one of a checkpoint of the original's pre-training"
            .to_owned(),
    );
    let key = "training_config.workers";
    let workers = settings.whole(key)?.filter(|workers| *workers > 0);
    let workers = workers.map_or(String::new(), |workers| format!("workers = {workers}\n"));
    let network = network(&mut settings, &language, &mut notices)?;
    let sources = sources(&mut settings, &mut notices)?;
    let paths = || {
        let tokenizer = std::iter::once(tokenizer.as_str());
        tokenizer.chain(sources.iter().flat_map(Source::paths))
    };
    if let Some(path) = paths().find(|path| path.contains('{')) {
        notices.push(format!(
            "{path} holds a placeholder; put your folder in its place, there and wherever else it stands"
        ));
    }
    if let Some(path) = paths().find(|path| Path::new(path).is_relative()) {
        notices.push(format!(
            "{path} and other paths are relative to the run file here, and were to the working folder \
             in the original"
        ));
    }
    for (key, value) in settings.unused() {
        let why = WITHOUT_USE.into_iter().find(|(known, _)| *known == key);
        let why = why.map_or("has no counterpart", |(_, why)| why);
        notices.push(format!("{key}: {value} is left out: {why}"));
    }
    let mut text = format!(
        "# Made of {}, a configuration of the original AKI. Paths are relative to this file, run_dir \
         to\n# the working folder. What had no place here stands at the end.\n\n",
        one_line(&settings.file())
    );
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "run_dir = {run_dir}\nseed = {seed}\nstart = {tokenizer}\n\n[text]\ntokenizer = {tokenizer}\nsystem = {system}\n\n\
         [data]\nvalid_samples = 0\nexif_orientation = false\n{workers}",
        run_dir = toml::Value::from(run_dir),
        tokenizer = toml::Value::from(tokenizer),
        system = toml::Value::from(Template::default().system),
    );
    for source in &sources {
        source.write(&mut text);
    }
    let _ = write!(
        text,
        "\n{network}\n{stage}\n[evaluation]\nsamples = 0\nbatch = 32\nexamples = 0\n"
    );
    if let Err(error) = RunConfig::check(&text) {
        notices.push(format!("this run cannot begin as it stands: {error}"));
    }
    let notices: Vec<_> = notices.iter().map(|notice| one_line(notice)).collect();
    if !notices.is_empty() {
        text += "\n# Beside the above:\n";
    }
    for notice in &notices {
        let _ = writeln!(text, "# - {notice}");
    }
    Ok(Imported {
        toml: text,
        notices,
    })
}

/// On one line, and without what TOML forbids in comments.
fn one_line(text: &str) -> String {
    let escape = |c: char| match c.is_control() {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    text.chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;

    fn nothing(_: &str) -> Option<String> {
        None
    }

    fn fixture() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/hydra")
    }

    /// The fixture with other words in `sft.yaml`.
    fn changed(changes: &[(&str, &str)]) -> Result<Imported, ImportError> {
        let folder = tempfile::tempdir().unwrap();
        let mut text = std::fs::read_to_string(fixture().join("sft.yaml")).unwrap();
        for (old, new) in changes {
            assert!(text.contains(old), "{old}");
            text = text.replace(old, new);
        }
        std::fs::write(folder.path().join("sft.yaml"), text).unwrap();
        let sets = folder.path().join("sft_datasets");
        std::fs::create_dir(&sets).unwrap();
        for set in std::fs::read_dir(fixture().join("sft_datasets")).unwrap() {
            let set = set.unwrap();
            std::fs::copy(set.path(), sets.join(set.file_name())).unwrap();
        }
        import(&folder.path().join("sft.yaml"), &nothing)
    }

    #[track_caller]
    fn fails(changes: &[(&str, &str)], parts: &[&str]) {
        let message = changed(changes).unwrap_err().to_string();
        for part in parts {
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn the_originals_tuning_is_our_run_file() {
        let imported = import(&fixture().join("sft.yaml"), &nothing).unwrap();
        let imported: toml::Table = imported.toml.parse().unwrap();
        let ours = include_str!("../../../../assets/configs/sft.toml");
        let mut ours: toml::Table = ours.parse().unwrap();
        // Ours is for one card, on which the pictures of the original's eight go in micro-batches.
        assert!(ours.remove("training").is_some());
        let stage = ours["stage"][0].as_table_mut().unwrap();
        let a_card = stage.remove("micro_batch").unwrap();
        assert_eq!(stage.insert("batch".to_owned(), a_card), Some(32.into()));
        for (key, value) in &ours {
            assert_eq!(imported.get(key), Some(value), "{key}");
        }
        assert_eq!(imported.len(), ours.len());
        let weight = |source: &toml::Value| source["weight"].as_float().unwrap();
        let weights: f64 = ours["data"]["source"]
            .as_array()
            .unwrap()
            .iter()
            .map(weight)
            .sum();
        assert!((weights - 1.0).abs() < 1e-9, "{weights}");
    }

    #[test]
    fn nothing_is_dropped_in_silence() {
        let Imported { toml, notices } = import(&fixture().join("sft.yaml"), &nothing).unwrap();
        for part in [
            "batch_size: 4 is a GPU's; the original's script starts 8, 32 pictures",
            "log_dir: \"runs/sft/logs\" is left out: logs are written to run_dir",
            "precision: \"amp_bf16\" is left out",
            "fsdp: true is left out",
            "logging_steps: 5 is left out",
        ] {
            assert!(
                notices.iter().any(|notice| notice.contains(part)),
                "{part}: {notices:#?}"
            );
        }
        // `name` and `data_root` stand in other values; null says nothing but is told all the same.
        let told = |key: &str| notices.iter().any(|notice| notice.starts_with(key));
        assert!(!told("name:") && !told("data_root:") && told("resume_from_checkpoint: null"));
        for notice in &notices {
            assert!(toml.contains(&format!("# - {notice}\n")), "{notice}");
        }
    }

    #[test]
    fn values_given_win_and_others_are_told() {
        let imported = changed(&[
            ("seed: 42", "odd: \"a\\nb = \\x7f\""),
            ("learning_rate: 2e-5", "learning_rate: 1e-5"),
            ("total_training_steps: 50000", "total_training_steps: 7"),
            ("../../data/sft", "\"{your_root}\""),
        ])
        .unwrap();
        let run: toml::Table = imported.toml.parse().unwrap();
        assert_eq!(run["stage"][0]["steps"].as_integer(), Some(7));
        assert_eq!(run["stage"][0]["optimizer"]["lr"].as_float(), Some(1e-5));
        assert_eq!(run["seed"].as_integer(), Some(42));
        let notices = imported.notices.join("\n");
        for part in [
            "seed is not given; 42",
            "odd: \"a\\nb",
            "{your_root}/vqa/v2_Open",
        ] {
            assert!(notices.contains(part), "{notices}");
        }
    }

    #[test]
    fn uniform_weights_and_several_files() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("one.yaml");
        std::fs::write(
            &file,
            "training_config: {sampling_weights: uniform}\ntokenizer_path: ''\nsft_datasets:\n  \
             ref: {classname: RefExpLocDataset, data_cfg: {data_path: [a.json, b.json], image_path: /}}\n  \
             vsr: {classname: VSRDataset, data_cfg: {data_path: v.jsonl, image_path_train: x/train2017, image_path_val: y/val2017/}}",
        )
        .unwrap();
        let imported = import(&file, &nothing).unwrap();
        let run: toml::Table = imported.toml.parse().unwrap();
        let sources = run["data"]["source"].as_array().unwrap();
        let all: Vec<_> = sources
            .iter()
            .map(|source| {
                let text = |key: &str| source[key].as_str().unwrap();
                (
                    text("name"),
                    text("annotations"),
                    text("images"),
                    source["weight"].as_float().unwrap(),
                )
            })
            .collect();
        let expected = [
            ("ref-1", "a.json", "/", 0.5),
            ("ref-2", "b.json", "/", 0.5),
            ("vsr", "v.jsonl", "x", 1.0),
        ];
        assert_eq!(all, expected);
        let notices = imported.notices.join("\n");
        for part in [
            "2 annotation files",
            "y/val2017 in x/val2017",
            "text.tokenizer: microsoft/",
        ] {
            assert!(notices.contains(part), "{notices}");
        }
    }

    #[test]
    fn what_cannot_be_imported_says_where() {
        fails(
            &[("lr_scheduler: cosine", "lr_scheduler: linear")],
            &["sft.yaml: lr_scheduler: only \"cosine\""],
        );
        fails(
            &[("loss: supervised_finetune", "loss: next_token_prediction")],
            &["loss"],
        );
        fails(
            &[("num_epochs: 1", "num_epochs: 2")],
            &["num_epochs: only 1"],
        );
        fails(
            &[("steps: 50000", "steps: -1")],
            &["total_training_steps", "number of steps"],
        );
        fails(
            &[("steps: 50000", "steps: many")],
            &["total_training_steps", "whole number", "\"many\""],
        );
        fails(
            &[("rate: 2e-5", "rate: \"2e-5\"")],
            &["learning_rate: a number is expected here, not \"2e-5\""],
        );
        fails(
            &[("warmup_steps: 150", "warmup_steps: ???")],
            &["warmup_steps", "left open"],
        );
        fails(
            &[("Phi-3.5-mini-instruct", "phi-9")],
            &["lm_path: microsoft/phi-9 is not known"],
        );
        fails(
            &[("siglip-so400m", "siglip-huge")],
            &["vision_encoder_path: google/siglip-huge"],
        );
        fails(
            &[("[.103, .103,", "[.103,")],
            &["sampling_weights: has 10 weights for 11 data sets"],
        );
        fails(
            &[("[.103, .103,", "[.103, 0,")],
            &["sampling_weights", "greater than 0"],
        );
        fails(
            &[("  sampling_weights: [", "  other: [")],
            &["sampling_weights: is missing"],
        );
        fails(
            &[("data_root: ../../data/sft", "")],
            &["vqa.yaml: sft_datasets.vqa.data_cfg.data_path: ${data_root}"],
        );
        fails(
            &[
                (
                    "training_config:",
                    "sft_datasets: {vqa: {data_cfg: 3}}\ntraining_config:",
                ),
                ("  - _self_", ""),
                ("llava150k]", "llava150k]\n  - _self_"),
            ],
            &["sft_datasets.vqa.data_cfg.data_path: is missing"],
        );
        fails(
            &[("  - _self_", "  - _self_\n  - other")],
            &["other.yaml", "sft.yaml (\"other\")"],
        );
        let file = tempfile::NamedTempFile::new().unwrap();
        let message = import(file.path(), &nothing).unwrap_err().to_string();
        assert!(
            message.contains("sft_datasets: names no data set"),
            "{message}"
        );
    }

    fn folder(top: &str, set: &str) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("sft_datasets")).unwrap();
        std::fs::write(folder.path().join("top.yaml"), top).unwrap();
        std::fs::write(folder.path().join("sft_datasets/a.yaml"), set).unwrap();
        folder
    }

    /// Any value, often one that means something.
    fn value() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<f64>().prop_map(Into::into),
            "[a-z${}.:,/]{0,8}|VSRDataset|VQADataset|\\$\\{seed\\}|\\PC{0,5}".prop_map(Into::into),
        ];
        let key = "classname|data_cfg|data_path|image_path|max_length|a|[a-z.$]{1,3}";
        leaf.prop_recursive(3, 20, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                prop::collection::hash_map(key, inner, 0..4)
                    .prop_map(|table| serde_json::Value::Object(table.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_configuration_makes_it_panic(
            values in prop::collection::vec(value(), 8),
            set in value(),
            good in any::<bool>(),
        ) {
            let keys = ["defaults", "sft_datasets", "training_config", "seed", "lm_path", "learning_rate", "run_name", "x"];
            let mut top: serde_json::Map<_, _> = keys.map(str::to_owned).into_iter().zip(values).collect();
            if good {
                top["defaults"] = serde_json::json!(["_self_", {"sft_datasets": "a"}]);
            }
            let top = serde_json::Value::Object(top).to_string();
            let folder = folder(&top, &set.to_string());
            // What comes out is a run file, whatever stands in it.
            if let Ok(imported) = import(&folder.path().join("top.yaml"), &nothing) {
                prop_assert!(imported.toml.parse::<toml::Table>().is_ok(), "{}", imported.toml);
            }
        }

        #[test]
        fn no_text_makes_it_panic(
            top in "(defaults: \\[\\{sft_datasets: a\\}\\]\n)?[-a-c0-9:{}\\[\\], &*#@!|'\"\n$.]{0,60}",
            set in "[-a-c0-9:{}\\[\\], &*#@!|'\"\n$.]{0,40}",
        ) {
            let folder = folder(&top, &set);
            match import(&folder.path().join("top.yaml"), &nothing) {
                Ok(imported) => prop_assert!(imported.toml.parse::<toml::Table>().is_ok()),
                Err(error) => prop_assert!(error.to_string().contains(".yaml: ") || error.to_string().starts_with("cannot read"), "{}", error),
            }
        }
    }
}
