//! TensorBoard itself reads what a run writes for it.

use std::collections::BTreeMap;
use std::process::Command;

use crate::python;
use crate::support::{Workplace, repository};

#[test]
fn tensorboard_shows_the_losses_of_metrics_jsonl() {
    if python::lacks("tensorboard", "2.21.0") {
        return;
    }
    let place = Workplace::new();
    place.train(&[]).good();
    let script = repository().join("tests/reference/read_tensorboard.py");
    let output = Command::new("python3")
        .arg(script)
        .arg(place.path("run"))
        .output();
    let output = output.expect("python3");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let mut found: BTreeMap<String, Vec<(usize, f64)>> =
        serde_json::from_slice(&output.stdout).expect("JSON");

    let mut expected: BTreeMap<String, Vec<(usize, f64)>> = BTreeMap::new();
    for line in place.metrics("run") {
        // An event holds an f32.
        let point = (line.step, f64::from(line.loss as f32));
        let tag = format!("{}/{}/loss", line.stage, line.split);
        expected.entry(tag).or_default().push(point);
    }
    assert_eq!(expected["questions/train/loss"].len(), 6);
    assert!(found.contains_key("questions/valid/accuracy"), "{found:?}");
    assert!(found.contains_key("questions/train/lr"), "{found:?}");
    found.retain(|tag, _| tag.ends_with("/loss"));
    assert_eq!(found, expected);
}
