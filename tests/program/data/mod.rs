//! Looking at the data of a run: `aki data`.

mod check;
mod pack;
mod preview;

use std::fs;
use std::io::Cursor;

use serde_json::Value;

use crate::support::{Workplace, asset, repository, tar};

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
