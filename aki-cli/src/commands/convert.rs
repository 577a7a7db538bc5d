//! `aki convert`.

use std::path::{Path, PathBuf};

use aki_data::{PictureOrder, Tokenizer};
use aki_model::AkiConfig;
use aki_model::attention::Policy;
use aki_model::language::LanguageConfig;
use aki_model::projector::ProjectorConfig;
use aki_model::resampler::ResamplerConfig;
use aki_model::vision::{VisionConfig, VisionType};
use aki_model::weights::{Checkpoint, Conversion, WeightsError};
use aki_train::checkpoint::Checkpoint as Trained;
use aki_train::folder::{FolderConfig, ModelFolder, Stored, find};
use anyhow::{Context, Result, bail, ensure};
use burn::tensor::DType;

use super::new_folder::NewFolder;
use crate::args::ConvertArgs;
use crate::device::DeviceChoice;

/// What OpenAI's CLIP takes from each channel, and divides it by.
const CLIP_MEAN: [f32; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
const CLIP_STD: [f32; 3] = [0.268_629_54, 0.261_302_6, 0.275_777_1];

/// What the folder written will be made of.
struct Plan {
    config: FolderConfig,
    tokenizer: Tokenizer,
    source: Option<Checkpoint>,
    /// In place of a source, a checkpoint of a run.
    trained: Option<Trained>,
    new_parts: bool,
    /// What the numbers become where nothing is asked; none keeps what they are.
    dtype: Option<DType>,
}

pub fn run(paths: &[PathBuf], how: &ConvertArgs) -> Result<()> {
    let (from, out) = match paths {
        [from, out] => (Some(from.as_path()), out),
        [out] => (None, out),
        _ => bail!("one folder or two are expected"),
    };
    NewFolder::check(out)?;
    ensure!(
        (how.latents.is_none() && !how.projector) || (from.is_none() && how.random.is_none()),
        "--latents and --projector are for a start from --vision and --language"
    );
    let plan = match (from, &how.random) {
        (Some(_), Some(_)) => bail!(
            "--random draws all weights: leave {} out",
            paths[0].display()
        ),
        (None, Some(preset)) => random(preset, how)?,
        (Some(from), None) => existing(from, how)?,
        (None, None) => start(how)?,
    };
    let new = NewFolder::begin(out)?;
    ModelFolder::begin(new.path(), &plan.config, &plan.tokenizer)?;
    let unpacked = new.path().join("unpacked");
    let source = match &plan.trained {
        Some(trained) => Some(unpack(trained, &plan.config, &unpacked)?),
        None => plan.source,
    };
    let conversion = Conversion {
        config: &plan.config.model,
        source: source.as_ref(),
        new_parts: plan.new_parts,
        dtype: how.dtype.map(Into::into).or(plan.dtype),
        shard_size: how.shard_size,
        seed: how.seed,
    };
    let written = conversion.write(new.path()).map_err(|error| match &error {
        WeightsError::Mismatch { faults, .. } if faults.lack_only("vision_encoder.") => {
            anyhow::Error::from(error).context(
                "the vision tower is not in this checkpoint; give its folder with --vision",
            )
        }
        _ => error.into(),
    })?;
    drop(source);
    if plan.trained.is_some() {
        std::fs::remove_dir_all(&unpacked)
            .with_context(|| format!("cannot remove {}", unpacked.display()))?;
    }
    new.finish()?;
    if let [first, ..] = written.drawn.as_slice() {
        let count = written.drawn.len();
        say!("{count} tensors were drawn anew, {first} among them");
    }
    if written.infinite > 0 {
        say!(
            "warning: {} numbers are too large for f16 and became infinite",
            written.infinite
        );
    }
    Ok(())
}

fn random(preset: &str, how: &ConvertArgs) -> Result<Plan> {
    let model = super::preset(preset)?;
    let tokenizer = match &how.tokenizer {
        Some(folder) => Tokenizer::open(folder)?,
        // As many words as AKI-4B's tokenizer has, where the table has so many rows.
        None => Tokenizer::of_bytes(model.language.vocab_size.min(32_012))?,
    };
    model
        .validate(tokenizer.base_vocab(), tokenizer.vocab())
        .map_err(anyhow::Error::msg)?;
    Ok(Plan {
        config: config(model, &tokenizer),
        tokenizer,
        source: None,
        trained: None,
        new_parts: true,
        dtype: None,
    })
}

/// How a part's folder is opened.
type Open = fn(&Path) -> Result<Checkpoint>;

/// A model folder, or a training checkpoint beside its `config.json`.
fn existing(from: &Path, how: &ConvertArgs) -> Result<Plan> {
    let (folder, stored) = if from.is_file() {
        let folder = find(from.parent().unwrap_or(Path::new(".")))?;
        (folder, Stored::Folder(from.to_owned()))
    } else {
        (find(from)?, Stored::find(from)?)
    };
    let mut config = FolderConfig::read(&folder)?;
    let tokenizer = Tokenizer::open(how.tokenizer.as_deref().unwrap_or(&folder))?;
    ensure!(
        tokenizer.base_vocab() == config.base_vocab,
        "the model has {} words and the tokenizer {}",
        config.base_vocab,
        tokenizer.base_vocab()
    );
    let path = match stored {
        Stored::Folder(path) => path,
        Stored::Checkpoint(trained) => {
            ensure!(
                how.vision.is_none() && how.language.is_none(),
                "{} has all parts already; leave --vision and --language out",
                from.display()
            );
            return Ok(Plan {
                config,
                tokenizer,
                source: None,
                trained: Some(trained),
                new_parts: false,
                dtype: None,
            });
        }
    };
    let mut source = config.open_weights(&path)?;
    let mut dtype = None;
    if let Some(packed) = config.quantization.take() {
        // As fine as what was not packed.
        let mut dtypes = source.tensors().values().filter_map(|tensor| tensor.dtype);
        dtype = dtypes.find(DType::is_float);
        source = source.unpacked(&config.model, &packed)?;
    }
    let parts: [(_, _, _, Open); 2] = [
        ("vision_encoder.", "--vision", &how.vision, tower),
        ("lang_model.", "--language", &how.language, language_model),
    ];
    for (prefix, flag, folder, open) in parts {
        if let Some(folder) = folder {
            let there = source.tensors().keys().any(|name| name.starts_with(prefix));
            let from = from.display();
            ensure!(!there, "{from} has this part already; leave {flag} out");
            source = source.or(open(folder)?);
        }
    }
    Ok(Plan {
        config,
        tokenizer,
        source: Some(source),
        trained: None,
        new_parts: false,
        dtype,
    })
}

/// A training checkpoint's weights, in a file of their own: Burn's are not read tensor by tensor.
fn unpack(trained: &Trained, config: &FolderConfig, folder: &Path) -> Result<Checkpoint> {
    let (device, _) = DeviceChoice::Cpu.open()?;
    let undrawn = config.model.undrawn(config.base_vocab, &device);
    let aki = trained.load_model(undrawn)?;
    std::fs::create_dir(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    ModelFolder::finish(folder, &aki)?;
    Ok(Checkpoint::open(folder)?)
}

/// What a pre-training starts from.
fn start(how: &ConvertArgs) -> Result<Plan> {
    let (Some(vision), Some(language)) = (&how.vision, &how.language) else {
        bail!(
            "what is to be converted? Give FROM and OUT, or --random, or --vision and --language"
        );
    };
    let tokenizer = Tokenizer::open_language_model(how.tokenizer.as_deref().unwrap_or(language))?;
    let read = |folder: &Path| -> Result<serde_json::Value> {
        let file = folder.join("config.json");
        let bytes =
            std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        serde_json::from_slice(&bytes).with_context(|| file.display().to_string())
    };
    let in_file = |folder: &Path, fault: String| {
        anyhow::anyhow!("{}: {fault}", folder.join("config.json").display())
    };
    let mut shape = LanguageConfig::from_hugging_face(&read(language)?)
        .map_err(|fault| in_file(language, fault))?;
    shape.added_tokens = tokenizer.vocab() - tokenizer.base_vocab();
    shape.vocab_size = shape.vocab_size.max(tokenizer.base_vocab());
    let model = AkiConfig {
        vision: VisionConfig::from_hugging_face(&read(vision)?)
            .map_err(|fault| in_file(vision, fault))?,
        resampler: (!how.projector).then_some(ResamplerConfig {
            num_latents: how
                .latents
                .unwrap_or(ResamplerConfig::default().num_latents),
            ..ResamplerConfig::default()
        }),
        projector: how.projector.then_some(ProjectorConfig {
            hidden_size: shape.hidden_size,
        }),
        language: shape,
    };
    model.validate_shape().map_err(anyhow::Error::msg)?;
    let mut config = config(model, &tokenizer);
    if config.model.vision.model_type == VisionType::Clip {
        (config.norm_mean, config.norm_std) = (CLIP_MEAN, CLIP_STD);
    }
    Ok(Plan {
        config,
        tokenizer,
        source: Some(tower(vision)?.or(language_model(language)?)),
        trained: None,
        new_parts: true,
        dtype: None,
    })
}

fn config(model: AkiConfig, tokenizer: &Tokenizer) -> FolderConfig {
    FolderConfig {
        model,
        base_vocab: tokenizer.base_vocab(),
        pad: tokenizer.special().pad,
        system: None,
        attention: Policy::Mma,
        order: PictureOrder::ImageText,
        norm_mean: [0.5; 3],
        norm_std: [0.5; 3],
        exif_orientation: false,
        quantization: None,
    }
}

fn tower(folder: &Path) -> Result<Checkpoint> {
    let whole = Checkpoint::open(folder)?;
    // A tower's own folder, or that of a whole AKI.
    let own = whole.part("vision_model.", "vision_encoder.");
    let tower = own.or(whole.part("vision_encoder.", "vision_encoder."));
    let left = whole.tensors().len() - tower.tensors().len();
    if left > 0 {
        say!(
            "{}: {left} tensors beside the vision tower were left out",
            folder.display()
        );
    }
    Ok(tower)
}

fn language_model(folder: &Path) -> Result<Checkpoint> {
    Ok(Checkpoint::open(folder)?.part("", "lang_model."))
}
