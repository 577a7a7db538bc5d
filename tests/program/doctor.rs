//! `aki doctor`.

use std::fs;

use serde_json::Value;

use crate::support::{self, Ended, Workplace};

fn doctor(place: &Workplace, more: &[&str], environment: &[(&str, &str)]) -> Ended {
    let mut command = support::command(&place.path("."));
    command.arg("doctor").args(more);
    command.env("XDG_CACHE_HOME", place.path("cache"));
    command.envs(environment.iter().copied());
    support::finish(command, "")
}

fn report(ended: &Ended) -> Value {
    assert_eq!(ended.stderr, "");
    serde_json::from_str(&ended.stdout).expect("JSON")
}

/// What is told as wrong, and as advice.
fn problems(report: &Value) -> String {
    report["problems"].to_string()
}

#[test]
fn a_machine_without_drivers_is_told_what_to_do() {
    let place = Workplace::new();
    let ended = doctor(&place, &["--json"], &[]).good();
    let report = report(&ended);
    // OpenGL may find Mesa's software.
    let devices = report["devices"].as_array().expect("devices");
    assert!(
        devices.iter().all(|it| it["backend"] != "vulkan"),
        "{report}"
    );
    for what in ["inference", "training"] {
        let choice = report["auto"][what].as_str().expect("a choice");
        assert!(choice.starts_with("cpu ("), "{what}: {choice}");
    }
    assert!(report["processor"]["threads"].as_u64() > Some(0));
    assert!(report["memory"].is_null() || report["memory"]["total"].as_u64() > Some(1 << 28));
    let four_billion = &report["fits"][0];
    assert_eq!(four_billion["preset"], "aki-4b");
    assert_eq!(four_billion["parameters"], 4_330_957_954_u64);
    if cfg!(all(target_os = "linux", feature = "wgpu")) {
        assert!(
            problems(&report).contains("unset VK_DRIVER_FILES"),
            "{report}"
        );
    }
    let text = doctor(&place, &[], &[]).good().stdout;
    for name in ["aki ", "processor ", "memory ", "auto ", "aki-4b", "4 bits"] {
        assert!(text.contains(name), "{name} in {text}");
    }
}

/// Many machines have Mesa's driver, which computes on the CPU.
#[cfg(all(target_os = "linux", feature = "wgpu"))]
#[test]
fn a_software_adapter_is_told_from_a_card() {
    let drivers = fs::read_dir("/usr/share/vulkan/icd.d")
        .into_iter()
        .flatten();
    let mut drivers = drivers.flatten().map(|entry| entry.path());
    let Some(lavapipe) = drivers.find(|file| support::text(file).contains("lvp_icd")) else {
        eprintln!("skipped: Mesa's lavapipe is not installed; apt install mesa-vulkan-drivers");
        return;
    };
    let place = Workplace::new();
    let only = support::text(&lavapipe);
    let environment = [
        ("VK_DRIVER_FILES", only.as_str()),
        ("VK_ICD_FILENAMES", &only),
    ];
    let report = report(&doctor(&place, &["--json"], &environment).good());
    let device = &report["devices"][0];
    assert_eq!(
        (&device["kind"], &device["backend"]),
        (&"software".into(), &"vulkan".into())
    );
    assert!(
        device["limits"]["max_buffer"].as_u64() > Some(1 << 27),
        "{device}"
    );
    assert!(problems(&report).contains("a software one"), "{report}");
}

#[cfg(all(target_os = "linux", feature = "wgpu"))]
#[test]
fn a_driver_that_aborts_is_survived() {
    let place = Workplace::new();
    let source =
        "#include <stdlib.h>\n__attribute__((constructor)) static void f(void) { abort(); }\n";
    fs::write(place.path("driver.c"), source).expect("a file");
    let library = support::text(&place.path("driver.so"));
    let compiler = std::process::Command::new("cc")
        .args(["-shared", "-fPIC", "-o", &library])
        .arg(place.path("driver.c"))
        .status();
    assert!(compiler.expect("cc").success());
    let driver = serde_json::json!({
        "file_format_version": "1.0.0",
        "ICD": {"library_path": library, "api_version": "1.3.0"},
    });
    let file = support::text(&place.path("driver.json"));
    fs::write(&file, driver.to_string()).expect("a file");
    let environment = [
        ("VK_DRIVER_FILES", file.as_str()),
        ("VK_ICD_FILENAMES", &file),
    ];
    let report = report(&doctor(&place, &["--json"], &environment).good());
    assert!(problems(&report).contains("died (signal: 6"), "{report}");
}

#[cfg(unix)]
#[test]
fn a_cache_that_cannot_be_written_is_told() {
    let place = Workplace::new();
    fs::write(place.path("file"), "").expect("a file");
    let below = support::text(&place.path("file/below"));
    let report = report(&doctor(&place, &["--json"], &[("XDG_CACHE_HOME", &below)]).good());
    let told = problems(&report).contains("is not writable");
    assert_eq!(told, cfg!(feature = "wgpu"), "{report}");
}

#[test]
fn a_model_is_held_against_the_machine() {
    let place = Workplace::new();
    place.train(&[]).good();
    let model = ["--json", "--model", "run"];
    let good = report(&doctor(&place, &model, &[]).good());
    assert_eq!(good["model"]["fault"], Value::Null);
    assert_eq!(good["model"]["types"], serde_json::json!(["f32"]));
    assert_ne!(good["model"]["fits"], Value::Bool(false));
    // What a run that goes on has: its newest checkpoint.
    let weights = place.path("run/model/model.safetensors");
    let aside = place.path("aside");
    std::fs::rename(&weights, &aside).expect("a run without its model");
    let going_on = report(&doctor(&place, &model, &[]).good());
    assert_eq!(going_on["model"]["fault"], Value::Null);
    assert_eq!(going_on["model"]["parameters"], good["model"]["parameters"]);
    std::fs::rename(&aside, &weights).expect("its model again");
    support::cut_in_half(&weights);
    let ended = doctor(&place, &model, &[]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let told = problems(&report(&ended));
    assert!(told.contains("cannot be loaded"), "{told}");
    let missing = doctor(&place, &["--model", "nowhere"], &[]).refused();
    assert!(missing.contains("no model is here"), "{missing}");
}
