//! The original's configuration becomes a run.

use std::fs;

use crate::support::{Workplace, repository, text};

fn yaml() -> String {
    text(&repository().join("tests/fixtures/hydra/sft.yaml"))
}

#[test]
fn the_originals_configuration_becomes_a_run_that_is_read() {
    let place = Workplace::new();
    let ended = place
        .aki(&["config", "import", &yaml(), "-o", "run.toml"])
        .good();
    assert_eq!(ended.stdout, "");
    assert!(
        ended.stderr.contains("fsdp: true is left out"),
        "{}",
        ended.stderr
    );
    let written = fs::read_to_string(place.path("run.toml")).expect("the run file");
    let shown = place.aki(&["config", "show", "run.toml"]).good().stdout;
    let shown: toml::Table = shown.parse().expect("TOML");
    assert_eq!(shown["data"]["source"].as_array().map(Vec::len), Some(11));
    assert_eq!(shown["stage"][0]["optimizer"]["lr"].as_float(), Some(2e-5));
    let printed = place.aki(&["config", "import", &yaml()]).good().stdout;
    assert_eq!(printed, written);

    // A run file that is there is someone's work.
    let again = place.aki(&["config", "import", &yaml(), "-o", "run.toml"]);
    assert_eq!(again.code, Some(2));
    let told = "error: cannot write run.toml: entity already exists";
    assert!(again.stderr.contains(told), "{}", again.stderr);
    assert_eq!(
        fs::read_to_string(place.path("run.toml")).expect("it"),
        written
    );
    assert_eq!(place.names(), ["run.toml"]);
}

#[test]
fn what_cannot_be_imported_is_told() {
    let place = Workplace::new();
    let refused = |yaml: &str| {
        fs::write(place.path("sft.yaml"), yaml).expect("yaml");
        let told = place
            .aki(&["config", "import", "sft.yaml", "-o", "run.toml"])
            .refused();
        assert!(!place.path("run.toml").exists());
        told
    };
    let told = refused("a: ${b}\nb: ${a}\n");
    assert!(told.contains("sft.yaml"), "{told}");
    let told = refused("defaults:\n  - datasets: [vqa]\n");
    assert!(told.contains("vqa"), "{told}");
    let told = refused("{");
    assert!(told.contains("sft.yaml"), "{told}");
    let told = place.aki(&["config", "import", "none.yaml"]).refused();
    assert!(told.contains("cannot read none.yaml"), "{told}");
}
