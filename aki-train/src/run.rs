//! A run from beginning to end, or from where it was left.

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, PoisonError};

use aki_data::{Batcher, Order, Picture, Sample, Template, Tokenizer, read_shards};
use aki_model::Aki;
use aki_model::attention::Policy;
use aki_model::generate::{Sampler, Sampling, generate};
use burn::module::Module;
use burn::optim::AdamWConfig;
use burn::tensor::Device;
use burn::train::metric::{LearningRateMetric, LossMetric};
use burn::train::renderer::MetricsRenderer;
use burn::train::{Interrupter, Learner, SupervisedTraining, TrainingStrategy};
use indicatif::{ProgressBar, ProgressStyle};

use crate::TrainError;
use crate::checkpoint::{self, Checkpoint, FileWriter, KeepTwo};
use crate::config::{RunConfig, StageConfig, StageTarget};
use crate::data::{SampleLoader, SampleOrder};
use crate::evaluation::{Accuracy, evaluate, majority};
use crate::folder::{FolderConfig, ModelFolder, write_file};
use crate::learner::{ExactMatch, StepStrategy, Trainee, schedule};
use crate::log::{LogFault, ProgressRenderer, RunLogger, read, truncate_after};
use crate::report::{Example, Report, StageResult};

/// How a run is carried out.
pub struct RunOptions {
    /// Where to compute.
    pub device: Device,
    /// The device as the user named it.
    pub device_name: String,
    /// Stops the run when asked.
    pub interrupter: Interrupter,
    /// Makes the renderer of a stage; without one, progress bars.
    pub renderer: Option<fn(Interrupter) -> Box<dyn MetricsRenderer>>,
    /// Told what the user should know: samples skipped, where a run is resumed.
    pub notice: fn(&str),
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
}

/// Means and deviations that SigLIP was trained with.
const NORM: f32 = 0.5;

/// Carries out a run, resuming what its folder already holds.
///
/// # Errors
///
/// [`TrainError`] if the run cannot begin or go on. What was done stays in the folder.
pub fn train(config: &RunConfig, options: &RunOptions) -> Result<Outcome, TrainError> {
    let run = Run::prepare(config, options)?;
    if let Some(report) = Report::read(&config.run_dir)? {
        return Ok(Outcome::Complete { report: Box::new(report), fresh: false });
    }
    let mut aki = run.fresh_model();
    let begun = run.resume_point()?;
    let first = begun.as_ref().map_or(0, |(stage, _)| *stage);
    for (index, stage) in config.stage.iter().enumerate().skip(first) {
        if stage.steps == 0 {
            continue;
        }
        let checkpoint = begun.as_ref().filter(|(at, _)| *at == index).map(|(_, found)| found);
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
            None => return Ok(Outcome::Interrupted { stage: stage.name.clone() }),
        }
    }
    run.finish(&aki)
}

/// What stays the same through a run.
struct Run<'a> {
    config: &'a RunConfig,
    options: &'a RunOptions,
    tokenizer: Arc<Tokenizer>,
    train: Arc<Vec<Sample>>,
    valid: Arc<Vec<Sample>>,
    test: Arc<Vec<Sample>>,
    /// Held while the run folder is in use.
    _lock: File,
}

impl<'a> Run<'a> {
    fn prepare(config: &'a RunConfig, options: &'a RunOptions) -> Result<Self, TrainError> {
        let tokenizer = Tokenizer::from_file(&config.text.tokenizer)?;
        config
            .model
            .validate(tokenizer.base_vocab(), tokenizer.vocab())
            .map_err(|reason| TrainError::Setting { key: "model".to_owned(), reason })?;
        let read = |paths: &[_]| -> Result<Vec<Sample>, TrainError> {
            let contents = read_shards(paths)?;
            for skipped in contents.skipped.iter().take(5) {
                (options.notice)(&format!(
                    "skipped sample {} of {}: {}",
                    skipped.key,
                    skipped.shard.display(),
                    skipped.reason
                ));
            }
            if !contents.skipped.is_empty() {
                let (skipped, read) = (contents.skipped.len(), contents.samples.len());
                (options.notice)(&format!("skipped {skipped} broken samples; {read} are whole"));
            }
            Ok(contents.samples)
        };
        let (train, valid) = set_aside(read(&config.data.train)?, config.data.valid_samples)?;
        let mut test = read(&config.data.test)?;
        if config.evaluation.samples > 0 {
            test.truncate(config.evaluation.samples);
        }
        let lock = claim(&config.run_dir)?;
        keep_config(config)?;
        let (train, valid, test) = (Arc::new(train), Arc::new(valid), Arc::new(test));
        let tokenizer = Arc::new(tokenizer);
        let run = Self { config, options, tokenizer, train, valid, test, _lock: lock };
        let model = run.config.run_dir.join("model");
        ModelFolder::begin(&model, &run.folder_config(), &config.text.tokenizer)?;
        Ok(run)
    }

    fn folder_config(&self) -> FolderConfig {
        FolderConfig {
            model: self.config.model.clone(),
            system: self.config.text.system.clone(),
            attention: self.final_policy(),
            norm_mean: NORM,
            norm_std: NORM,
        }
    }

    /// The rule of the last stage that is not left out; it is the model's in use.
    fn final_policy(&self) -> Policy {
        let trained = self.config.stage.iter().rev().find(|stage| stage.steps > 0);
        trained.map_or(Policy::Mma, |stage| stage.attention)
    }

    fn fresh_model(&self) -> Aki {
        self.options.device.seed(self.config.seed);
        self.config.model.init(self.tokenizer.base_vocab(), &self.options.device)
    }

    /// The last stage that has a checkpoint, and its newest one.
    fn resume_point(&self) -> Result<Option<(usize, Checkpoint)>, TrainError> {
        for (index, stage) in self.config.stage.iter().enumerate().rev() {
            if let Some(newest) = checkpoint::list(&self.config.run_dir, &stage.name)?.pop() {
                return Ok(Some((index, newest)));
            }
        }
        Ok(None)
    }

    fn batcher(&self, stage: &StageConfig, training: bool) -> Batcher {
        let target = match (stage.target, training) {
            (StageTarget::Questions, false) => aki_data::Target::Questions { per_picture: None },
            _ => stage.data_target(),
        };
        Batcher {
            tokenizer: self.tokenizer.clone(),
            template: Template { system: self.config.text.system.clone() },
            image_size: self.config.model.vision.image_size,
            mean: NORM,
            std: NORM,
            media_len: self.config.model.resampler.num_latents,
            target,
            augmentation: training.then_some(stage.augmentation),
            seed: self.config.seed,
        }
    }

    /// Samples that have what a stage learns.
    fn fitting(samples: &Arc<Vec<Sample>>, batcher: &Batcher) -> Result<Arc<Vec<Sample>>, TrainError> {
        let fitting: Vec<Sample> =
            samples.iter().filter(|sample| batcher.target.accepts(sample)).cloned().collect();
        if fitting.is_empty() {
            let reason = format!("no sample has what the target {:?} needs", batcher.target);
            return Err(TrainError::Setting { key: "data.train".to_owned(), reason });
        }
        Ok(Arc::new(fitting))
    }

    /// Trains a stage to its end, or until the user stops it.
    fn stage(
        &self,
        stage: &StageConfig,
        aki: Aki,
        checkpoint: Option<&Checkpoint>,
    ) -> Result<Option<Aki>, TrainError> {
        let RunConfig { run_dir, seed, stage: stages, evaluation, .. } = self.config;
        let RunOptions { interrupter, renderer, .. } = self.options;
        let optimizer = AdamWConfig::new()
            .with_epsilon(1e-8)
            .with_weight_decay(stage.optimizer.weight_decay as f32)
            .init();
        let trainee = Trainee::new(aki, stage.optimizer.clip_norm).train();
        let schedule = schedule(&stage.optimizer, stage.steps)?;
        let mut learner = Learner::new(trainee, optimizer, schedule);
        if let Some(checkpoint) = checkpoint {
            checkpoint.load_learner(&mut learner)?;
        }
        let start = checkpoint.map_or(0, |checkpoint| checkpoint.step);
        let names: Vec<String> = stages.iter().map(|stage| stage.name.clone()).collect();
        truncate_after(&run_dir.join("metrics.jsonl"), &names, &stage.name, start)?;
        if start >= stage.steps {
            return Ok(Some(learner.model().valid().into_aki()));
        }

        let batcher = self.batcher(stage, true);
        let samples = Self::fitting(&self.train, &batcher)?;
        let order = SampleOrder::Shuffled(Order::new(*seed, samples.len()));
        let items = stage.steps * stage.batch;
        let train = SampleLoader::new(samples, order, batcher, stage.attention, stage.batch, items);
        let batcher = self.batcher(stage, false);
        let samples = Self::fitting(&self.valid, &batcher)?;
        let items = samples.len();
        let valid = SampleLoader::new(
            samples,
            SampleOrder::File,
            batcher,
            stage.attention,
            evaluation.batch,
            items,
        );

        let strategy = StepStrategy {
            start,
            steps: stage.steps,
            batch: stage.batch,
            evaluate_every: stage.evaluate_every,
            checkpoint_every: stage.checkpoint_every,
        };
        let fault = LogFault::default();
        let logger = RunLogger::new(
            run_dir,
            &stage.name,
            start,
            stage.batch,
            interrupter.clone(),
            fault.clone(),
        )?;
        let renderer = match renderer {
            Some(make) => make(interrupter.clone()),
            None => Box::new(ProgressRenderer::new(
                &stage.name,
                stage.steps * stage.batch,
                start * stage.batch,
            )),
        };
        let [model, optimizer, schedule] = FileWriter::all(run_dir, &stage.name);
        let kept = checkpoint::list(run_dir, &stage.name)?;
        let kept = KeepTwo(kept.into_iter().map(|checkpoint| checkpoint.step).collect());
        let result = SupervisedTraining::new(run_dir, Arc::new(train), Arc::new(valid))
            .num_epochs(strategy.epochs())
            .with_training_strategy(TrainingStrategy::Custom(Arc::new(strategy)))
            .with_metric_logger(logger)
            .with_application_logger(None)
            .with_custom_checkpointers(model, optimizer, schedule)
            .with_checkpointing_strategy(kept)
            .with_interrupter(interrupter.clone())
            .renderer(renderer)
            .label(&stage.name)
            .metric_train_numeric(LossMetric::new())
            .metric_valid_numeric(LossMetric::new())
            .metric_train_numeric(LearningRateMetric::new())
            .metric_valid_numeric(ExactMatch::new())
            .launch(learner);

        if let Some(fault) = fault.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(fault);
        }
        if let Some(error) = result.error {
            return Err(TrainError::Learner(error.to_string()));
        }
        Ok(result.interrupted.is_none().then(|| result.model.into_aki()))
    }

    /// Writes the model, measures it and writes the report.
    fn finish(&self, aki: &Aki) -> Result<Outcome, TrainError> {
        let RunConfig { run_dir, .. } = self.config;
        let folder = run_dir.join("model");
        ModelFolder::finish(&folder, aki)?;
        let interrupted = || Ok(Outcome::Interrupted { stage: "evaluation".to_owned() });
        let Some(trained) = self.measure("measuring", aki)? else { return interrupted() };
        let Some(untrained) = self.measure("untrained", &self.fresh_model())? else {
            return interrupted();
        };
        let (records, _) = read(&run_dir.join("metrics.jsonl"))?;
        let stages = self.config.stage.iter().filter(|stage| stage.steps > 0).map(|stage| {
            let attention = format!("{:?}", stage.attention).to_lowercase();
            StageResult::from_records(&stage.name, stage.steps, attention, &records)
        });
        let report = Report {
            device: self.options.device_name.clone(),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            parameters: aki.num_params(),
            seconds: records.last().map_or(0.0, |record| record.seconds),
            stages: stages.collect(),
            trained,
            untrained,
            majority: majority(&self.train, &self.test),
            examples: self.examples(&folder)?,
        };
        report.write(run_dir, &records)?;
        Ok(Outcome::Complete { report: Box::new(report), fresh: true })
    }

    fn measure(&self, what: &str, aki: &Aki) -> Result<Option<Accuracy>, TrainError> {
        let Some(stage) =
            self.config.stage.iter().rev().find(|stage| stage.target == StageTarget::Questions)
        else {
            return Ok(Some(Accuracy::default()));
        };
        let batcher = self.batcher(stage, false);
        let samples: Vec<Sample> =
            self.test.iter().filter(|sample| batcher.target.accepts(sample)).cloned().collect();
        let items = samples.len();
        let loader = SampleLoader::new(
            Arc::new(samples),
            SampleOrder::File,
            batcher,
            self.final_policy(),
            self.config.evaluation.batch,
            items,
        );
        let bar = ProgressBar::new(items as u64).with_prefix(what.to_owned());
        let template = "{prefix:>10} {wide_bar:.cyan/dim} {pos}/{len} pictures  {eta:>4} left";
        bar.set_style(ProgressStyle::with_template(template).expect("the template is well-formed"));
        let progress = |done: usize| bar.set_position(done as u64);
        let accuracy = evaluate(aki, &loader, &self.options.interrupter, progress);
        bar.finish_and_clear();
        accuracy
    }

    /// Asks the model on disk about some test pictures, which also shows that it can be read back.
    fn examples(&self, folder: &Path) -> Result<Vec<Example>, TrainError> {
        let model = ModelFolder::load(folder, &self.options.device)?;
        let pictures = self.config.run_dir.join("examples");
        std::fs::create_dir_all(&pictures).map_err(TrainError::io("create", &pictures))?;
        let asked: Vec<&Sample> =
            self.test.iter().filter(|sample| !sample.turns.is_empty()).collect();
        let wanted = self.config.evaluation.examples.min(asked.len());
        let mut examples = Vec::new();
        for number in 0..wanted {
            // Spread over the test set; of each picture another question.
            let sample = asked[number * asked.len() / wanted];
            let turn = &sample.turns[number % sample.turns.len()];
            let picture = Picture::decode(&sample.picture, &sample.key)?;
            let file = pictures.join(format!("{}.png", sample.key));
            write_file(&file, &sample.picture)?;
            let prompt = model.prompt(&turn.question, Some(&picture))?;
            let stop = [self.tokenizer.special().eos];
            let mut sampler = Sampler::new(Sampling::default());
            let ids = generate(&model.aki, prompt, &stop, 16, &mut sampler, |_| true);
            examples.push(Example {
                picture: Path::new("examples").join(file.file_name().unwrap_or_default()),
                question: turn.question.clone(),
                answer: self.tokenizer.decode(&ids)?.trim().to_owned(),
                truth: turn.answer.clone(),
            });
        }
        Ok(examples)
    }
}

/// Sets `count` samples aside, evenly spread, the same whatever the seed.
fn set_aside(
    samples: Vec<Sample>,
    count: usize,
) -> Result<(Vec<Sample>, Vec<Sample>), TrainError> {
    if count == 0 || count >= samples.len() {
        let reason = format!("must be at least 1 and less than the {} samples", samples.len());
        return Err(TrainError::Setting { key: "data.valid_samples".to_owned(), reason });
    }
    let (mut train, mut valid) = (Vec::new(), Vec::new());
    let all = samples.len();
    for (index, sample) in samples.into_iter().enumerate() {
        // True for exactly `count` of all indices.
        let aside = (index + 1) * count / all > index * count / all;
        if aside { valid.push(sample) } else { train.push(sample) }
    }
    Ok((train, valid))
}

/// Creates the run folder and keeps others out of it.
fn claim(run_dir: &Path) -> Result<File, TrainError> {
    std::fs::create_dir_all(run_dir).map_err(TrainError::io("create", run_dir))?;
    let path = run_dir.join(".lock");
    let lock = File::create(&path).map_err(TrainError::io("create", &path))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(std::fs::TryLockError::WouldBlock) => {
            Err(TrainError::InUse { path: run_dir.to_owned() })
        }
        Err(std::fs::TryLockError::Error(source)) => Err(TrainError::io("lock", &path)(source)),
    }
}

/// Writes `config.toml` into a new run folder, or checks that it is that of the run already there.
fn keep_config(config: &RunConfig) -> Result<(), TrainError> {
    let path = config.run_dir.join("config.toml");
    let text = config.to_toml();
    let Ok(old) = std::fs::read_to_string(&path) else {
        return write_file(&path, text.as_bytes());
    };
    if old == text {
        return Ok(());
    }
    let parse = |text: &str| text.parse::<toml::Table>().unwrap_or_default();
    let mut keys = Vec::new();
    differences("", &parse(&old).into(), &parse(&text).into(), &mut keys);
    keys.retain(|key| key != "run_dir");
    if keys.is_empty() {
        return Ok(());
    }
    Err(TrainError::OtherRun { path: config.run_dir.clone(), keys })
}

/// The dotted keys whose values differ.
fn differences(key: &str, old: &toml::Value, new: &toml::Value, found: &mut Vec<String>) {
    let join = |name: &str| if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") };
    match (old, new) {
        (toml::Value::Table(old), toml::Value::Table(new)) => {
            let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
            names.sort();
            names.dedup();
            for name in names {
                let absent = toml::Value::Boolean(false);
                let [old, new] = [old, new].map(|table| table.get(name).unwrap_or(&absent));
                differences(&join(name), old, new, found);
            }
        }
        (toml::Value::Array(old), toml::Value::Array(new)) if old.len() == new.len() => {
            for (index, (old, new)) in old.iter().zip(new).enumerate() {
                differences(&join(&index.to_string()), old, new, found);
            }
        }
        _ if old != new => found.push(key.to_owned()),
        _ => {}
    }
}
