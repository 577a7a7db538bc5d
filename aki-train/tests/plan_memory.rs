//! Planned memory against what training small networks takes: the peak of what is allocated in a step.
//!
//! The plan counts Burn's operations, which is what cards run; so the CPU runs them here too.

use std::path::Path;

use aki_data::{Batch, Document, Media};
use aki_model::attention::Policy;
use aki_train::config::{Precision, RunConfig};
use aki_train::data::PolicyBatch;
use aki_train::learner::Trainee;
use aki_train::optimizer::Groups;
use aki_train::plan::{MEASURED_WITHIN, Machine, plan};
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, FloatDType, Tensor};
use burn::train::TrainStep;
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

/// A network of the built-in run's kind, and a batch for it.
struct Case {
    set: &'static [&'static str],
    frozen: bool,
    rows: usize,
    /// Tokens of text a row.
    text: usize,
}

const fn case(set: &'static [&'static str], frozen: bool, rows: usize, text: usize) -> Case {
    Case {
        set,
        frozen,
        rows,
        text,
    }
}

const DEEP_TOWER: &[&str] = &["model.vision.num_hidden_layers=6"];
const LATENTS: &[&str] = &[
    "model.resampler.depth=6",
    "model.resampler.num_latents=48",
    "model.vision.num_hidden_layers=1",
];
/// Phi's proportions: a wide feed-forward layer, a large vocabulary.
const WIDE: &[&str] = &[
    "model.language.hidden_size=128",
    "model.language.intermediate_size=768",
    "model.language.num_hidden_layers=6",
    "model.language.num_attention_heads=4",
    "model.language.num_key_value_heads=4",
    "model.language.vocab_size=8000",
];
const GROUPED: &[&str] = &[
    "model.language.num_hidden_layers=8",
    "model.language.num_attention_heads=8",
    "model.language.num_key_value_heads=2",
    "model.language.head_dim=48",
];
const CLIP: &[&str] = &[
    "model.vision.model_type=clip_vision_model",
    "model.vision.num_hidden_layers=6",
    "model.language.num_hidden_layers=1",
];

const RECOMPUTED: &[&str] = &[
    "training.recompute=true",
    "model.language.num_hidden_layers=8",
];
const RECOMPUTED_WIDE: &[&str] = &[
    "training.recompute=true",
    "model.language.hidden_size=128",
    "model.language.intermediate_size=768",
    "model.language.num_hidden_layers=12",
    "model.language.num_attention_heads=4",
    "model.language.num_key_value_heads=4",
];
const IN_PARTS: &[&str] = &["stage.captions.micro_batch=3"];
const SMALL_MOMENTS: &[&str] = &["training.moments=\"8bit\""];
/// What the optimizer takes of it is f32 and not f16.
const SCALED: &[&str] = &["training.precision='f16'", "training.moments='8bit'"];
const AVERAGED: &[&str] = &["training.ema=0.99"];

const CASES: [Case; 20] = [
    case(RECOMPUTED, true, 8, 120),
    case(RECOMPUTED, false, 8, 400),
    case(RECOMPUTED_WIDE, true, 8, 240),
    case(IN_PARTS, true, 12, 120),
    case(IN_PARTS, true, 12, 8),
    case(SMALL_MOMENTS, true, 1, 8),
    case(SCALED, true, 1, 8),
    case(AVERAGED, true, 1, 8),
    case(&[], true, 1, 8),
    case(&[], true, 8, 120),
    case(&[], false, 8, 120),
    case(DEEP_TOWER, false, 12, 40),
    case(DEEP_TOWER, true, 12, 40),
    case(LATENTS, true, 8, 60),
    case(LATENTS, false, 8, 60),
    case(WIDE, true, 2, 30),
    case(WIDE, true, 8, 240),
    case(GROUPED, true, 8, 200),
    case(GROUPED, false, 4, 400),
    case(CLIP, false, 16, 30),
];

impl Case {
    fn config(&self) -> RunConfig {
        let mut settings: Vec<String> = self.set.iter().map(|&it| it.to_owned()).collect();
        settings.extend([
            "stage.questions.steps=0".to_owned(),
            "stage.captions.threads=1".to_owned(),
            format!("stage.captions.batch={}", self.rows),
        ]);
        if self.frozen {
            settings.push("stage.captions.freeze=[\"vision_encoder.*\"]".to_owned());
        }
        let path = Path::new("../assets/configs/easy-vqa.toml");
        RunConfig::load(path, &settings).expect("a run")
    }

    /// Bytes at the peak as they are planned.
    fn planned(&self, config: &RunConfig) -> u64 {
        let machine = Machine {
            memory: None,
            flops: None,
            utilisation: 0.4,
            ranks: 1,
            text: self.text,
        };
        plan(config, &machine).expect("a plan").stages[0]
            .memory
            .peak
    }

    /// Captions of full length.
    fn batch(&self, config: &RunConfig) -> PolicyBatch {
        let (media, side) = (config.model.media_len(), config.model.vision.image_size);
        let (rows, len) = (self.rows, media + self.text);
        let document = |row| Document {
            row,
            tokens: 0..len,
            media: vec![Media {
                range: 0..media,
                picture: row,
            }],
            question_end: None,
            kind: String::new(),
            key: String::new(),
            question: String::new(),
            answer: String::new(),
        };
        let label = |at| if at % len < media { -100 } else { 7 };
        let batch = Batch {
            pictures: vec![0.5; rows * 3 * side * side],
            picture_count: rows,
            image_size: side,
            input_ids: vec![7; rows * len],
            labels: (0..rows * len).map(label).collect(),
            documents: (0..rows).map(document).collect(),
            row_count: rows,
            seq_len: len,
        };
        PolicyBatch {
            batch,
            policy: Policy::Causal,
            loss_scale: match config.training.precision {
                Precision::F16 => 1024.0,
                _ => 1.0,
            },
            labels_of_all: None,
            behind: None,
        }
    }

    /// Bytes at the peak of the second step, when the optimizer has its moments.
    fn measured(&self, config: &RunConfig) -> u64 {
        let device = Device::flex();
        device.seed(1);
        let before = ALLOCATED.current_usage();
        let base = config.model.language.vocab_size - 2;
        let aki = config.model.init(base, &device);
        let aki = aki.map(&mut Cast(config.training.precision.dtype()));
        let stage = &config.stage[0];
        let groups = Groups::new(stage, &aki).expect("patterns that fit");
        let mut trainee = Trainee::new(groups.freeze(aki), config.step(stage)).train();
        let mut optimizer = groups.optimizer(config.training.moments);
        let mut peak = 0;
        for _ in 0..2 {
            let batch = self.batch(config);
            ALLOCATED.reset_peak_usage();
            let output = TrainStep::step(&trainee, batch);
            trainee = trainee.optimize(&mut optimizer, 1e-4.into(), output.grads);
            peak = ALLOCATED.peak_usage() - before;
        }
        peak as u64
    }
}

/// To weights of a type.
struct Cast(FloatDType);

impl ModuleMapper for Cast {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|weight| weight.cast(self.0))
    }
}

#[test]
fn the_estimate_is_near_what_small_networks_take() {
    aki_model::fused::allow(false);
    let mut worst = 0.0_f64;
    let mut lines = Vec::new();
    for case in &CASES {
        let config = case.config();
        let (planned, measured) = (case.planned(&config), case.measured(&config));
        let off = planned as f64 / measured as f64 - 1.0;
        worst = worst.max(off.abs());
        lines.push(format!(
            "{planned} planned, {measured} measured, {:+.1} %: {} rows, {} tokens of text, frozen {}, {:?}",
            100.0 * off, case.rows, case.text, case.frozen, case.set
        ));
    }
    let lines = lines.join("\n");
    println!("{lines}");
    assert!(worst < MEASURED_WITHIN, "{lines}");
}
