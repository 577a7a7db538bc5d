//! `aki bench train`: optimizer steps of a drawn network, and where their time goes.

use std::io::Write;
use std::path::Path;

use aki_data::{Batch, Document, IGNORE, Media};
use aki_model::attention::Policy;
use aki_model::flops::{Trained, Work};
use aki_model::weights::{Checkpoint, Conversion, Parameter, load};
use aki_model::{Aki, AkiConfig};
use aki_train::config::Moments;
use aki_train::data::PolicyBatch;
use aki_train::learner::{StepConfig, Trainee};
use aki_train::optimizer::{LossScale, adamw};
use anyhow::{Context, Result, ensure};
use burn::module::Module;
use burn::tensor::{DType, Device};
use burn::train::TrainStep;
use serde_json::json;

use super::{clock, median};
use crate::args::{BenchTrain, Dtype, name_of};
use crate::memory;

/// The system line in front of the picture.
const BEFORE_IMAGE: usize = 40;

/// A step's times in seconds, and the mean loss that it began with.
struct Step {
    forward: f64,
    backward: f64,
    optimizer: f64,
    loss: f64,
}

impl Step {
    fn seconds(&self) -> f64 {
        self.forward + self.backward + self.optimizer
    }
}

pub fn run(args: &BenchTrain, as_json: bool) -> Result<()> {
    memory::keep();
    let (device, device_name) = args.device.open_beside(0)?;
    let mut config = super::super::preset(&args.preset)?;
    if let Some(layers) = args.layers {
        config.language.num_hidden_layers = layers;
        config.vision.num_hidden_layers = layers;
    }
    ensure!(
        args.text > BEFORE_IMAGE + 1,
        "--text {} leaves no room for question and answer behind the system line of {BEFORE_IMAGE}",
        args.text
    );
    let drawn = tempfile::tempdir()?;
    let folder = args.weights.as_deref().unwrap_or(drawn.path());
    let in_use = std::fs::read_dir(folder).is_ok_and(|mut held| held.next().is_some());
    ensure!(
        !in_use,
        "{} is not empty; name a new folder for the weights",
        folder.display()
    );
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let aki = model(&config, folder, args.dtype.into(), &device)?;
    let input = input(&config, args);

    let mut optimizer = adamw(0.1, Moments::F32);
    let step = StepConfig {
        clip_norm: 1.0,
        threads: args.threads,
        ..StepConfig::default()
    };
    let mut trainee = Trainee::new(aki.train().freeze_vision(), step);
    let mut steps = Vec::new();
    // The first step warms up and is not counted.
    for _ in 0..=args.steps {
        let (forward, loss) = clock(&device, || trainee.forward_pass(input.clone()))?;
        let (both, output) = clock(&device, || TrainStep::step(&trainee, input.clone()))?;
        let (seconds, stepped) = clock(&device, || {
            trainee.optimize(&mut optimizer, 1e-4.into(), output.grads)
        })?;
        trainee = stepped;
        steps.push(Step {
            forward,
            backward: both - forward,
            optimizer: seconds,
            loss: loss / input.labels() as f64,
        });
    }
    report(args, as_json, &device_name, &config, &input, &steps)
}

/// Draws weights to disk and reads them as a checkpoint's are read, since how they lie in memory decides
/// how fast they are used.
fn model(config: &AkiConfig, folder: &Path, dtype: DType, device: &Device) -> Result<Aki> {
    let conversion = Conversion {
        config,
        source: None,
        new_parts: true,
        dtype: Some(DType::F32),
        shard_size: None,
        seed: 1,
    };
    conversion.write(folder)?;
    let aki = config.undrawn(config.language.vocab_size, device);
    Ok(load(aki, &Checkpoint::open(folder)?, Some(dtype))?)
}

/// Rows of a system line, a picture, and text of which the second half is the answer.
fn input(config: &AkiConfig, args: &BenchTrain) -> PolicyBatch {
    let side = config.vision.image_size;
    let media = BEFORE_IMAGE..BEFORE_IMAGE + config.media_len();
    let len = config.media_len() + args.text;
    let question_end = usize::midpoint(media.end, len);
    let vocabulary = config.language.vocab_size;
    let ids = 0..args.batch * len;
    let input_ids: Vec<i64> = ids.map(|at| (at * 7919 % vocabulary) as i64).collect();
    let labels = input_ids.iter().enumerate();
    let labels = labels.map(|(at, &id)| if at % len < question_end { IGNORE } else { id });
    let document = |row| Document {
        row,
        tokens: 0..len,
        media: vec![Media {
            range: media.clone(),
            picture: row,
        }],
        question_end: Some(question_end),
        kind: String::new(),
        key: String::new(),
        question: String::new(),
        answer: String::new(),
    };
    let pixels = 0..args.batch * 3 * side * side;
    PolicyBatch {
        batch: Batch {
            pictures: pixels
                .map(|at| (at * 37 % 101) as f32 / 50.0 - 1.0)
                .collect(),
            picture_count: args.batch,
            image_size: side,
            labels: labels.collect(),
            input_ids,
            documents: (0..args.batch).map(document).collect(),
            row_count: args.batch,
            seq_len: len,
        },
        policy: Policy::Mma,
        behind: None,
        labels_of_all: None,
        loss_scale: match args.dtype {
            Dtype::F16 => LossScale::default().scale(),
            Dtype::F32 | Dtype::Bf16 => 1.0,
        },
    }
}

/// Operations of a step, in which the vision tower runs forward alone.
fn operations(config: &AkiConfig, input: &PolicyBatch) -> f64 {
    let Batch {
        row_count: rows,
        seq_len: len,
        ..
    } = input.batch;
    let document = &input.batch.documents[0];
    let media = &document.media[0].range;
    let question = document.question_end.unwrap_or(media.end) - media.end;
    let work = Work {
        pictures: rows,
        tokens: rows * len,
        pairs: rows * (len * (len + 1) / 2 + media.len() * question),
        labels: input.labels(),
    };
    config.flops(&work, 0).training(&Trained {
        connector: true,
        embedding: true,
        matrices: true,
        head: true,
        ..Trained::default()
    })
}

fn report(
    args: &BenchTrain,
    as_json: bool,
    device: &str,
    config: &AkiConfig,
    input: &PolicyBatch,
    steps: &[Step],
) -> Result<()> {
    let counted = &steps[1..];
    let weights: usize = config.parameters().iter().map(Parameter::len).sum();
    let tokens = args.batch * input.batch.seq_len;
    let operations = operations(config, input);
    let mut out = std::io::stdout();
    if as_json {
        let times = |of: fn(&Step) -> f64| -> Vec<f64> { counted.iter().map(of).collect() };
        let losses: Vec<f64> = steps.iter().map(|step| step.loss).collect();
        let object = json!({
            "device": device,
            "dtype": name_of(args.dtype),
            "shape": config,
            "weights": weights,
            "tokens": tokens,
            "operations": operations,
            "step_seconds": times(Step::seconds),
            "forward_seconds": times(|step| step.forward),
            "backward_seconds": times(|step| step.backward),
            "optimizer_seconds": times(|step| step.optimizer),
            "losses": losses,
        });
        writeln!(out, "{object}")?;
        return Ok(());
    }
    writeln!(
        out,
        "{device}, {}, {}, {:.0} M weights, batch {} of {} tokens, {} threads, medians of {} steps",
        args.preset,
        name_of(args.dtype),
        weights as f64 / 1e6,
        args.batch,
        input.batch.seq_len,
        args.threads,
        counted.len()
    )?;
    let step = median(counted.iter().map(Step::seconds));
    writeln!(
        out,
        "step      {step:>8.3} s  {:>8.1} tokens/s, {:.1} GFLOP/s",
        tokens as f64 / step,
        operations / step / 1e9
    )?;
    let part = |name: &str, of: fn(&Step) -> f64| {
        let seconds = median(counted.iter().map(of));
        let share = 100.0 * seconds / step;
        format!("{name:<9} {seconds:>8.3} s  {share:>8.1} %")
    };
    writeln!(out, "{}", part("forward", |step| step.forward))?;
    writeln!(out, "{}", part("backward", |step| step.backward))?;
    writeln!(out, "{}", part("optimizer", |step| step.optimizer))?;
    Ok(())
}
