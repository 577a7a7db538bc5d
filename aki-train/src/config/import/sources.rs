//! The data sets of the original's instruction tuning as sources of a run file.

use std::fmt::Write;

use super::ImportError;
use super::merge::join;
use super::settings::Settings;

/// The original's classes and our names of their formats.
const CLASSES: [(&str, &str); 9] = [
    ("VQADataset", "vqa"),
    ("GQADataset", "gqa"),
    ("VSRDataset", "vsr"),
    ("OCRVQADataset", "ocrvqa"),
    ("AOKVQADataset", "aokvqa"),
    ("ScienceQADataset", "scienceqa"),
    ("RefExpLocDataset", "refcoco"),
    ("VGDataset", "vg"),
    ("LLaVAInstructDataset", "llava"),
];

/// The two files that the original looks for in `VQADataset`'s folder.
const VQA_QUESTIONS: &str = "v2_OpenEnded_mscoco_train2014_questions.json";
const VQA_ANNOTATIONS: &str = "v2_mscoco_train2014_annotations.json";

/// A `[[data.source]]`: its name, and its other keys as they are written.
pub(super) struct Source {
    name: String,
    keys: Vec<(&'static str, String)>,
    weight: f64,
}

/// All sources. What was changed on the way goes to `notices`.
pub(super) fn sources(
    settings: &mut Settings,
    notices: &mut Vec<String>,
) -> Result<Vec<Source>, ImportError> {
    let names = settings.names("sft_datasets")?;
    if names.is_empty() {
        return Err(settings.fault("sft_datasets", "names no data set; draw one in"));
    }
    let weights = weights(settings, names.len())?;
    let mut sources = Vec::new();
    for (name, weight) in names.iter().zip(weights) {
        let files = files(settings, name, notices)?;
        let shares = files.len();
        if shares > 1 {
            notices.push(format!(
                "sft_datasets.{name} has {shares} annotation files: a source each, and the \
                 weight {weight} in equal shares"
            ));
        }
        for (number, keys) in files.into_iter().enumerate() {
            sources.push(Source {
                name: match shares {
                    1 => name.clone(),
                    _ => format!("{name}-{}", number + 1),
                },
                keys,
                weight: weight / shares as f64,
            });
        }
    }
    Ok(sources)
}

/// The weights of `count` data sets, in their order.
fn weights(settings: &mut Settings, count: usize) -> Result<Vec<f64>, ImportError> {
    let key = "training_config.sampling_weights";
    let found = settings.get(key)?.cloned();
    let Some(found) = found else {
        if count == 1 {
            return Ok(vec![1.0]);
        }
        return Err(settings.fault(key, "is missing; write a list, a weight for each data set"));
    };
    if found == "uniform" {
        return Ok(vec![1.0; count]);
    }
    if found == "length_ratio" {
        let reason = "goes by the sizes of the data sets, which are not known here; write a list, \
                      a weight for each data set";
        return Err(settings.fault(key, reason));
    }
    let weights = found.as_array().and_then(|weights| {
        let weights = weights
            .iter()
            .map(|weight| weight.as_f64().filter(|weight| *weight > 0.0));
        weights.collect::<Option<Vec<_>>>()
    });
    let Some(weights) = weights else {
        return Err(settings.fault(
            key,
            "must be a list of numbers greater than 0, or \"uniform\"",
        ));
    };
    if weights.len() != count {
        let reason = format!(
            "has {} weights for {count} data sets; there must be one for each, in the order of \
             the defaults list",
            weights.len()
        );
        return Err(settings.fault(key, &reason));
    }
    Ok(weights)
}

/// The kind and the files of a data set, once for each annotation file.
fn files(
    settings: &mut Settings,
    name: &str,
    notices: &mut Vec<String>,
) -> Result<Vec<Vec<(&'static str, String)>>, ImportError> {
    let set = join("sft_datasets", name);
    let class_key = join(&set, "classname");
    let class = required(settings, &class_key)?;
    let Some((_, kind)) = CLASSES.into_iter().find(|(known, _)| *known == class) else {
        let known = CLASSES.map(|(known, _)| known).join(", ");
        let reason = format!("\"{class}\" is not a class of the original's; those are {known}");
        return Err(settings.fault(&class_key, &reason));
    };
    let key = |name: &str| format!("{set}.data_cfg.{name}");
    let annotations = settings.texts(&key("data_path"))?.unwrap_or_default();
    if annotations.is_empty() {
        return Err(settings.fault(&key("data_path"), "is missing; write the file's path"));
    }
    let images = match kind {
        "vsr" => vsr_images(settings, &set, notices)?,
        _ => folder(&required(settings, &key("image_path"))?),
    };
    let image_data = match kind {
        "vg" => Some(required(settings, &key("image_metadata_path"))?),
        _ => None,
    };
    let source = |annotations: String| {
        let mut keys = vec![("kind", kind.to_owned())];
        if kind == "vqa" {
            let folder = folder(&annotations);
            keys.push(("questions", format!("{folder}/{VQA_QUESTIONS}")));
            keys.push(("annotations", format!("{folder}/{VQA_ANNOTATIONS}")));
        } else {
            keys.push(("annotations", annotations));
        }
        keys.extend(image_data.clone().map(|path| ("image_data", path)));
        keys.push(("images", images.clone()));
        keys
    };
    Ok(annotations.into_iter().map(source).collect())
}

/// The folder that holds COCO's `train2017` and `val2017`. The original names both, wherever they
/// are; ours must be side by side.
fn vsr_images(
    settings: &mut Settings,
    set: &str,
    notices: &mut Vec<String>,
) -> Result<String, ImportError> {
    let key = format!("{set}.data_cfg.image_path_train");
    let train = folder(&required(settings, &key)?);
    let val = folder(&required(
        settings,
        &format!("{set}.data_cfg.image_path_val"),
    )?);
    let Some(parent) = train.strip_suffix("/train2017") else {
        let reason = "must end in \"/train2017\", the folder's name in COCO";
        return Err(settings.fault(&key, reason));
    };
    let expected = format!("{parent}/val2017");
    if val != expected {
        notices.push(format!(
            "{set}: pictures are looked for side by side, those of {val} in {expected}; move or \
             link that folder"
        ));
    }
    Ok(parent.to_owned())
}

fn required(settings: &mut Settings, key: &str) -> Result<String, ImportError> {
    settings
        .text(key)?
        .ok_or_else(|| settings.fault(key, "is missing; write it in"))
}

fn folder(path: &str) -> String {
    match path.trim_end_matches('/') {
        "" => path.to_owned(),
        trimmed => trimmed.to_owned(),
    }
}

impl Source {
    /// Appends the source to a run file.
    pub(super) fn write(&self, text: &mut String) {
        let quoted = |value: &str| toml::Value::from(value).to_string();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "\n[[data.source]]\nname = {}", quoted(&self.name));
        for (key, value) in &self.keys {
            let _ = writeln!(text, "{key} = {}", quoted(value));
        }
        let _ = writeln!(text, "weight = {:?}", self.weight);
    }

    /// The paths of the source.
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        let keys = self.keys.iter().filter(|(key, _)| *key != "kind");
        keys.map(|(_, path)| path.as_str())
    }
}
