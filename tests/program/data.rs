//! Looking at the data of a run: `aki data`.

use std::fmt::Write;
use std::fs;
use std::io::Cursor;
use std::path::Path;

use serde_json::Value;

use crate::support::{Workplace, asset, repository, tar, text};

const SHORT: &str = "answer the question using a single word or phrase.";
const HEAD: &str = "<s><|system|> answer the question about the picture.<|end|><|user|>";

/// Media tokens of a picture in the shipped run.
const MEDIA: usize = 16;

/// A PNG of a size.
fn png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let picture = image::RgbImage::from_pixel(width, height, image::Rgb([200, 30, 30]));
    picture
        .write_to(&mut bytes, image::ImageFormat::Png)
        .expect("writing to memory");
    bytes.into_inner()
}

/// A run with three sources: `vqa` (two of four pictures are bad), `own` (one of three lines is) and
/// `txt`, to be measured on (one of three samples has no picture).
struct Run {
    place: Workplace,
}

impl Run {
    fn new() -> Self {
        let place = Workplace::new();
        fs::create_dir(place.path("images")).expect("a folder");
        let write = |name: &str, bytes: &[u8]| fs::write(place.path(name), bytes).expect("a file");
        let jpeg = "aki-data/tests/fixtures/pillow_modes/420_61x47.jpg";
        let jpeg = fs::read(repository().join(jpeg)).expect("a JPEG");
        write("images/COCO_train2014_000000000001.jpg", &jpeg);
        write("images/COCO_train2014_000000000002.jpg", &png(5, 4));
        write("images/COCO_train2014_000000000004.jpg", &jpeg[..200]);
        write("images/a.png", &png(3, 2));
        write(
            "questions.json",
            br#"{"info": {}, "questions": [
                {"image_id": 1, "question": "What color is the circle?", "question_id": 10},
                {"image_id": 2, "question": "Is there a triangle?", "question_id": 11},
                {"image_id": 3, "question": "What is it?", "question_id": 12},
                {"image_id": 4, "question": "What is it?", "question_id": 13},
                {"image_id": 4, "question": "Why?", "question_id": 14}]}"#,
        );
        write(
            "annotations.json",
            br#"{"annotations": [
                {"question_id": 11, "multiple_choice_answer": "no"},
                {"question_id": 10, "multiple_choice_answer": "blue"},
                {"question_id": 12, "multiple_choice_answer": "red"},
                {"question_id": 13, "multiple_choice_answer": "yes"}]}"#,
        );
        write("own.jsonl", OWN.as_bytes());
        let captions: [(&str, &[u8]); 5] = [
            ("0.png", &png(2, 2)),
            ("0.txt", b"a blue circle\n"),
            ("1.png", &png(2, 3)),
            ("1.txt", b"an <image> that does not <|end|>"),
            ("2.txt", b"nothing to be seen"),
        ];
        write("captions.tar", &tar(&captions));
        write("run.toml", run_file(SOURCES, &stage("tuning")).as_bytes());
        Self { place }
    }

    /// The lines of `aki data preview --json`, and what is said beside.
    fn preview(&self, args: &[&str]) -> (Vec<Value>, String) {
        let args = [&["data", "preview", "run.toml", "--json"], args].concat();
        let ended = self.place.aki(&args).good();
        let lines = ended.stdout.lines();
        let lines = lines.map(|line| serde_json::from_str(line).expect("JSON"));
        (lines.collect(), ended.stderr)
    }
}

const OWN: &str = r#"{"id": "two", "image": ["a.png", "COCO_train2014_000000000002.jpg"], "conversations": [{"from": "human", "value": "<image>\n<image>\nWhat is this?"}, {"from": "gpt", "value": "red"}, {"from": "human", "value": "And that?"}, {"from": "gpt", "value": "blue"}]}
{"image": "a.png",
{"messages": [{"role": "user", "content": "What is <image> or <|end|>?"}, {"role": "assistant", "content": "no <|endoftext|>"}]}
"#;

const SOURCES: &str = r#"
[[data.source]]
kind = "vqa"
questions = "questions.json"
annotations = "annotations.json"
images = "images"

[[data.source]]
name = "own"
kind = "jsonl"
annotations = "own.jsonl"
images = "images"

[[data.source]]
kind = "webdataset"
caption = "txt"
shards = "captions.tar"
valid = true
"#;

/// A stage that learns from sources.
fn stage(name: &str) -> String {
    format!(
        r#"
[[stage]]
name = "{name}"
target = "sources"
attention = "mma"
steps = 2
batch = 2
max_text_len = 120
packing = 256
threads = 1
evaluate_every = 1
checkpoint_every = 1
augmentation = {{ flip = 0.5, shift = 8 }}
optimizer = {{ lr = 3e-4, min_lr = 3e-5, warmup_steps = 1, weight_decay = 0.01, clip_norm = 1.0 }}
"#
    )
}

/// The shipped network with other data and stages.
fn run_file(sources: &str, stages: &str) -> String {
    let shipped = fs::read_to_string(asset("configs/easy-vqa.toml")).expect("the run file");
    let model = shipped.find("[model.vision]").expect("a network");
    let end = shipped.find("[[stage]]").expect("stages");
    format!(
        "run_dir = \"run\"\nseed = 1\n\
         [text]\ntokenizer = {:?}\nsystem = \"Answer the question about the picture.\"\n\
         [data]\nvalid_samples = 2\nexif_orientation = false\n{sources}\n{}{stages}\n\
         [evaluation]\nsamples = 0\nbatch = 2\nexamples = 0\n",
        asset("easy-vqa/tokenizer.json"),
        &shipped[model..end]
    )
}

/// The ids of words and special tokens in the shipped tokenizer.
fn ids(tokens: &[&str]) -> Vec<i64> {
    let text = fs::read_to_string(asset("easy-vqa/tokenizer.json")).expect("a tokenizer");
    let json: Value = serde_json::from_str(&text).expect("JSON");
    let added = json["added_tokens"].as_array().expect("a list");
    let id = |token: &&str| {
        let added = added.iter().find(|added| added["content"] == **token);
        let id = added.map_or(&json["model"]["vocab"][*token], |added| &added["id"]);
        id.as_i64().expect("an id")
    };
    tokens.iter().map(id).collect()
}

fn numbers(list: &Value) -> Vec<i64> {
    let list = list.as_array().expect("a list");
    list.iter()
        .map(|id| id.as_i64().expect("a number"))
        .collect()
}

#[test]
fn samples_are_shown_as_training_takes_them() {
    let run = Run::new();
    let (shown, told) = run.preview(&["--source", "vqa"]);
    let [first, second] = &shown[..] else {
        panic!("two of four can be used: {shown:?}");
    };
    let keys: Vec<_> = first.as_object().expect("an object").keys().collect();
    let expected = ["source", "key", "image", "text", "input_ids", "labels"];
    assert_eq!(keys, expected);
    assert_eq!(first["source"], "vqa");
    assert_eq!(first["key"], "10");
    let picture = run.place.path("images/COCO_train2014_000000000001.jpg");
    assert_eq!(first["image"], text(&picture));
    let question = "what color is the circle?";
    let whole = format!("{HEAD}<image> {SHORT} {question}<|end|><|assistant|> blue<|endoftext|>");
    assert_eq!(first["text"], whole);
    assert_eq!(second["key"], "11");

    // The picture's places follow <s>, the system line of nine tokens in its tags, and <|user|>.
    let input = numbers(&first["input_ids"]);
    let image = ids(&["<image>"])[0];
    let begin = ids(&[
        "<s>",
        "<|system|>",
        "Ġanswer",
        "Ġthe",
        "Ġquestion",
        "Ġabout",
    ]);
    assert!(input.starts_with(&begin), "{input:?}");
    let places: Vec<usize> = (0..input.len()).filter(|&at| input[at] == image).collect();
    let start = places[0];
    assert_eq!(places, (start..start + MEDIA).collect::<Vec<_>>());
    assert_eq!(input[start - 2..start], ids(&["<|end|>", "<|user|>"]));
    let end = ids(&["<|end|>", "<|assistant|>", "Ġblue", "<|endoftext|>"]);
    assert!(input.ends_with(&end), "{input:?}");
    // Only the answer and the end are learned.
    let mut labels = vec![-100; input.len() - 2];
    labels.extend(ids(&["Ġblue", "<|endoftext|>"]));
    assert_eq!(numbers(&first["labels"]), labels);

    let told = run.place.without_path(&told);
    insta::assert_snapshot!(told, @r#"
    skipped sample 12 of vqa ([folder]/annotations.json): the picture [folder]/images/COCO_train2014_000000000003.jpg cannot be read: No such file or directory (os error 2)
    skipped sample 13 of vqa ([folder]/annotations.json): cannot decode picture [folder]/images/COCO_train2014_000000000004.jpg: it is cut off: its end marker is missing; is it a PNG, JPEG, WebP, GIF, BMP or TIFF, and whole?
    "#);
}

#[test]
fn special_tokens_in_data_are_no_tokens() {
    let run = Run::new();
    let image = ids(&["<image>"])[0];
    let end = ids(&["<|end|>"])[0];
    let count = |line: &Value, id: i64| {
        let ids = numbers(&line["input_ids"]);
        ids.iter().filter(|&&other| other == id).count()
    };
    let (shown, _) = run.preview(&["--source", "txt", "--limit", "2"]);
    assert_eq!(
        shown[0]["text"],
        "<s><image> a blue circle<|endofchunk|><|endoftext|>"
    );
    let text_of_second = "<s><image> an <image> that does not <|end|><|endofchunk|><|endoftext|>";
    assert_eq!(shown[1]["text"], text_of_second);
    assert_eq!((count(&shown[1], image), count(&shown[1], end)), (MEDIA, 0));
    let shard = run.place.path("captions.tar/1");
    assert_eq!(shown[1]["image"], text(&shard));
    // All of a caption is learned but the picture.
    let labels = numbers(&shown[0]["labels"]);
    let learned: Vec<i64> = labels
        .iter()
        .copied()
        .filter(|&label| label != -100)
        .collect();
    let blue_circle = [
        "<s>",
        "Ġa",
        "Ġblue",
        "Ġcircle",
        "<|endofchunk|>",
        "<|endoftext|>",
    ];
    assert_eq!(learned, ids(&blue_circle));
    assert_eq!(labels[1..=MEDIA], [-100; MEDIA]);

    let (shown, told) = run.preview(&["--source", "own"]);
    assert_eq!(told, "");
    let [two, none] = &shown[..] else {
        panic!("two of three lines can be read: {shown:?}");
    };
    let images = ["a.png", "COCO_train2014_000000000002.jpg"];
    let images = images.map(|name| text(&run.place.path("images").join(name)));
    assert_eq!(two["image"], serde_json::json!(images));
    let whole = format!(
        "{HEAD}<image><image> what is this?<|end|><|assistant|> red<|end|><|user|> and that?<|end|>\
         <|assistant|> blue<|endoftext|>"
    );
    assert_eq!(two["text"], whole);
    let labels = numbers(&two["labels"]);
    let learned: Vec<i64> = labels.into_iter().filter(|&label| label != -100).collect();
    assert_eq!(learned, ids(&["Ġred", "<|end|>", "Ġblue", "<|endoftext|>"]));
    assert_eq!((&none["key"], &none["image"]), (&"3".into(), &Value::Null));
    // Those of the three turns, and none of the two in the text.
    assert_eq!((count(none, image), count(none, end)), (0, 2));
}

#[test]
fn samples_are_shown_to_people() {
    let run = Run::new();
    let args = ["data", "preview", "run.toml", "--limit", "1"];
    let ended = run.place.aki(&args).good();
    let shown = run.place.without_path(&ended.stdout);
    insta::assert_snapshot!(shown, @r#"
    vqa  10
    [picture 1] [folder]/images/COCO_train2014_000000000001.jpg  61 x 47
    <s><|system|> answer the question about the picture.<|end|><|user|>[picture 1] answer the question using a single word or phrase. what color is the circle?<|end|><|assistant|> blue<|endoftext|>
    66 tokens, 2 of them learned

    own  two
    [picture 1] [folder]/images/a.png  3 x 2
    [picture 2] [folder]/images/COCO_train2014_000000000002.jpg  5 x 4
    <s><|system|> answer the question about the picture.<|end|><|user|>[picture 1][picture 2] what is this?<|end|><|assistant|> red<|end|><|user|> and that?<|end|><|assistant|> blue<|endoftext|>
    62 tokens, 4 of them learned

    txt  0
    [picture 1] [folder]/captions.tar/0  2 x 2
    <s>[picture 1] a blue circle<|endofchunk|><|endoftext|>
    22 tokens, 5 of them learned
    "#);
    assert_eq!(ended.stderr, "");
}

/// A text is cut where training cuts it, and nothing is learned of one that ends before its answer.
#[test]
fn texts_are_cut() {
    let run = Run::new();
    let length = ["--source", "own", "--set", "stage.tuning.max_text_len=24"];
    let (shown, told) = run.preview(&length);
    let expected =
        format!("{HEAD}<image><image> what is this?<|end|><|assistant|> red<|end|><|user|>");
    assert_eq!(shown.len(), 1, "{told}");
    assert_eq!(shown[0]["text"], expected);
    let places = numbers(&shown[0]["input_ids"]).len();
    assert_eq!(places, 24 + 2 * (MEDIA - 1));
    insta::assert_snapshot!(run.place.without_path(&told), @"skipped sample 3 of own ([folder]/own.jsonl): within the limit of its length there is nothing to learn; raise max_text_len");
}

/// The run that comes with aki has no sources.
#[test]
fn the_shipped_run_is_shown() {
    let place = Workplace::new();
    let mut command = crate::support::command(&repository());
    command.args([
        "data", "preview", "--source", "test", "--limit", "1", "--json",
    ]);
    let ended = crate::support::finish(command, "").good();
    let shown: Value = serde_json::from_str(&ended.stdout).expect("one object");
    assert_eq!(shown["source"], "test");
    assert_eq!(
        shown["image"],
        asset("easy-vqa/test.tar") + "/" + shown["key"].as_str().expect("a key")
    );
    let whole = shown["text"].as_str().expect("text");
    assert!(whole.starts_with(&format!("{HEAD}<image> ")), "{whole}");
    let args = [
        "data",
        "preview",
        &asset("configs/easy-vqa.toml"),
        "--stage",
        "captions",
    ];
    let ended = place.aki(&[&args[..], &["--limit", "1"]].concat()).good();
    insta::assert_snapshot!(ended.stdout.replace(&asset("easy-vqa"), "[assets]"), @r#"
    train  00000
    [picture 1] [assets]/train.tar/00000  64 x 64
    <s>[picture 1] a blue rectangle<|endofchunk|><|endoftext|>
    22 tokens, 5 of them learned

    test  00000
    [picture 1] [assets]/test.tar/00000  64 x 64
    <s>[picture 1] a red triangle<|endofchunk|><|endoftext|>
    22 tokens, 5 of them learned
    "#);
}

#[test]
fn everything_is_counted() {
    let run = Run::new();
    let args = [
        "data",
        "check",
        "run.toml",
        "--set",
        "stage.tuning.max_text_len=49",
    ];
    let ended = run.place.aki(&args);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert_eq!(ended.stderr, "");
    insta::assert_snapshot!(run.place.without_path(&ended.stdout), @r#"
    stage tuning: batches of 2, texts of at most 49 tokens, packed into rows of 256 tokens

    vqa (vqa)
      samples     4: 1 good, 3 broken
      broken      1 broken picture; the first is "13" in [folder]/annotations.json: cannot decode picture [folder]/images/COCO_train2014_000000000004.jpg: it is cut off: its end marker is missing; is it a PNG, JPEG, WebP, GIF, BMP or TIFF, and whole?
      broken      1 missing picture; the first is "12" in [folder]/annotations.json: the picture [folder]/images/COCO_train2014_000000000003.jpg cannot be read: No such file or directory (os error 2)
      broken      1 nothing to learn; the first is "10" in [folder]/annotations.json: within the limit of its length there is nothing to learn; raise max_text_len
      left out    1: question and answer are not both there; the first is "14"
      pictures    1 in 1 sample
      text tokens 50 to 50, mean 50.0, median 50, 95 % up to 50
                      <= 64      1 ████████████████████████████████████████
      longer      1 than 49 tokens, and cut
      places      64 to 64, mean 64.0, median 64, 95 % up to 64
      padding     0.0 % in batches of 2; 0.0 % packed into rows of 256

    own (jsonl)
      samples     2: 2 good, 0 broken
      left out    1: it is not JSON; the first is "2"
      pictures    0 in 1 sample, 2 in 1 sample
      text tokens 32 to 44, mean 38.0, median 32, 95 % up to 44
                      <= 32      1 ████████████████████████████████████████
                      <= 64      1 ████████████████████████████████████████
      longer      0 than 49 tokens, and cut
      places      44 to 62, mean 53.0, median 44, 95 % up to 62
      padding     7.8 % in batches of 2; 9.7 % packed into rows of 256

    txt (webdataset, valid)
      shards      1
      samples     3: 2 good, 1 broken
      broken      1 no picture; the first is "2" in [folder]/captions.tar: no picture: a .jpg, .png, .webp, .gif, .bmp or .tif member
      pictures    1 in 2 samples
      text tokens 7 to 21, mean 14.0, median 7, 95 % up to 21
                       <= 8      1 ████████████████████████████████████████
                      <= 16      0
                      <= 32      1 ████████████████████████████████████████
      longer      0 than 49 tokens, and cut
      places      22 to 36, mean 29.0, median 22, 95 % up to 36
      padding     10.8 % in batches of 2

    padding of all in stage tuning: 6.2 % in batches of 2; 4.6 % packed into rows of 256
    bad: 4 of 5 samples of vqa are broken, more than the share of 0.01 that data.max_bad_share allows
    bad: 1 of 3 samples of own are broken, more than the share of 0.01 that data.max_bad_share allows
    bad: 1 of 3 samples of txt are broken, more than the share of 0.01 that data.max_bad_share allows
    "#);

    let args = [
        "data",
        "check",
        "run.toml",
        "--json",
        "--set",
        "data.max_bad_share=0.6",
    ];
    for more in [
        &[][..],
        &["--set", "data.workers=1"],
        &["--no-decode", "--set", "data.workers=3"],
    ] {
        let ended = run.place.aki(&[&args[..], more].concat()).good();
        let report: Value = serde_json::from_str(&ended.stdout).expect("JSON");
        assert_eq!(report["good"], true);
        let sources = report["sources"].as_array().expect("a list");
        let count = |source: &Value| ["samples", "good"].map(|key| source[key].as_u64());
        let counts: Vec<_> = sources.iter().map(count).collect();
        assert_eq!(
            counts,
            [[Some(4), Some(2)], [Some(2), Some(2)], [Some(3), Some(2)]]
        );
        let vqa = &sources[0];
        assert_eq!(vqa["broken"]["missing picture"]["count"], 1);
        assert_eq!(vqa["broken"]["missing picture"]["key"], "12");
        assert_eq!(vqa["broken"]["broken picture"]["key"], "13");
        assert_eq!(vqa["left_out"][0]["key"], "14");
        assert_eq!(sources[1]["pictures"], serde_json::json!({"0": 1, "2": 1}));
        assert_eq!(sources[2]["shards"], 1);
        assert_eq!(sources[2]["broken"]["no picture"]["key"], "2");
    }
}

#[test]
fn declared_samples_and_limits_are_compared() {
    let run = Run::new();
    fs::write(run.place.path("sizes.json"), r#"{"captions.tar": 4}"#).expect("a file");
    let args = ["data", "check", "run.toml", "--source", "txt", "--json"];
    let ended = run
        .place
        .aki(&[&args[..], &["--set", "data.max_bad_share=0.4"]].concat())
        .good();
    let report: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    let source = &report["sources"][0];
    assert_eq!(
        (source["declared"].as_u64(), source["samples"].as_u64()),
        (Some(4), Some(3))
    );
    assert_eq!(report["sources"].as_array().map(Vec::len), Some(1));
    let ended = run.place.aki(&args);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);

    // A text of 30 tokens fits no row of 40: the picture takes 16.
    let args = ["data", "check", "run.toml", "--source", "own", "--json"];
    let packing = ["--set", "stage.tuning.packing=40"];
    let ended = run.place.aki(&[&args[..], &packing].concat());
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let report: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!(report["sources"][0]["broken"]["too long"]["key"], "two");
}

#[test]
fn mistakes_in_a_data_command_are_told() {
    let run = Run::new();
    let refused = |args: &[&str]| {
        let message = run.place.aki(&[&["data"], args].concat()).refused();
        run.place.without_path(&message)
    };
    let message = refused(&["preview", "run.toml", "--source", "vqs"]);
    insta::assert_snapshot!(message, @r#"error: there is no source "vqs"; did you mean "vqa"? (there are: vqa, own, txt)"#);
    let message = refused(&[
        "check", "run.toml", "--source", "vqa", "--source", "captions",
    ]);
    insta::assert_snapshot!(message, @r#"error: there is no source "captions" (there are: vqa, own, txt)"#);
    let message = refused(&["check", "run.toml", "--stage", "tunning"]);
    insta::assert_snapshot!(message, @r#"error: there is no stage "tunning"; did you mean "tuning"? (there are: tuning)"#);
    let message = refused(&["check", &asset("configs/easy-vqa.toml")]);
    insta::assert_snapshot!(message, @"error: stage questions learns from data.train, which `aki train` reads whole before it begins, and from no [[data.source]]: there is nothing to check");
    let message = refused(&["check", "run.toml", "--limit", "3"]);
    assert!(
        message.contains("unexpected argument '--limit'"),
        "{message}"
    );

    let wrong = SOURCES.replace("annotations = \"own", "anotations = \"own");
    fs::write(
        run.place.path("wrong.toml"),
        run_file(&wrong, &stage("tuning")),
    )
    .expect("a file");
    insta::assert_snapshot!(refused(&["preview", "wrong.toml"]), @r#"error: unknown key "data.source.own.anotations" in wrong.toml line 19; did you mean "annotations"?"#);
    let stages = stage("first") + &stage("second");
    fs::write(run.place.path("two.toml"), run_file(SOURCES, &stages)).expect("a file");
    insta::assert_snapshot!(refused(&["preview", "two.toml"]), @"error: several stages learn from sources, and texts may differ in length; choose one with --stage: first, second");
    fs::remove_dir_all(run.place.path("images")).expect("a folder");
    insta::assert_snapshot!(refused(&["check", "run.toml"]), @"error: cannot use data source vqa: there is no folder [folder]/images");
    assert!(
        !run.place
            .names()
            .iter()
            .any(|name| Path::new(name).starts_with("run"))
    );
}

/// Standard input is a shard that never ends here.
#[cfg(target_os = "linux")]
#[test]
fn a_check_is_stopped_by_ctrl_c() {
    let place = Workplace::new();
    let sources = "[[data.source]]\nkind = \"webdataset\"\ncaption = \"txt\"\nshards = \"-\"\n";
    fs::write(place.path("run.toml"), run_file(sources, &stage("tuning"))).expect("a file");
    let mut running = place.start_waiting(&["data", "check", "run.toml"]);
    let status = format!("/proc/{}/status", running.id());
    // Bit 1 of the signals that are caught is that of signal 2.
    let caught = || {
        let status = fs::read_to_string(&status).unwrap_or_default();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let caught = caught.and_then(|caught| u64::from_str_radix(caught.trim(), 16).ok());
        caught.is_some_and(|caught| caught & 2 != 0)
    };
    running.until(caught);
    let ended = running.interrupt();
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
    assert_eq!(ended.stdout, "");
}

#[test]
fn data_of_which_too_much_cannot_be_packed() {
    let run = Run::new();
    let args = [
        "data",
        "pack-shards",
        "own.jsonl",
        "out",
        "--images",
        "images",
    ];
    let ended = run.place.aki(&[&args[..], &["--samples", "1"]].concat());
    // One of three lines is more than the tenth that may be unusable.
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    let message = run.place.without_path(ended.stderr.trim_end());
    insta::assert_snapshot!(message, @r#"error: 1 of 3 entries cannot be used (not JSON 1), more than the share of 0.1 allowed; the last was "2" in own.jsonl: its record cannot be used: it is not JSON; mend the data, or raise the share"#);
}

#[test]
fn own_data_are_packed_and_read_back() {
    let run = Run::new();
    let mut lines = String::new();
    for number in 0..20 {
        let image = if number == 7 { "b.png" } else { "a.png" };
        writeln!(
            lines,
            "{{\"image\": \"{image}\", \"caption\": \"circle {number}\"}}"
        )
        .expect("text");
    }
    fs::write(run.place.path("captions.jsonl"), lines).expect("a file");
    let args = [
        "data",
        "pack-shards",
        "captions.jsonl",
        "out",
        "--images",
        "images",
    ];
    let ended = run
        .place
        .aki(&[&args[..], &["--samples", "10"]].concat())
        .good();
    assert_eq!(ended.stderr, "");
    insta::assert_snapshot!(ended.stdout, @r#"
    19 samples of 20 in 2 shards, 0.0 MB, in out
    left out 1: missing picture; the first is number 8: the picture images/b.png cannot be read: No such file or directory (os error 2)
    "#);
    let sources = "[[data.source]]\nkind = \"webdataset\"\ncaption = \"txt\"\n\
                   shards = \"out/{00000..00001}.tar\"\n";
    fs::write(
        run.place.path("run.toml"),
        run_file(sources, &stage("tuning")),
    )
    .expect("a file");
    let ended = run
        .place
        .aki(&["data", "check", "run.toml", "--json"])
        .good();
    let report: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    let source = &report["sources"][0];
    let counts = ["shards", "declared", "good"].map(|key| source[key].as_u64());
    assert_eq!(counts, [Some(2), Some(19), Some(19)]);
    let (shown, _) = run.preview(&["--limit", "1"]);
    assert_eq!(
        shown[0]["text"],
        "<s><image> circle 0<|endofchunk|><|endoftext|>"
    );

    let message = run.place.aki(&args).refused();
    insta::assert_snapshot!(message, @"error: cannot pack shards: out: the folder is not empty; name a new one, or remove what is in it");
    let message = run
        .place
        .aki(&[&args[..4], &["--bytes", "5 apples"]].concat())
        .refused();
    assert!(
        message.contains("a whole number with its unit is expected, like 5GB or 500MB"),
        "{message}"
    );
}
