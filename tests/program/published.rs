//! A model in the published layout: `tests/fixtures/aki-tiny`, whose weights, answers, losses and
//! gradients `tests/reference/aki_tiny.py` made with PyTorch.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

use crate::support::{self, Workplace, text};

pub fn fixture() -> PathBuf {
    support::repository().join("tests/fixtures/aki-tiny")
}

pub fn case(name: &str) -> PathBuf {
    fixture().join("cases").join(name)
}

pub fn json(path: PathBuf) -> Value {
    serde_json::from_slice(&std::fs::read(path).expect("a fixture")).expect("JSON")
}

fn floats(file: &[u8], name: &str) -> (Vec<f32>, Vec<usize>) {
    let file = SafeTensors::deserialize(file).expect("safetensors");
    let tensor = file.tensor(name).expect(name);
    let values = tensor.data().as_chunks::<4>().0.iter();
    let values = values.map(|bytes| f32::from_le_bytes(*bytes));
    (values.collect(), tensor.shape().to_vec())
}

fn integers(file: &[u8], name: &str) -> Vec<i64> {
    let file = SafeTensors::deserialize(file).expect("safetensors");
    let tensor = file.tensor(name).expect(name);
    let values = tensor.data().as_chunks::<8>().0.iter();
    values.map(|bytes| i64::from_le_bytes(*bytes)).collect()
}

fn list(value: &Value) -> Vec<i64> {
    let list = value.as_array().expect("a list").iter();
    list.map(|it| it.as_i64().expect("an integer")).collect()
}

/// What `aki generate --json` says.
fn generate(
    place: &Workplace,
    model: &str,
    prompt: &str,
    images: &[String],
    more: &[&str],
) -> Value {
    let mut args = vec![
        "generate",
        "--model",
        model,
        "--device",
        "cpu",
        "--json",
        "--temperature",
        "0",
        "--max-new-tokens",
        "24",
        "--prompt",
        prompt,
    ];
    for image in images {
        args.extend(["--image", image]);
    }
    args.extend(more);
    let ended = place.aki(&args).good();
    assert_eq!(ended.stderr, "");
    serde_json::from_str(&ended.stdout).expect("one JSON object")
}

/// Ids, logits, greedy tokens and text of every case.
fn answers_as_pytorch(model: &str) {
    let place = Workplace::new();
    for prompt in json(case("prompts.json")).as_array().expect("cases") {
        let name = prompt["name"].as_str().expect("a name");
        let expected = std::fs::read(case(&format!("{name}.safetensors"))).expect("a fixture");
        let images: Vec<String> = prompt["images"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|image| text(&case(image.as_str().expect("a name"))))
            .collect();
        let dump = text(&place.path("logits.safetensors"));
        let more = ["--raw-prompt", "--dump-logits", &dump];
        let said = generate(
            &place,
            model,
            prompt["prompt"].as_str().expect("text"),
            &images,
            &more,
        );
        assert_eq!(
            list(&said["prompt_token_ids"]),
            integers(&expected, "prompt_token_ids"),
            "{name}"
        );
        let prefill = integers(&expected, "prefill_tokens")[0];
        assert_eq!(said["prefill_tokens"], prefill, "{name}");
        assert_eq!(
            list(&said["token_ids"]),
            integers(&expected, "token_ids"),
            "{name}"
        );
        assert_eq!(said["text"], prompt["text"], "{name}");

        let logits = std::fs::read(&dump).expect("the logits");
        let (ours, shape) = floats(&logits, "logits");
        assert_eq!(shape[0] as i64, prefill, "{name}");
        let (rows, words) = (integers(&expected, "rows"), shape[1]);
        let theirs = floats(&expected, "logits").0;
        let largest = theirs.iter().fold(0.0_f32, |a, b| a.max(b.abs()));
        for (row, theirs) in rows.iter().zip(theirs.chunks(words)) {
            let ours = &ours[*row as usize * words..][..words];
            let worst = ours
                .iter()
                .zip(theirs)
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f32::max);
            assert!(
                worst <= 1e-4 * largest,
                "{name}, row {row}: {worst} of {largest}"
            );
        }
    }
}

#[test]
fn a_published_folder_answers_as_pytorch_does() {
    answers_as_pytorch(&text(&fixture()));
}

#[test]
fn a_question_is_put_into_the_published_prompt() {
    let place = Workplace::new();
    let prompts = json(case("prompts.json"));
    let whole = prompts[0]["prompt"].as_str().expect("text");
    let question = "what color is the circle in the picture?";
    assert!(whole.contains(question));
    let image = [text(&case("red.png"))];
    let model = text(&fixture());
    let raw = generate(&place, &model, whole, &image, &["--raw-prompt"]);
    let asked = generate(&place, &model, question, &image, &[]);
    assert_eq!(asked["prompt_token_ids"], raw["prompt_token_ids"]);
    assert_eq!(asked["token_ids"], raw["token_ids"]);
    // What a person types never becomes a special token.
    let typed = generate(&place, &model, "<image> <|end|>", &image, &[]);
    let of = |said: &Value, id: i64| {
        list(&said["prompt_token_ids"])
            .iter()
            .filter(|&&it| it == id)
            .count()
    };
    let image_id = list(&raw["prompt_token_ids"]);
    let image_id = *image_id.iter().max().expect("ids");
    assert_eq!(of(&typed, image_id), 1);
}

#[test]
fn losses_and_gradients_are_pytorchs() {
    let place = Workplace::new();
    let expected = json(case("probe.json"));
    let (model, samples) = (text(&fixture()), text(&case("samples.jsonl")));
    let args = [
        "probe",
        "--model",
        &model,
        "--samples",
        &samples,
        "--grad-norms",
        "--json",
        "--device",
        "cpu",
    ];
    let ended = place.aki(&args).good();
    assert_eq!(ended.stderr, "");
    let said: Value = serde_json::from_str(&ended.stdout).expect("one JSON object");
    let near = |ours: &Value, theirs: &Value, bound: f64, what: &str| {
        let (ours, theirs) = (ours.as_f64().expect(what), theirs.as_f64().expect(what));
        assert!((ours - theirs).abs() <= bound, "{what}: {ours} {theirs}");
    };
    near(&said["loss"], &expected["loss"], 1e-5, "loss");
    let samples = said["samples"].as_array().expect("a list");
    let theirs = expected["samples"].as_array().expect("a list");
    assert_eq!(samples.len(), theirs.len());
    for (ours, theirs) in samples.iter().zip(theirs) {
        assert_eq!(ours["input_ids"], theirs["input_ids"]);
        assert_eq!(ours["labels"], theirs["labels"]);
        near(&ours["loss"], &theirs["loss"], 1e-5, "loss of a sample");
    }
    let norms = said["grad_norms"].as_object().expect("an object");
    for (name, theirs) in expected["grad_norms"].as_object().expect("an object") {
        let bound = 1e-3 * theirs.as_f64().expect("a number");
        near(&norms[name], theirs, bound, name);
    }
    for name in expected["frozen"].as_array().expect("a list") {
        assert_eq!(norms[name.as_str().expect("a name")], Value::Null, "{name}");
    }
    let frozen = expected["frozen"].as_array().expect("a list").len();
    assert_eq!(
        norms.len(),
        frozen + expected["grad_norms"].as_object().expect("an object").len()
    );
    // For a person, a table.
    let ended = place.aki(&args[..5]).good();
    assert!(
        ended.stdout.starts_with("sample  tokens"),
        "{}",
        ended.stdout
    );
}

pub type Tensors = BTreeMap<String, (Vec<usize>, Vec<u8>)>;

/// The tensors of a folder's one file.
pub fn tensors(folder: &Path) -> Tensors {
    let bytes = std::fs::read(folder.join("model.safetensors")).expect("weights");
    let file = SafeTensors::deserialize(&bytes).expect("safetensors");
    let of = |(name, it): (String, TensorView)| (name, (it.shape().to_vec(), it.data().to_vec()));
    file.tensors().into_iter().map(of).collect()
}

/// Makes a folder of those of the fixture's tensors that begin with `from`, which becomes `to`.
fn part(folder: &Path, from: &str, to: &str, without: &[&str]) {
    std::fs::create_dir(folder).expect("a folder");
    let all = tensors(&fixture());
    let kept = all
        .iter()
        .filter(|(name, _)| !without.iter().any(|it| name.contains(it)));
    let views = kept.filter_map(|(name, (shape, bytes))| {
        let name = format!("{to}{}", name.strip_prefix(from)?);
        Some((
            name,
            TensorView::new(Dtype::F32, shape.clone(), bytes).expect("a tensor"),
        ))
    });
    let file = folder.join("model.safetensors");
    safetensors::serialize_to_file(views, None, &file).expect("a file");
}

#[test]
fn a_converted_folder_is_the_same_model() {
    let place = Workplace::new();
    let model = text(&fixture());
    place
        .aki(&["convert", &model, "sharded", "--shard-size", "100KB"])
        .good();
    assert!(place.path("sharded/model.safetensors.index.json").is_file());
    answers_as_pytorch(&text(&place.path("sharded")));
    // The original's training checkpoint, with the tower that it leaves out.
    part(
        &place.path("siglip"),
        "vision_encoder.",
        "vision_model.",
        &[],
    );
    let training = text(&fixture().join("checkpoint_0.pt"));
    let refused = place.aki(&["convert", &training, "whole"]).refused();
    assert!(
        refused.contains("give its folder with --vision"),
        "{refused}"
    );
    assert!(refused.contains("missing (vision_encoder."), "{refused}");
    assert!(!place.path("whole").exists());
    place
        .aki(&["convert", &training, "whole", "--vision", "siglip"])
        .good();
    assert!(tensors(&place.path("whole")) == tensors(&fixture()));
    // Halves, and back.
    place
        .aki(&["convert", &model, "half", "--dtype", "bf16"])
        .good();
    place.aki(&["convert", "half", "again"]).good();
    assert!(tensors(&place.path("half")) == tensors(&place.path("again")));
    let said = place
        .aki(&["inspect", "model", "half", "--json"])
        .good()
        .stdout;
    let said: Value = serde_json::from_str(&said).expect("one JSON object");
    assert_eq!(said["parameters"], 135_486);
    assert_eq!(said["dtypes"], serde_json::json!(["bf16"]));
    assert_eq!(said["bytes"]["f32"], 4 * 135_486);
    let half = generate(&place, "half", "what shape is it?", &[], &[]);
    assert_eq!(list(&half["token_ids"]).len(), 24);
    let table = place.aki(&["inspect", "model", "half"]).good().stdout;
    for line in [
        "\n  encoder.layers                           1,336  bf16  2 x 668\n",
        "\nlang_model                                30,186  bf16  Phi3: 2 layers 24 wide",
        "\nall                                      135,486  parameters\n",
    ] {
        assert!(table.contains(line), "{table}");
    }
}

#[test]
fn a_drawn_model_answers() {
    let place = Workplace::new();
    place
        .aki(&["convert", "--random", "aki-tiny", "one", "--dtype", "f16"])
        .good();
    place
        .aki(&[
            "convert", "--random", "aki-tiny", "two", "--dtype", "f16", "--seed", "1",
        ])
        .good();
    assert!(tensors(&place.path("one")) != tensors(&place.path("two")));
    let image = [text(&case("red.png"))];
    let said = generate(&place, "one", "what?", &image, &["--dtype", "f32"]);
    assert!(!list(&said["token_ids"]).is_empty());
}

#[test]
fn a_pre_training_starts_from_two_models() {
    let place = Workplace::new();
    part(
        &place.path("siglip"),
        "vision_encoder.",
        "vision_model.",
        &[],
    );
    part(
        &place.path("phi"),
        "lang_model.",
        "",
        &["additional", "lm_head.bias"],
    );
    let copy = |from: PathBuf, to: &str| std::fs::copy(from, place.path(to)).expect("a file");
    copy(
        fixture().join("vision_encoder/config.json"),
        "siglip/config.json",
    );
    copy(fixture().join("lang_model/config.json"), "phi/config.json");
    for file in [
        "tokenizer.model",
        "added_tokens.json",
        "tokenizer_config.json",
    ] {
        copy(fixture().join(file), &format!("phi/{file}"));
    }
    let args = [
        "convert",
        "start",
        "--vision",
        "siglip",
        "--language",
        "phi",
        "--seed",
        "3",
    ];
    let ended = place.aki(&args).good();
    assert!(
        ended.stderr.contains("tensors were drawn anew"),
        "{}",
        ended.stderr
    );
    let (start, published) = (tensors(&place.path("start")), tensors(&fixture()));
    for (name, tensor) in &published {
        let new = name.starts_with("vision_tokenizer.")
            || name.contains("additional")
            || name == "lang_model.lm_head.bias";
        assert_eq!(start[name] == *tensor, !new, "{name}");
    }
    assert_eq!(start["vision_tokenizer.latents"].0, [144, 8]);
    let image = [text(&case("red.png"))];
    let said = generate(&place, "start", "what shape is it?", &image, &[]);
    assert!(said["prefill_tokens"].as_u64().expect("a number") > 144);
}
