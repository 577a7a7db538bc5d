//! `aki generate` and `aki chat`.

use std::fs;

use crate::support::{self, Ended, Workplace};

/// A tiny model in `run` and one of its pictures.
fn trained() -> (Workplace, String) {
    let place = Workplace::new();
    place.train(&[]).good();
    (place, "run/examples/1.png".to_owned())
}

fn generate(place: &Workplace, prompt: &str, more: &[&str]) -> Ended {
    let args = [
        "generate",
        "--model",
        "run",
        "--device",
        "cpu",
        "--prompt",
        prompt,
        "--max-new-tokens",
        "8",
    ];
    let args: Vec<&str> = args.into_iter().chain(more.iter().copied()).collect();
    place.aki(&args)
}

#[test]
fn a_question_is_answered_with_a_picture_and_without_one() {
    let (place, picture) = trained();
    let image = ["--image", &picture];
    for more in [&image[..], &[]] {
        let ended = generate(&place, "what color is the shape?", more).good();
        assert!(ended.stdout.ends_with('\n'), "{:?}", ended.stdout);
        assert!(!ended.stdout.starts_with(' '), "{:?}", ended.stdout);
        assert_eq!(ended.stderr, "");
        let again = generate(&place, "what color is the shape?", more).good();
        assert_eq!(ended.stdout, again.stdout);
    }
    // The model folder of the run is a model of its own, wherever it is moved.
    let of_run = generate(&place, "hi", &image).good();
    fs::rename(place.path("run/model"), place.path("moved")).expect("a folder");
    let args = [
        "generate", "-m", "moved", "--device", "cpu", "-p", "hi", "-i", &picture,
    ];
    let of_model = place
        .aki(&[&args[..], &["--max-new-tokens", "8"]].concat())
        .good();
    assert_eq!(of_run.stdout, of_model.stdout);
}

/// The environment may ask for another engine; what it cannot have is told.
#[test]
fn another_engine_is_asked_for() {
    let (place, picture) = trained();
    let ask = |engine: &str| {
        let mut command = support::command(&place.path("."));
        command
            .args([
                "generate", "-m", "run", "--device", "cpu", "-p", "hi", "-i", &picture,
            ])
            .env("AKI_ATTENTION", engine)
            .env("AKI_LOG", "info");
        let ended = support::finish(command, "").good();
        (ended.stdout, ended.stderr)
    };
    let (answer, told) = ask("");
    assert!(told.contains("blocked CPU engine"), "{told}");
    for (engine, expected) in [
        ("reference", "dense reference: AKI_ATTENTION asks for it"),
        ("plain", "AKI_ATTENTION is ignored: the device is a CPU"),
        ("fast", "AKI_ATTENTION=fast is ignored"),
    ] {
        let (other, told) = ask(engine);
        assert_eq!(told.matches(expected).count(), 1, "{told}");
        assert_eq!(other, answer);
    }
}

#[test]
fn marks_in_a_question_are_plain_text() {
    let (place, picture) = trained();
    for prompt in [
        "a <image> of what?",
        "<|end|>",
        "<|endoftext|><s><pad>",
        "",
        "¿qué? 🙂\0x",
    ] {
        // No argument can hold a NUL.
        let prompt = prompt.replace('\0', "");
        for more in [&["--image", &picture][..], &[]] {
            let ended = generate(&place, &prompt, more).good();
            assert!(ended.stdout.ends_with('\n'), "{prompt}: {:?}", ended.stdout);
        }
    }
}

#[test]
fn the_longest_answer_is_kept_to() {
    let (place, picture) = trained();
    let image = ["--image", &picture];
    let long = generate(&place, "what is it?", &image).good().stdout;
    let args = [
        "generate",
        "--model",
        "run",
        "--device",
        "cpu",
        "--prompt",
        "what is it?",
    ];
    let short = [&args[..], &image, &["--max-new-tokens", "1"]].concat();
    let short = place.aki(&short).good().stdout;
    assert!(long.starts_with(short.trim_end()), "{short:?} {long:?}");
    assert!(
        short.len() < long.len() || short == long,
        "{short:?} {long:?}"
    );
}

#[test]
fn draws_follow_their_seed() {
    let (place, picture) = trained();
    let drawn = |seed: &str| {
        let more = [
            "--image",
            &picture,
            "--temperature",
            "1.5",
            "--top-p",
            "0.9",
            "--seed",
            seed,
        ];
        generate(&place, "what is it?", &more).good().stdout
    };
    assert_eq!(drawn("1"), drawn("1"));
    assert_ne!(drawn("1"), drawn("2"));
}

#[test]
fn a_chat_answers_each_line_as_generate_does() {
    let (place, picture) = trained();
    let questions = ["what color is the shape?", "is there a circle?", "hi"];
    let image = ["--image", &picture];
    let answers: Vec<_> = questions
        .iter()
        .map(|question| generate(&place, question, &image).good().stdout)
        .collect();
    let args = [
        "chat",
        "--model",
        "run",
        "--device",
        "cpu",
        "--max-new-tokens",
        "8",
    ];
    // Each by itself: a chat that goes on sees what was said before.
    let lines = questions.map(|question| format!(":image {picture}\n{question}\n:reset\n"));
    let ended = place.chat(&args, &lines.concat()).good();
    assert_eq!(ended.stdout, answers.concat());
    assert_eq!(ended.stderr, "");
    let with_image = [&args[..], &image].concat();
    let ended = place.chat(&with_image, questions[0]).good();
    assert_eq!(ended.stdout, answers[0]);

    // The picture may be taken later; empty lines are no questions, and the last needs no newline.
    let lines = format!(":image {picture}\n\n{}", questions[0]);
    let ended = place.chat(&args, &lines).good();
    assert_eq!(ended.stdout, answers[0]);
}

#[test]
fn a_chat_goes_on_after_a_mistake() {
    let (place, _) = trained();
    let answer = generate(&place, "hi", &[]).good().stdout;
    let args = [
        "chat",
        "--model",
        "run",
        "--device",
        "cpu",
        "--max-new-tokens",
        "8",
    ];
    let lines = ":image missing.png\n:image run/config.toml\n:images\nhi\n";
    let ended = place.chat(&args, lines);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert_eq!(ended.stdout, answer);
    insta::assert_snapshot!(ended.stderr, @r#"
    cannot read missing.png: No such file or directory (os error 2)
    cannot decode picture run/config.toml: The image format could not be determined; is it a PNG, JPEG, WebP, GIF, BMP or TIFF, and whole?
    no command :images; :help lists them
    error: 3 lines of the input were not carried out, for the reasons above
    "#);
    let ended = place.chat(&args, "").good();
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("", ""));
}
