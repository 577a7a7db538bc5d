//! A run that is killed again and again ends as if nothing had happened.

use std::time::{Duration, Instant};

use crate::resume::went_on_as_one;
use crate::support::Workplace;

const KILLS: u32 = 25;

/// Numbers from 0 to 1, the same each time (Knuth's MMIX).
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Checkpoints so dense that one is being written at most moments, and an old one removed.
#[test]
fn a_run_killed_25_times_ends_with_the_same_bits() {
    let settings = [
        "stage.captions.steps=60",
        "stage.captions.evaluate_every=20",
        "stage.captions.checkpoint_every=2",
        "stage.questions.steps=900",
        "stage.questions.evaluate_every=100",
        "stage.questions.checkpoint_every=3",
        "training.keep_best=1",
    ];
    let place = Workplace::new();
    // How long it takes to begin, and in all.
    let whole: Vec<&str> = settings.iter().copied().chain(["run_dir=whole"]).collect();
    let begun = Instant::now();
    let mut running = place.start(&whole);
    running.until(|| !place.checkpoints("whole", "captions").is_empty());
    let (start, begun) = (begun.elapsed(), Instant::now());
    running.ended().good();
    let training = begun.elapsed();
    let weights = place.weights("whole");

    let mut random = Random(25);
    for kill in 0..KILLS {
        let running = place.start(&settings);
        // A fifth of them before it trains. The others leave it less than its share of the run.
        let life = match kill % 5 {
            0 => start.mul_f64(random.next()),
            _ => {
                start.mul_f64(0.7) + (training / KILLS + start.mul_f64(0.3)).mul_f64(random.next())
            }
        };
        std::thread::sleep(life.max(Duration::from_millis(1)));
        running.kill();
    }
    assert!(!place.path("run/report.json").exists());
    let ended = place.train(&settings).good();
    assert!(
        ended.stderr.contains("resuming run at step "),
        "{}",
        ended.stderr
    );
    assert!(!ended.stderr.contains("damaged"), "{}", ended.stderr);
    went_on_as_one(&place, &weights);
    for stage in ["captions", "questions"] {
        assert_eq!(
            place.checkpoints("run", stage),
            place.checkpoints("whole", stage)
        );
    }
}
