//! What a step does: micro-batches, recomputation, precision, and steps that cannot be used.

use std::fs;

use safetensors::SafeTensors;
use serde_json::Value;

use crate::support::{Ended, Line, Workplace, asset};

/// The losses of a run's training steps.
fn losses(place: &Workplace, run: &str, settings: &[&str]) -> Vec<f64> {
    let folder = format!("run_dir={run}");
    let few = [
        "stage.captions.steps=3",
        "stage.questions.steps=3",
        "evaluation.samples=4",
        folder.as_str(),
    ];
    place.train(&[&few[..], settings].concat()).good();
    let lines = place.metrics(run).into_iter();
    let trained = lines.filter(|line| line.split == "train");
    trained.map(|line| line.loss).collect()
}

#[track_caller]
fn alike(one: &[f64], two: &[f64], tolerance: f64) {
    assert_eq!(one.len(), two.len());
    for (one, two) in one.iter().zip(two) {
        assert!((one - two).abs() <= tolerance * one, "{one} and {two}");
    }
}

#[test]
fn micro_batches_add_up_to_the_batch() {
    let place = Workplace::new();
    let whole = losses(&place, "whole", &[]);
    let settings = [
        "stage.captions.micro_batch=2",
        "stage.questions.micro_batch=1",
    ];
    alike(&losses(&place, "micro", &settings), &whole, 1e-5);
}

#[test]
fn blocks_that_run_again_change_nothing() {
    let place = Workplace::new();
    losses(&place, "kept", &[]);
    losses(&place, "again", &["training.recompute=true"]);
    assert!(place.weights("kept") == place.weights("again"));
}

#[test]
fn half_precision_trains() {
    let place = Workplace::new();
    let single = losses(&place, "single", &[]);
    let half = losses(&place, "half", &["training.precision=\"bf16\""]);
    alike(&half, &single, 0.02);
    let scaled = losses(&place, "scaled", &["training.precision=\"f16\""]);
    alike(&scaled, &single, 0.02);
}

#[test]
fn an_average_of_the_weights_is_kept_in_their_place() {
    let place = Workplace::new();
    let plain = losses(&place, "plain", &[]);
    let ema = "training.ema=0.5";
    let averaged = losses(&place, "averaged", &[ema]);
    // The first stage trains the same weights; its average is what is measured and goes on.
    assert_eq!(plain[..3], averaged[..3]);
    assert_ne!(plain[3..], averaged[3..]);
    assert!(place.weights("plain") != place.weights("averaged"));
}

#[test]
fn half_precision_and_averages_are_resumed_as_they_were() {
    let settings = [
        "training.precision=\"f16\"",
        "training.ema=0.9",
        "training.moments=\"8bit\"",
        "stage.captions.steps=0",
        "stage.questions.steps=40",
        "stage.questions.evaluate_every=40",
    ];
    let place = Workplace::new();
    place
        .train(&[&settings[..], &["run_dir=whole"]].concat())
        .good();
    let mut running = place.start(&settings);
    running.until(|| !place.checkpoints("run", "questions").is_empty());
    running.kill();
    place.train(&settings).good();
    assert!(place.weights("run") == place.weights("whole"));
}

/// A model in the folder `run/model` that makes something of every word but " teal".
fn without_teal() -> Workplace {
    let place = Workplace::new();
    let short = [
        "stage.captions.steps=1",
        "stage.captions.optimizer.warmup_steps=0",
        "stage.questions.steps=0",
    ];
    place
        .train(&[&short[..], &["evaluation.samples=4"]].concat())
        .good();
    let tokenizer = fs::read(asset("easy-vqa/tokenizer.json")).expect("tokenizer");
    let tokenizer: Value = serde_json::from_slice(&tokenizer).expect("JSON");
    let id = tokenizer["model"]["vocab"]["\u{120}teal"]
        .as_u64()
        .expect("a word") as usize;
    let file = place.path("run/model/model.safetensors");
    let mut bytes = fs::read(&file).expect("weights");
    let row = {
        let tensors = SafeTensors::deserialize(&bytes).expect("safetensors");
        let mut named = tensors.iter();
        let is_embedding = |name: &str| name.ends_with("embed_tokens.weight");
        let (_, embedding) = named
            .find(|(name, _)| is_embedding(name))
            .expect("embedding");
        let width = 4 * embedding.shape()[1];
        let start = embedding.data().as_ptr() as usize - bytes.as_ptr() as usize;
        start + id * width..start + id * width + 4
    };
    bytes[row].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&file, bytes).expect("weights");
    place
}

const ON: [&str; 5] = [
    "run_dir=on",
    "stage.captions.steps=12",
    "stage.captions.batch=2",
    "stage.questions.steps=0",
    "evaluation.samples=4",
];

/// Trains that model on.
fn on(place: &Workplace, max_bad_steps: usize) -> Ended {
    let start = format!("start={}", place.path("run").display());
    let stop = format!("training.max_bad_steps={max_bad_steps}");
    place.train(&[&ON[..], &[start.as_str(), stop.as_str()]].concat())
}

#[test]
fn steps_without_a_finite_gradient_are_passed_over_and_told() {
    let place = without_teal();
    let ended = on(&place, 12).good();
    let told = ended
        .stderr
        .lines()
        .filter(|line| line.contains("is passed over: the loss of "));
    let told = told.count();
    let bad = |line: &&Line| line.split == "train" && line.loss.is_nan();
    let lines = place.metrics("on");
    assert_eq!(lines.iter().filter(bad).count(), told, "{}", ended.stderr);
    assert!((1..12).contains(&told), "{told} of 12 steps have the word");
    let bytes = place.weights("on");
    let tensors = SafeTensors::deserialize(&bytes).expect("safetensors");
    let values = tensors.tensors().into_iter().flat_map(|(_, tensor)| {
        let values = tensor.data().chunks_exact(4);
        let values = values.map(|bytes| f32::from_le_bytes(bytes.try_into().expect("4 bytes")));
        values.collect::<Vec<_>>()
    });
    assert_eq!(values.filter(|value| value.is_nan()).count(), 1);
}

#[test]
fn too_many_of_them_stop_the_run() {
    let place = without_teal();
    let ended = on(&place, 1);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(
        ended
            .stderr
            .contains("1 steps in a row had no finite gradient"),
        "{}",
        ended.stderr
    );
    // None was written because it stopped.
    let checkpoints = place.checkpoints("on", "captions");
    assert!(
        checkpoints.iter().all(|step| step % 2 == 0),
        "{checkpoints:?}"
    );
}
