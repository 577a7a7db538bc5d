//! Adapters in the layout of Hugging Face's PEFT: `adapter_config.json` and
//! `adapter_model.safetensors`, where `base_model.model.<layer>.lora_A.weight` is `[rank, in]` and
//! `lora_B.weight` `[out, rank]`.
//!
//! Where a family's checkpoints hold a fused matrix in parts, so do these files: each part has rows of
//! `B`, and all have the same `A`. PEFT itself would give each part an `A` of its own; such adapters have
//! no place beside one matrix and are refused.

use std::collections::BTreeSet;
use std::path::Path;

use burn::tensor::{Tensor, TensorData};
use serde::Deserialize;
use serde_json::json;

use super::WeightsError;
use super::checkpoint::{Checkpoint, fault, io};
use super::error::Faults;
use super::fit::{Allow, fit};
use super::load::read;
use super::names::{Parameter, Projections, cut_up};
use super::save::{Outgoing, write_whole};
use crate::adapters::Adapter;
use crate::language::LanguageModel;
use crate::linear::Linear;

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";
/// What PEFT puts before the names of the network's layers.
const WRAPPED: &str = "base_model.model.";

/// Writes a language model's adapters into a folder. `prefix` is put before its layers' names:
/// `lang_model.` for that of an [`Aki`](crate::Aki), nothing for a language model that stands alone.
///
/// # Errors
///
/// [`WeightsError`] if there are none, or a file cannot be written.
pub fn save_adapters(
    model: &LanguageModel,
    prefix: &str,
    folder: &Path,
) -> Result<(), WeightsError> {
    let projections = model.projections();
    let (mut outgoing, mut targets, mut about) = (Vec::new(), BTreeSet::new(), None);
    for (path, linear) in model.linears() {
        let Some(adapter) = linear.adapter() else {
            continue;
        };
        about = Some((adapter.rank(), adapter.alpha()));
        let [a, b] = adapter.factors().map(|factor| factor.inner().transpose());
        let [of_a, of_b] = names(prefix, &path, linear.dims(), adapter.rank(), &projections);
        for (name, shape) in of_a {
            outgoing.push(tensor(format!("{WRAPPED}{name}"), shape, a.clone()));
        }
        let mut start = 0;
        for (name, shape) in of_b {
            let layer = name.trim_end_matches(".lora_B.weight");
            targets.extend(layer.rsplit('.').next().map(str::to_owned));
            let rows = start..start + shape[0];
            start = rows.end;
            outgoing.push(tensor(
                format!("{WRAPPED}{name}"),
                shape,
                b.clone().slice([rows]),
            ));
        }
    }
    let Some((rank, alpha)) = about else {
        return Err(fault(folder, "the network has no adapters to write"));
    };
    std::fs::create_dir_all(folder).map_err(io(folder))?;
    let prefix = prefix.replace('.', "\\.");
    let targets: Vec<String> = targets.into_iter().collect();
    // A pattern and no list: vision towers have layers of the same names.
    let targets = format!(
        "{prefix}model\\.layers\\.\\d+\\.(self_attn|mlp)\\.({})",
        targets.join("|")
    );
    let config = json!({
        "peft_type": "LORA",
        "task_type": null,
        "base_model_name_or_path": null,
        "inference_mode": true,
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": 0.0,
        "target_modules": targets,
        "bias": "none",
        "fan_in_fan_out": false,
    });
    let path = folder.join(CONFIG);
    let text = serde_json::to_vec_pretty(&config).unwrap_or_default();
    std::fs::write(&path, text).map_err(io(&path))?;
    write_whole(&outgoing, &folder.join(WEIGHTS))
}

/// Puts the adapters of a folder beside the matrices of a language model, in the place of any that are
/// there, and freezes the rest as [`LanguageModel::with_adapters`] does. `prefix` is as for
/// [`save_adapters`].
///
/// # Errors
///
/// [`WeightsError`] if a file is absent or damaged, names or shapes are not this model's, or the adapters
/// are of a kind that is not known here.
pub fn load_adapters(
    model: LanguageModel,
    prefix: &str,
    folder: &Path,
) -> Result<LanguageModel, WeightsError> {
    let config = PeftConfig::read(&folder.join(CONFIG))?;
    let checkpoint = Checkpoint::open(&folder.join(WEIGHTS))?;
    let foreign = |name: &&String| !name.starts_with(WRAPPED);
    let unexpected: Vec<String> = checkpoint
        .tensors()
        .keys()
        .filter(foreign)
        .cloned()
        .collect();
    if !unexpected.is_empty() {
        return Err(WeightsError::Mismatch {
            path: checkpoint.path().to_owned(),
            faults: Faults {
                unexpected,
                ..Faults::default()
            },
        });
    }
    let checkpoint = checkpoint.part(WRAPPED, "");
    let projections = model.projections();
    let wanted = |path: &str, linear: &Linear| {
        let names = names(prefix, path, linear.dims(), config.r, &projections);
        let there = |(name, _): &(String, _)| checkpoint.tensors().contains_key(name);
        let any = names.iter().flatten().any(there);
        any.then(|| {
            names.map(|tensors| Parameter {
                path: path.to_owned(),
                transposed: true,
                tensors,
                adapter: true,
                packed: false,
            })
        })
    };
    let all = model.linears();
    let all = all.iter().filter_map(|(path, linear)| wanted(path, linear));
    fit(
        &all.flatten().collect::<Vec<_>>(),
        &checkpoint,
        Allow::Latents,
    )?;
    model.frozen().map_linears(|path, linear| {
        let Some([a, b]) = wanted(path, &linear) else {
            return Ok(linear.with_adapter(None));
        };
        let (device, dtype) = linear.place();
        let (rank, [from, _]) = (config.r, linear.dims());
        let parts = read(&a, &checkpoint, Some(dtype))?;
        let (bytes, whole) = (parts.as_bytes(), rank * from * dtype.size());
        if bytes.chunks(whole).any(|part| part != &bytes[..whole]) {
            let reason = format!(
                "the parts of {path} have an A each, and they stand in one matrix here, which has \
                 one; train with target_modules that share it"
            );
            return Err(fault(checkpoint.path(), reason));
        }
        let factor = |data: TensorData| Tensor::<2>::from_data(data, (&device, dtype)).transpose();
        let a = TensorData::from_bytes_vec(bytes[..whole].to_vec(), [rank, from], dtype);
        let b = read(&b, &checkpoint, Some(dtype))?;
        let adapter = Adapter::of(factor(a), factor(b), config.lora_alpha);
        Ok(linear.with_adapter(Some(adapter)))
    })
}

/// Names and shapes of the files' tensors for both factors of a layer.
fn names(
    prefix: &str,
    path: &str,
    [from, to]: [usize; 2],
    rank: usize,
    projections: &Projections,
) -> [Vec<(String, Vec<usize>)>; 2] {
    let name = format!("{prefix}{path}.lora_B.weight");
    let b = cut_up(name, &[to, rank], projections);
    let of_a = |(name, _): &(String, _)| (name.replace(".lora_B.", ".lora_A."), vec![rank, from]);
    [b.iter().map(of_a).collect(), b]
}

fn tensor(name: String, shape: Vec<usize>, tensor: Tensor<2>) -> Outgoing<'static> {
    Outgoing {
        name,
        dtype: tensor.dtype(),
        shape,
        bytes: Box::new(move || Ok(tensor.clone().into_data().as_bytes().to_vec())),
    }
}

/// What of `adapter_config.json` decides how the factors are used.
#[derive(Deserialize)]
struct PeftConfig {
    peft_type: String,
    r: usize,
    lora_alpha: f64,
    #[serde(default)]
    use_rslora: bool,
    #[serde(default)]
    use_dora: bool,
    #[serde(default)]
    rank_pattern: Option<serde_json::Map<String, serde_json::Value>>,
    #[serde(default)]
    alpha_pattern: Option<serde_json::Map<String, serde_json::Value>>,
}

impl PeftConfig {
    fn read(path: &Path) -> Result<Self, WeightsError> {
        let text = std::fs::read(path).map_err(io(path))?;
        let config: Self =
            serde_json::from_slice(&text).map_err(|error| fault(path, error.to_string()))?;
        let of_some = |pattern: &Option<serde_json::Map<_, _>>| {
            pattern.as_ref().is_some_and(|pattern| !pattern.is_empty())
        };
        let unknown = [
            ("peft_type", config.peft_type != "LORA"),
            ("use_rslora", config.use_rslora),
            ("use_dora", config.use_dora),
            ("rank_pattern", of_some(&config.rank_pattern)),
            ("alpha_pattern", of_some(&config.alpha_pattern)),
            ("r", config.r == 0),
            ("lora_alpha", !config.lora_alpha.is_finite()),
        ];
        match unknown.iter().find(|(_, there)| *there) {
            Some((key, _)) => {
                let reason = format!(
                    "{key}: adapters are LoRA here, y = x W + lora_alpha / r (x A) B, with one \
                     rank and scale for all"
                );
                Err(fault(path, reason))
            }
            None => Ok(config),
        }
    }
}
