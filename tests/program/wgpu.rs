//! A model on a GPU through WGPU; Mesa's software driver will do. Without any adapter the tests are skipped.

use std::fs;
use std::path::Path;

use crate::support::{self, Ended, Workplace, text};

/// Runs the program with the machine's own drivers, keeping kernels in `cache`.
fn aki(place: &Workplace, cache: &Path, args: &[&str]) -> Ended {
    let mut command = support::command(&place.path("."));
    command
        .args(args)
        .env_remove("VK_DRIVER_FILES")
        .env_remove("VK_ICD_FILENAMES")
        .env("CUBECL_AUTOTUNE_LEVEL", "minimal")
        .env("XDG_CACHE_HOME", cache)
        // Mesa complains where it is not set.
        .env("XDG_RUNTIME_DIR", place.path("."));
    support::finish(command, "")
}

/// Whether there is an adapter. The first that is not there is asked for, which lists those that are.
fn no_adapter(place: &Workplace) -> bool {
    let args = ["generate", "-m", "run", "-p", "hi", "--device", "wgpu:99"];
    let told = aki(place, &place.path("cache"), &args).refused();
    let none = told.contains("no WGPU adapter was found");
    if none {
        eprintln!("skipped: no WGPU adapter; install a Vulkan driver such as mesa-vulkan-drivers");
    } else {
        assert!(told.contains("wgpu:99 is not there"), "{told}");
        assert!(told.contains("wgpu:0 is "), "{told}");
    }
    none
}

fn ask<'a>(model: &'a str, device: &'a str, image: &'a str) -> Vec<&'a str> {
    let prompt = "what color is the shape?";
    let args = ["generate", "-m", model, "-p", prompt, "--device", device];
    let more = ["-i", image, "--max-new-tokens", "8"];
    [&args[..], &more].concat()
}

#[test]
fn a_trained_model_answers_as_on_the_cpu() {
    let place = Workplace::new();
    place.train(&[]).good();
    if no_adapter(&place) {
        return;
    }
    let (picture, cache) = ("run/examples/1.png", place.path("cache"));
    let expected = place.aki(&ask("run", "cpu", picture)).good().stdout;
    let found = aki(&place, &cache, &ask("run", "wgpu", picture)).good();
    assert_eq!(found.stdout, expected);
    assert_eq!(found.stderr, "");

    // What the cache holds is damaged, then there can be none: kernels are made anew.
    for file in support::contents(&cache).keys() {
        let path = cache.join(file);
        let len = fs::metadata(&path).expect("a file").len();
        let broken = vec![0xa5; len as usize / 2];
        fs::write(&path, broken).expect("a file");
    }
    let found = aki(&place, &cache, &ask("run", "wgpu", picture)).good();
    assert_eq!(found.stdout, expected);
    let no_folder = place.path("run/config.toml");
    let found = aki(&place, &no_folder, &ask("run", "wgpu", picture)).good();
    assert_eq!(found.stdout, expected);
}

#[test]
fn half_precision_takes_the_place_of_bf16() {
    let place = Workplace::new();
    place.train(&[]).good();
    if no_adapter(&place) {
        return;
    }
    let model = text(&place.path("run/model"));
    let args = ["convert", &model, "half", "--dtype", "bf16"];
    place.aki(&args).good();
    let cache = place.path("cache");
    let found = aki(&place, &cache, &ask("half", "wgpu", "run/examples/1.png")).good();
    assert!(
        found.stderr.contains("bf16 becomes f16 on this device"),
        "{}",
        found.stderr
    );
    assert!(!found.stdout.trim().is_empty());
}

/// What `auto` took is told; software it never takes.
#[test]
fn auto_says_what_it_took() {
    let place = Workplace::new();
    place.train(&[]).good();
    let picture = "run/examples/1.png";
    let found = place.aki(&ask("run", "auto", picture)).good();
    // OpenGL's software may still be there.
    assert!(
        found.stderr.starts_with("device: cpu ("),
        "{}",
        found.stderr
    );
    let found = aki(&place, &place.path("cache"), &ask("run", "auto", picture)).good();
    assert!(found.stderr.starts_with("device: "), "{}", found.stderr);
    if found.stderr.contains("llvmpipe") {
        assert!(
            found.stderr.starts_with("device: cpu (the only"),
            "{}",
            found.stderr
        );
    }
}
