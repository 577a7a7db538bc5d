//! What fewer bits cost in the loss: weights and activations in bf16, moments in 8 bits.

use crate::golden;
use crate::support::Workplace;

/// 500 steps of the tiny built-in network, from 6.1 a token to 0.46: it has learned how captions are
/// made, and begins to see what is in the pictures.
///
/// At twice the learning rate 8 bits and bf16 end 1 to 5 % *below* f32, each time elsewhere: there any
/// change of a thousandth leads to another end, so that it would tell nothing.
const LONG: [&str; 9] = [
    "stage.captions.steps=500",
    "stage.captions.batch=8",
    "stage.captions.evaluate_every=500",
    "stage.captions.checkpoint_every=500",
    "stage.captions.optimizer.warmup_steps=20",
    "stage.captions.optimizer.lr=1e-3",
    "stage.questions.steps=0",
    "data.valid_samples=64",
    "evaluation.samples=4",
];

/// The loss on the samples set aside, after all steps.
fn measured(place: &Workplace, run: &str, settings: &[&str]) -> f64 {
    let folder = format!("run_dir={run}");
    place
        .train(&[&LONG[..], &[&folder], settings].concat())
        .good();
    let lines = place.metrics(run);
    let last = lines.last().expect("a measurement");
    assert_eq!((last.step, last.split.as_str()), (500, "valid"));
    last.loss
}

#[test]
fn fewer_bits_reach_the_loss_of_f32() {
    let place = Workplace::new();
    let full = measured(&place, "full", &[]);
    assert!(full < 0.5, "{full}");
    for (run, setting, most) in [
        ("half", "training.precision=\"bf16\"", 0.02),
        ("eight", "training.moments=\"8bit\"", 0.01),
    ] {
        let fewer = measured(&place, run, &[setting]);
        let apart = (fewer - full).abs() / full;
        assert!(apart > 0.0, "{setting} changes nothing");
        assert!(apart < most, "{setting}: {fewer} is {apart} from {full}");
    }
}

/// The tiny AKI, through the steps that are held against PyTorch. (Found: 0.1 and 0.04 % at most.)
#[test]
fn fewer_bits_follow_the_golden_curve() {
    let place = Workplace::new();
    golden::start(&place);
    let losses = |run, settings: &[&str]| -> Vec<f64> {
        let lines = golden::train(&place, run, settings);
        lines.iter().map(golden::loss).collect()
    };
    let full = losses("full", &[]);
    for (run, setting, most) in [
        ("half", "training.precision=\"bf16\"", 0.005),
        ("eight", "training.moments=\"8bit\"", 0.002),
    ] {
        let fewer = losses(run, &[setting]);
        assert_eq!(fewer.len(), full.len());
        for (fewer, full) in fewer.iter().zip(&full) {
            let apart = (fewer - full).abs() / full;
            assert!(apart < most, "{setting}: {fewer} is {apart} from {full}");
        }
        assert!(fewer != full, "{setting} changes nothing");
    }
}
