//! A run from beginning to end, or from where it was left.

mod begin;
mod finish;
mod folder;
mod stage;
mod start;

use std::fs::File;
use std::sync::Arc;

use aki_data::datasets::Skipped;
use aki_data::sources::Source;
use aki_data::{Batcher, Order, Sample, Target, Template, Tokenizer, read_shards};
use aki_model::attention::Policy;
use burn::tensor::{DType, Device};
use burn::train::Interrupter;
use burn::train::renderer::MetricsRenderer;

use crate::TrainError;
use crate::checkpoint;
use crate::config::{RunConfig, StageConfig};
use crate::data::{Loader, Norm, Samples, SkipLog};
use crate::distributed::Ranks;
use crate::folder::{FolderConfig, ModelFolder};
use crate::optimizer::Groups;
use crate::report::Report;

pub use begin::Begin;
use folder::keep_config;
pub(crate) use folder::{claim, other_keys};
pub(crate) use start::undrawn;

/// How a run is carried out.
pub struct RunOptions {
    /// Where to compute.
    pub device: Device,
    /// The device as the user named it.
    pub device_name: String,
    /// What the device computes at best, in 10^12 floating-point operations a second, if the share of it
    /// that training reaches is to be told.
    pub tflops: Option<f64>,
    /// Stops the run when asked.
    pub interrupter: Interrupter,
    /// Makes the renderer of a stage; without one, progress bars.
    pub renderer: Option<fn(Interrupter) -> Box<dyn MetricsRenderer>>,
    /// Where the run begins.
    pub begin: Begin,
    /// Told what the user should know: samples skipped, where a run is resumed.
    pub notice: fn(&str),
    /// Those who carry it out together, each with these options of its own.
    pub ranks: Ranks,
}

/// How a run ended.
pub enum Outcome {
    /// It is complete; `fresh` if it was completed by this call.
    Complete {
        /// The result.
        report: Box<Report>,
        /// Whether anything was done.
        fresh: bool,
    },
    /// The user stopped it; the same command goes on.
    Interrupted {
        /// The stage, or `evaluation`.
        stage: String,
    },
    /// It is complete, and rank 0 has the result.
    Helped,
}

/// Carries out a run, from where its options say that it begins. Rank 0 decides, writes and tells; the
/// others' folder has to be the same.
///
/// # Errors
///
/// [`TrainError`] if the run cannot begin or go on. What was done stays in the folder.
pub fn train(config: &RunConfig, options: &RunOptions) -> Result<Outcome, TrainError> {
    let ranks = options.ranks;
    let mut report = None;
    // First, since a complete run needs none of its data.
    let complete = ranks.first(|| {
        if options.begin == Begin::Resume {
            report = Report::read(&config.run_dir)?;
        }
        if report.is_some() {
            keep_config(config)?;
        }
        Ok(report.is_some())
    })?;
    if complete {
        return Ok(report.map_or(Outcome::Helped, |report| Outcome::Complete {
            report: Box::new(report),
            fresh: false,
        }));
    }
    let run = Run::prepare(config, options)?;
    let begun = ranks.first(|| {
        let begun = checkpoint::resume(&config.run_dir, &config.stage, options.notice)?;
        if let Some((_, found)) = &begun {
            found.fits(ranks.world_size())?;
        }
        Ok(begun)
    })?;
    let mut aki = match (&begun, &config.training.lora) {
        // The checkpoint has all weights; those the run started with may be gone.
        (Some(_), _) => undrawn(config, run.tokenizer.base_vocab(), &options.device),
        (None, Some(lora)) => run.adapted(run.fresh_model()?, lora),
        (None, None) => run.fresh_model()?,
    };
    let first = begun.as_ref().map_or(0, |(stage, _)| *stage);
    for (index, stage) in config.stage.iter().enumerate().skip(first) {
        if stage.steps == 0 {
            continue;
        }
        let checkpoint = begun
            .as_ref()
            .filter(|(at, _)| *at == index)
            .map(|(_, found)| found);
        if let Some(found) = checkpoint {
            (options.notice)(&format!(
                "resuming {} at step {} of stage {}",
                config.run_dir.display(),
                found.step,
                stage.name
            ));
        }
        match run.stage(stage, aki, checkpoint)? {
            Some(trained) => aki = trained,
            None => {
                return Ok(Outcome::Interrupted {
                    stage: stage.name.clone(),
                });
            }
        }
    }
    let outcome = match ranks.is_first() {
        true => run.finish(aki)?,
        false => Outcome::Helped,
    };
    ranks.barrier();
    Ok(outcome)
}

/// What stays the same through a run.
struct Run<'a> {
    config: &'a RunConfig,
    options: &'a RunOptions,
    tokenizer: Arc<Tokenizer>,
    train: Vec<Sample>,
    valid: Vec<Sample>,
    test: Vec<Sample>,
    /// All of the run, if a stage learns from them.
    sources: Vec<Source>,
    norm: Norm,
    /// Held by rank 0 while the run folder is in use.
    _lock: Option<File>,
}

impl<'a> Run<'a> {
    fn prepare(config: &'a RunConfig, options: &'a RunOptions) -> Result<Self, TrainError> {
        let precision = DType::from(config.training.precision.dtype());
        if !options.device.supports_dtype(precision) {
            let (device, name) = (&options.device_name, precision.name());
            return Err(TrainError::Setting {
                key: "training.precision".to_owned(),
                reason: format!("{device} does not compute in {name}; f32 always does"),
            });
        }
        let tokenizer = config.text.open_tokenizer()?;
        config
            .model
            .validate(tokenizer.base_vocab(), tokenizer.vocab())
            .map_err(TrainError::Network)?;
        let mut skipped = Vec::new();
        let mut read = |key, paths: &[_]| -> Result<Vec<Sample>, TrainError> {
            let contents = read_shards(paths)?;
            let (bad, good) = (contents.skipped.len(), contents.samples.len());
            config.judge_shards(key, &contents)?;
            if bad > 0 {
                (options.notice)(&format!(
                    "skipped {bad} broken samples of data.{key}; {good} are whole"
                ));
            }
            skipped.extend(contents.skipped.into_iter().map(|it| (key, it)));
            Ok(contents.samples)
        };
        let (train, valid) = match config.data.train.as_slice() {
            [] => (Vec::new(), Vec::new()),
            shards => set_aside(read("train", shards)?, config.data.valid_samples)?,
        };
        let first = options.ranks.is_first();
        // Rank 0 measures.
        let mut test = match first {
            true => read("test", &config.data.test)?,
            false => Vec::new(),
        };
        if config.evaluation.samples > 0 {
            test.truncate(config.evaluation.samples);
        }
        let sources = match config.active().any(|stage| stage.data_target().is_none()) {
            true => config
                .data
                .source
                .iter()
                .map(|source| config.open(source))
                .collect::<Result<_, _>>()?,
            false => Vec::new(),
        };
        for source in &sources {
            tell_left_out(source, options.notice);
            config.judge(source)?;
        }
        // For what is wrong with their patterns, before the run has a folder.
        let network = undrawn(config, tokenizer.base_vocab(), &options.device);
        for stage in config.active() {
            Groups::new(stage, &network)?;
        }
        let claim = || {
            options
                .begin
                .claim(config, options.ranks.world_size(), options.notice)
        };
        let lock = first.then(claim).transpose()?;
        if first {
            keep_config(config)?;
            let mut log = SkipLog::new(options.notice, Some(config.run_dir.join("skipped.jsonl")));
            for (key, skipped) in &skipped {
                log.tell(&format!("data.{key}"), skipped);
            }
        }
        let norm = options.ranks.first(|| config.norm())?;
        let tokenizer = Arc::new(tokenizer);
        let run = Self {
            config,
            options,
            tokenizer,
            train,
            valid,
            test,
            sources,
            norm,
            _lock: lock,
        };
        for stage in config.active() {
            if let Some(target) = stage.data_target() {
                run.fitting(stage, target, true)?;
                run.fitting(stage, target, false)?;
            }
        }
        if first {
            let model = run.config.run_dir.join("model");
            ModelFolder::begin(&model, &run.folder_config(), &run.tokenizer)?;
        }
        Ok(run)
    }

    /// What the last stage that is not left out learned is what is used.
    fn folder_config(&self) -> FolderConfig {
        let last = self.config.active().next_back();
        FolderConfig {
            model: self.config.model.clone(),
            base_vocab: self.tokenizer.base_vocab(),
            pad: self.tokenizer.special().pad,
            system: Some(self.config.text.system.clone()),
            attention: last.map_or(Policy::Mma, |stage| stage.attention),
            order: last.map(|stage| stage.order).unwrap_or_default(),
            norm_mean: self.norm.mean,
            norm_std: self.norm.std,
            exif_orientation: self.config.data.exif_orientation,
            quantization: None,
        }
    }

    /// Batches of samples: shuffled and augmented for training, where `order` says how; as they
    /// stand otherwise.
    fn loader(
        &self,
        stage: &StageConfig,
        target: Target,
        samples: Vec<&Sample>,
        order: Option<Order>,
        batch: usize,
    ) -> Loader<Samples> {
        let (items, ranks) = match order {
            Some(_) => (stage.steps * stage.batch, self.options.ranks),
            None => (samples.len(), Ranks::ALONE),
        };
        let batcher = self.batcher(stage, target, order.is_some());
        let samples = samples.into_iter().cloned().collect();
        let samples = Samples::new(samples, order, batcher, stage.attention, batch);
        Loader::new(samples.shared_out(ranks), items)
    }

    fn batcher(&self, stage: &StageConfig, target: Target, training: bool) -> Batcher {
        let target = match (target, training) {
            (Target::Questions { .. }, false) => Target::Questions { per_picture: None },
            _ => target,
        };
        Batcher {
            tokenizer: self.tokenizer.clone(),
            template: Template {
                system: self.config.text.system.clone(),
                order: stage.order,
            },
            image_size: self.config.model.vision.image_size,
            exif_orientation: self.config.data.exif_orientation,
            mean: self.norm.mean,
            std: self.norm.std,
            media_len: self.config.model.media_len(),
            target,
            augmentation: training.then_some(stage.augmentation),
            seed: self.config.seed,
        }
    }
}

/// Says what of a source's annotations cannot be used.
fn tell_left_out(source: &Source, notice: fn(&str)) {
    let left_out = source
        .dataset()
        .map_or(&[][..], |dataset| dataset.skipped());
    for Skipped {
        reason,
        count,
        first,
    } in left_out
    {
        let name = &source.name;
        notice(&format!(
            "{name}: {count} entries are left out: {reason}; the first is {first:?}"
        ));
    }
}

/// Sets `count` samples aside, evenly spread, the same whatever the seed.
fn set_aside(samples: Vec<Sample>, count: usize) -> Result<(Vec<Sample>, Vec<Sample>), TrainError> {
    if count == 0 || count >= samples.len() {
        let reason = format!(
            "must be at least 1 and less than the {} samples",
            samples.len()
        );
        return Err(TrainError::Setting {
            key: "data.valid_samples".to_owned(),
            reason,
        });
    }
    let (mut train, mut valid) = (Vec::new(), Vec::new());
    let all = samples.len();
    for (index, sample) in samples.into_iter().enumerate() {
        // True for exactly `count` of all indices.
        let aside = (index + 1) * count / all > index * count / all;
        if aside {
            valid.push(sample);
        } else {
            train.push(sample);
        }
    }
    Ok((train, valid))
}
