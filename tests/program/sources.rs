//! Training on sources of one's own.

use std::fmt::Write;
use std::fs;

use crate::support::{Ended, Line, Workplace, asset, command, finish, tar};

/// A tiny network; sources `mine` (questions), `captions` (shards) and `held` (to measure on).
pub fn run_file(stage: &str) -> String {
    let tokenizer = asset("easy-vqa/tokenizer.json");
    format!(
        r#"
run_dir = "run"
seed = 1
[text]
tokenizer = "{tokenizer}"
system = "Answer the question about the picture."
[data]
valid_samples = 4
exif_orientation = false
max_bad_share = 0.5
[[data.source]]
name = "mine"
kind = "jsonl"
annotations = "own.jsonl"
images = "pictures"
weight = 2.0
[[data.source]]
name = "captions"
kind = "webdataset"
caption = "txt"
shards = "{{a,b}}.tar"
buffer = 5
[[data.source]]
name = "held"
kind = "jsonl"
annotations = "own.jsonl"
images = "pictures"
valid = true
[model.vision]
image_size = 16
patch_size = 8
hidden_size = 8
intermediate_size = 8
num_hidden_layers = 1
num_attention_heads = 2
layer_norm_eps = 1e-6
[model.resampler]
depth = 1
heads = 2
head_dim = 4
num_latents = 4
[model.language]
vocab_size = 448
added_tokens = 2
hidden_size = 8
intermediate_size = 8
num_hidden_layers = 1
num_attention_heads = 2
num_key_value_heads = 2
rms_norm_eps = 1e-5
rope_theta = 10000.0
[[stage]]
name = "own"
target = "sources"
attention = "mma"
steps = 300
batch = 2
threads = 2
evaluate_every = 100
checkpoint_every = 20
augmentation = {{ flip = 0.5, shift = 1 }}
optimizer = {{ lr = 3e-4, min_lr = 3e-5, warmup_steps = 2, weight_decay = 0.01, clip_norm = 1.0 }}
{stage}
[evaluation]
samples = 0
batch = 3
examples = 0
"#
    )
}

/// 30 questions about 10 pictures of which one is missing and one is broken, and two shards of 8
/// captions.
pub fn place(stage: &str) -> Workplace {
    let place = Workplace::new();
    fs::write(place.path("run.toml"), run_file(stage)).expect("run file");
    fs::create_dir(place.path("pictures")).expect("folder");
    let picture = png();
    let mut lines = String::new();
    for n in 0..30 {
        let (image, word) = (n % 10, ["circle", "triangle", "square"][n % 3]);
        let question = "is there a circle ".repeat(1 + n % 5);
        writeln!(
            lines,
            "{{\"image\": \"{image}.png\", \"conversations\": [{{\"from\": \"human\", \"value\": \
             \"<image>\\n{question}?\"}}, {{\"from\": \"gpt\", \"value\": \"{word}\"}}]}}"
        )
        .expect("text");
        if image < 8 {
            fs::write(place.path(format!("pictures/{image}.png")), &picture).expect("picture");
        }
    }
    fs::write(place.path("own.jsonl"), lines).expect("lines");
    fs::write(place.path("pictures/8.png"), &picture[..picture.len() / 2]).expect("picture");
    for (shard, first) in [("a.tar", 0), ("b.tar", 8)] {
        let keys = first..first + 8;
        let members = keys.flat_map(|n| {
            let caption: &[u8] = b"a blue circle";
            [
                (format!("{n}.png"), &picture[..]),
                (format!("{n}.txt"), caption),
            ]
        });
        let members: Vec<_> = members.collect();
        let members: Vec<_> = members
            .iter()
            .map(|(name, it)| (name.as_str(), *it))
            .collect();
        fs::write(place.path(shard), tar(&members)).expect("shard");
    }
    place
}

pub fn png() -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let picture = image::RgbImage::from_fn(20, 12, |x, y| image::Rgb([x as u8 * 9, y as u8, 7]));
    picture
        .write_to(&mut bytes, image::ImageFormat::Png)
        .expect("png");
    bytes.into_inner()
}

fn train(place: &Workplace, settings: &[&str]) -> Ended {
    let mut args = vec!["train", "run.toml", "--device", "cpu"];
    for setting in settings {
        args.extend(["--set", setting]);
    }
    place.aki(&args)
}

#[test]
fn a_killed_run_goes_on_to_the_same_weights_packed_or_not() {
    for stage in ["", "packing = 120\nmax_text_len = 60"] {
        let place = place(stage);
        let ended = train(&place, &["run_dir=whole"]).good();
        assert!(ended.stderr.contains("of mine ("), "{}", ended.stderr);
        assert!(ended.stderr.contains("stage own: "), "{}", ended.stderr);
        assert!(ended.stderr.contains("% padding"), "{}", ended.stderr);
        assert!(
            ended.stdout.contains("No question was asked"),
            "{}",
            ended.stdout
        );
        let whole = place.weights("whole");

        let mut running = place.start_aki(&["train", "run.toml", "--device", "cpu"]);
        running.until(|| place.checkpoints("run", "own").len() == 2);
        running.kill();
        assert!(!place.path("run/report.json").exists());
        // Neither the threads nor the cut in two change a bit.
        let ended = train(&place, &["data.workers=3"]).good();
        assert!(
            ended.stderr.contains("resuming run at step "),
            "{}",
            ended.stderr
        );
        assert!(place.weights("run") == whole, "the weights differ");
        let points = |run: &str| {
            let lines = place.metrics(run);
            let losses = lines
                .iter()
                .map(|line: &Line| (line.point(), line.loss.to_string()));
            losses.collect::<Vec<_>>()
        };
        assert_eq!(points("run"), points("whole"));
    }
}

#[test]
fn mistakes_in_sources_are_told_before_anything_is_done() {
    let place = place("");
    let refused = |from: &str, to: &str| {
        let text = run_file("");
        assert!(text.contains(from), "{from}");
        fs::write(place.path("run.toml"), text.replacen(from, to, 1)).expect("run file");
        let told = train(&place, &[]).refused();
        assert!(!place.path("run/metrics.jsonl").exists());
        place.without_path(&told)
    };
    let told = refused("weight = 2.0", "wieght = 2.0");
    assert!(told.contains("did you mean \"weight\"?"), "{told}");
    let told = refused("caption = \"txt\"", "caption = \"text\"");
    assert!(told.contains("data.source.captions.caption"), "{told}");
    let told = refused("kind = \"jsonl\"", "kind = \"vqa\"");
    assert!(
        told.contains("source mine: kind \"vqa\" needs the key \"questions\""),
        "{told}"
    );
    let told = refused("name = \"captions\"", "name = \"mine\"");
    assert!(told.contains("two are called \"mine\""), "{told}");
    let told = refused("images = \"pictures\"", "images = \"no\"");
    assert!(told.contains("there is no folder"), "{told}");
    let told = refused("{a,b}.tar", "{a,b,c}.tar");
    assert!(told.contains("c.tar"), "{told}");
    let told = refused("batch = 2", "batch = 2\nsources = [\"held\"]");
    assert!(told.contains("source \"held\" is `valid`"), "{told}");
    let told = refused("batch = 2", "batch = 2\nsources = [\"mien\"]");
    assert!(
        told.contains("there is no source \"mien\" to train on; there are mine"),
        "{told}"
    );
    let told = refused("batch = 2", "batch = 2\npacking = 3");
    assert!(told.contains("stage.own.packing"), "{told}");
    let told = refused("batch = 2", "batch = 2\nquestions_per_picture = 3");
    assert!(told.contains("stage.own.questions_per_picture"), "{told}");
}

#[test]
fn a_run_stops_when_too_many_samples_are_broken_and_goes_on_when_more_are_allowed() {
    let place = place("");
    train(&place, &["run_dir=whole"]).good();
    let ended = train(&place, &["data.max_bad_share=0.05"]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let told = "samples of mine cannot be used";
    assert!(ended.stderr.contains(told), "{}", ended.stderr);
    let told = "more than the share of 0.05";
    assert!(ended.stderr.contains(told), "{}", ended.stderr);
    let kept = place.checkpoints("run", "own");
    assert!(!kept.is_empty(), "what was done is kept");
    train(&place, &[]).good();
    assert!(place.weights("run") == place.weights("whole"));

    // Six of thirty records have a picture that is missing or broken; each is written down once.
    let skipped = fs::read_to_string(place.path("run/skipped.jsonl")).expect("skipped samples");
    let keys = skipped.lines().map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).expect(line);
        assert_eq!(line["source"], "mine");
        line["key"].as_str().expect("a key").to_owned()
    });
    let mut keys: Vec<_> = keys.collect();
    keys.sort();
    assert_eq!(keys, ["10", "19", "20", "29", "30", "9"]);
}

#[test]
#[cfg(unix)]
fn a_run_that_is_interrupted_at_once_goes_on() {
    let place = place("packing = 120");
    train(&place, &["run_dir=whole"]).good();
    let mut running = place.start_aki(&["train", "run.toml", "--device", "cpu"]);
    running.until(|| place.path("run/config.toml").exists());
    let ended = running.interrupt();
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
    train(&place, &[]).good();
    assert!(place.weights("run") == place.weights("whole"));
}

#[test]
fn a_pipe_that_ends_too_soon_is_told_and_what_was_learned_is_kept() {
    let place = place("");
    let piped = run_file("sources = [\"captions\"]").replace("{a,b}.tar", "-");
    fs::write(place.path("run.toml"), piped).expect("run file");
    let mut command = command(&place.path(""));
    command.args(["train", "run.toml", "--device", "cpu"]);
    let ended = finish(command, fs::read(place.path("a.tar")).expect("a shard"));
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let told = "they ended after 4 of 300 steps; standard input is read once";
    assert!(ended.stderr.contains(told), "{}", ended.stderr);
    assert_eq!(place.checkpoints("run", "own"), [4]);
}

#[test]
fn a_run_may_begin_with_the_weights_of_another() {
    let place = place("");
    train(&place, &["run_dir=first", "stage.own.optimizer.lr=3e-3"]).good();
    let first_loss = |settings: &[&str]| {
        let few = ["stage.own.steps=3", "seed=2"];
        train(&place, &[settings, &few].concat()).good();
        place.metrics(&settings[0]["run_dir=".len()..])[0].loss
    };
    let drawn = first_loss(&["run_dir=drawn"]);
    // How that one's tower was shown pictures, too, which stays known.
    let model = |run: &str| -> serde_json::Value {
        let text = fs::read_to_string(place.path(run).join("model/config.json")).expect(run);
        serde_json::from_str(&text).expect("JSON")
    };
    let mut other = model("first");
    other["norm_mean"] = serde_json::json!([0.5, 0.5, 0.25]);
    fs::write(place.path("first/model/config.json"), other.to_string()).expect("a file");
    let begun = first_loss(&["run_dir=begun", "start=first", "data.exif_orientation=true"]);
    assert_eq!(model("drawn")["norm_mean"], 0.5);
    assert_eq!(model("drawn").get("exif_orientation"), None);
    assert_eq!(model("begun")["norm_mean"], other["norm_mean"]);
    assert_eq!(model("begun")["exif_orientation"], true);
    assert!(begun < drawn - 0.5, "{begun} and {drawn}");
    let shown = [
        "data",
        "preview",
        "run.toml",
        "--set",
        "text.tokenizer=first",
        "--json",
    ];
    let shown = place
        .aki(&[&shown[..], &["--source", "captions", "--limit", "1"]].concat())
        .good();
    assert!(
        shown.stdout.contains("a blue circle<|endofchunk|>"),
        "{}",
        shown.stdout
    );
    // The checkpoint has all weights, so those it began with may be gone.
    fs::remove_file(place.path("begun/report.json")).expect("the report");
    fs::rename(place.path("first"), place.path("gone")).expect("another name");
    let again = [
        "run_dir=begun",
        "start=first",
        "seed=2",
        "stage.own.steps=3",
        "data.exif_orientation=true",
    ];
    let told = train(&place, &again).good();
    assert_eq!(model("begun")["norm_mean"], other["norm_mean"]);
    assert!(
        told.stdout.contains("No question was asked"),
        "{}",
        told.stdout
    );
    fs::rename(place.path("gone"), place.path("first")).expect("its name");
    let told = train(&place, &["run_dir=none", "start=pictures"]).refused();
    assert!(told.contains("no model is here"), "{told}");
    let other = [
        "run_dir=other",
        "start=first",
        "model.language.hidden_size=16",
    ];
    let told = train(&place, &other).refused();
    assert!(told.contains("shape"), "{told}");
    assert!(!place.path("other/metrics.jsonl").exists());
}
