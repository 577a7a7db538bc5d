//! 20 optimizer steps of the tiny AKI, held against the same steps in PyTorch, and against the bits that
//! they had before.
//!
//! `tests/fixtures/golden` is the run with its data. `tests/reference/golden_training.py` trains on the
//! very same batches in torch and wrote `losses.txt` and `updates.txt`; it says which mistakes would show.
//! `order.txt` and `bits.txt` are our own. After a change that is meant to change them,
//!
//! ```text
//! AKI_GOLDEN=renew cargo test --release --workspace --test program golden
//! ```
//!
//! writes them anew, the bits for the instruction set of that machine; the script is to be run again if
//! the order is another.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use aki_train::config::RunConfig;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::Value;

use crate::published::{Tensors, fixture, tensors};
use crate::support::{self, Workplace, text};

/// Each curve, and what it changes in the run file: the vision tower learns too, or does not, as in the
/// original.
const CURVES: [(&str, &[&str]); 2] = [("frozen", &[]), ("whole", &["stage.golden.freeze=[]"])];

/// Furthest from PyTorch, relatively. (Found: 1.3e-7, as far as f32 is from f64 there.)
const TOLERANCE: f64 = 1e-5;

fn golden(name: &str) -> PathBuf {
    support::repository()
        .join("tests/fixtures/golden")
        .join(name)
}

fn renewing() -> bool {
    std::env::var_os("AKI_GOLDEN").is_some_and(|what| what == "renew")
}

/// The words of each line of a file that is no remark.
fn words(name: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(golden(name)).expect(name);
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.split_whitespace().map(str::to_owned).collect())
        .collect()
}

fn number(word: &str) -> f64 {
    word.parse().expect("a number")
}

#[track_caller]
fn near(ours: f64, theirs: f64, tolerance: f64, what: &str) {
    let distance = (ours - theirs).abs() / theirs.abs();
    assert!(
        distance <= tolerance,
        "{what}: {ours} is {distance:.1e} from {theirs}"
    );
}

/// `tests/fixtures/aki-tiny` with its matrices halved, as a model to start from. As they are, the network
/// is so sharp that PyTorch's own rounding grows to 1e-4 within the 20 steps.
pub fn start(place: &Workplace) -> Tensors {
    let mut halved = tensors(&fixture());
    for (shape, bytes) in halved.values_mut() {
        if shape.len() > 1 {
            *bytes = floats(bytes)
                .flat_map(|it| (0.5 * it).to_le_bytes())
                .collect();
        }
    }
    let views = halved.iter().map(|(name, (shape, bytes))| {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes);
        (name, view.expect("a tensor"))
    });
    let folder = place.path("start");
    fs::create_dir(&folder).expect("a folder");
    safetensors::serialize_to_file(views, None, &folder.join("model.safetensors"))
        .expect("weights");
    fs::copy(fixture().join("config.json"), folder.join("config.json")).expect("a file");
    halved
}

fn floats(bytes: &[u8]) -> impl Iterator<Item = f32> {
    let values = bytes.as_chunks::<4>().0.iter();
    values.map(|it| f32::from_le_bytes(*it))
}

/// Carries out the run; its `metrics.jsonl`, a line a step.
pub fn train(place: &Workplace, curve: &str, settings: &[&str]) -> Vec<Value> {
    let run = text(&golden("run.toml"));
    let start = format!("start={}", text(&place.path("start")));
    let run_dir = format!("run_dir={curve}");
    let mut args = vec!["train", &run, "--device", "cpu"];
    for setting in [&start, &run_dir]
        .map(String::as_str)
        .iter()
        .chain(settings)
    {
        args.extend(["--set", setting]);
    }
    place.aki(&args).good();
    let lines = fs::read_to_string(place.path(curve).join("metrics.jsonl")).expect("metrics");
    let lines = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect(line));
    lines.collect()
}

pub fn loss(line: &Value) -> f64 {
    line["loss"].as_f64().expect("a loss")
}

#[test]
fn the_order_is_the_one_that_pytorch_was_given() {
    let config = RunConfig::load(&golden("run.toml"), &[]).expect("the run");
    let stage = &config.stage[0];
    let sources = config.open_sources(stage).expect("the source");
    let preparer = config.looking(stage).expect("the tokenizer");
    let rows = config.mixture(stage, sources, preparer, |notice| panic!("{notice}"));
    let mut order = String::from(
        "# Samples of each step, by their lines in samples.jsonl; written by tests/program/golden.rs.\n",
    );
    for made in rows.made(0).expect("batches").take(stage.steps) {
        let documents = made.expect("a batch").batch.documents;
        let keys: Vec<_> = documents.iter().map(|it| it.key.as_str()).collect();
        writeln!(order, "{}", keys.join(" ")).expect("text");
    }
    if renewing() {
        fs::write(golden("order.txt"), &order).expect("the order");
    }
    let kept = fs::read_to_string(golden("order.txt")).expect("the order");
    assert_eq!(
        order, kept,
        "samples come in another order than PyTorch was given"
    );
}

#[test]
fn losses_rates_and_updates_are_pytorchs() {
    let place = Workplace::new();
    let begun = start(&place);
    let theirs = words("losses.txt");
    for (curve, settings) in CURVES {
        let ours = train(&place, curve, settings);
        let theirs: Vec<_> = theirs.iter().filter(|line| line[0] == curve).collect();
        assert_eq!(ours.len(), 20);
        assert_eq!(theirs.len(), 20);
        for (ours, theirs) in ours.iter().zip(theirs) {
            let what = format!("{curve}, step {}", theirs[1]);
            assert_eq!(ours["step"].to_string(), theirs[1]);
            let rate = ours["lr"].as_f64().expect("a rate");
            near(rate, number(&theirs[2]), 1e-8, &format!("rate of {what}"));
            let norm = ours["grad_norm"].as_f64().expect("a norm");
            near(norm, number(&theirs[3]), 1e-5, &format!("norm of {what}"));
            near(
                loss(ours),
                number(&theirs[4]),
                TOLERANCE,
                &format!("loss of {what}"),
            );
        }
    }
    // Those of weights that no loss depends on, such as the rows of words that do not come.
    let ended = tensors(&place.path("whole/model"));
    let updates = words("updates.txt");
    // Less the biases of the tower's two keys: see the script.
    assert_eq!(updates.len() + 2, begun.len());
    for line in updates {
        let ours = distance(&begun[&line[0]].1, &ended[&line[0]].1);
        let theirs = number(&line[1]);
        if theirs == 0.0 {
            assert!(ours == 0.0, "{} moved by {ours}", line[0]);
        } else {
            near(ours, theirs, TOLERANCE, &format!("update of {}", line[0]));
        }
    }
}

/// The L2 norm of what lies between two tensors.
fn distance(one: &[u8], two: &[u8]) -> f64 {
    let pairs = floats(one).zip(floats(two));
    let squares = pairs.map(|(a, b)| (f64::from(a) - f64::from(b)).powi(2));
    squares.sum::<f64>().sqrt()
}

/// What decides the last bits: sums are cut up by the width of the registers, and exponentials are the
/// C library's.
fn platform() -> &'static str {
    #[cfg(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu"))]
    if is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512cd")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
    {
        return "linux-gnu-avx512";
    } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        return "linux-gnu-avx2";
    }
    "other"
}

#[test]
fn losses_have_the_bits_that_they_had() {
    let place = Workplace::new();
    start(&place);
    let platform = platform();
    let (mut ours, mut bits) = (Vec::new(), format!("platform {platform}\n"));
    for (curve, settings) in CURVES {
        for line in train(&place, curve, settings) {
            // As it was computed: an f32.
            let (step, loss) = (line["step"].to_string(), loss(&line) as f32);
            writeln!(bits, "{curve} {step} {:08x} {loss}", loss.to_bits()).expect("text");
            ours.push((curve, step, loss));
        }
    }
    if renewing() {
        let head = "# The losses in metrics.jsonl as the bits of an f32; written by \
                    tests/program/golden.rs.\n";
        fs::write(golden("bits.txt"), format!("{head}{bits}")).expect("the bits");
    }
    let kept = words("bits.txt");
    let same_platform = kept[0][1] == platform;
    if !same_platform {
        let theirs = &kept[0][1];
        eprintln!(
            "bits.txt is of {theirs}, and this is {platform}: losses are held to within 1e-5"
        );
    }
    assert_eq!(kept.len() - 1, ours.len());
    for (line, (curve, step, loss)) in kept[1..].iter().zip(ours) {
        assert_eq!(line[..2], [curve.to_owned(), step.clone()]);
        let then = f32::from_bits(u32::from_str_radix(&line[2], 16).expect("bits"));
        if same_platform {
            assert!(
                loss.to_bits() == then.to_bits(),
                "loss of {curve}, step {step}: {loss}, and {then} in bits.txt; if the change is meant, \
                 see the head of tests/program/golden.rs"
            );
        } else {
            near(
                f64::from(loss),
                f64::from(then),
                1e-5,
                &format!("loss of {curve}, step {step}"),
            );
        }
    }
}
