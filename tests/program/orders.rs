//! The order of pictures and texts, and concentric attention: what Table 1 trains beside MMA.

use std::collections::BTreeMap;
use std::fs::{self, File};

use serde_json::Value;

use crate::support::{Workplace, asset, repository, text};

/// Test pictures that are asked about.
const PICTURES: usize = 6;

/// Questions about the first test pictures: `:image FILE`, the question, `:reset` for `aki chat`; and
/// kinds and true answers.
fn questions(place: &Workplace) -> (String, Vec<(String, String)>) {
    let shard = File::open(asset("easy-vqa/test.tar")).expect("the shard");
    let mut archive = tar::Archive::new(shard);
    let (mut typed, mut truths) = (Vec::new(), Vec::new());
    let mut conversation = Value::Null;
    let mut pictures = 0;
    for entry in archive.entries().expect("members") {
        let mut entry = entry.expect("a member");
        let name = entry.path().expect("a name").into_owned();
        match name.extension().and_then(|it| it.to_str()) {
            Some("json") => conversation = serde_json::from_reader(entry).expect("JSON"),
            Some("png") => {
                let file = place.path(&name);
                let mut bytes = Vec::new();
                std::io::copy(&mut entry, &mut bytes).expect("bytes");
                fs::write(&file, bytes).expect("a file");
                let turns = conversation["conversations"].as_array().expect("turns");
                for pair in turns.chunks(2) {
                    let [question, answer] = [&pair[0]["value"], &pair[1]["value"]]
                        .map(|it| it.as_str().expect("a text").to_owned());
                    typed.push(format!(":image {}\n{question}\n:reset\n", text(&file)));
                    let kind = pair[1]["kind"].as_str().expect("a kind").to_owned();
                    truths.push((kind, answer));
                }
                pictures += 1;
                if pictures == PICTURES {
                    break;
                }
            }
            _ => {}
        }
    }
    (typed.concat(), truths)
}

/// What is measured without decoding is what a user who asks gets, and what decides texts and masks
/// is kept with the model.
#[test]
fn answers_are_those_that_were_measured() {
    for (settings, key, value) in [
        (
            ["captions.order=text-image", "questions.order=text-image"],
            "order",
            Some("text-image"),
        ),
        (
            ["captions.order=text-image", "questions.order=image-text"],
            "order",
            None,
        ),
        (
            ["captions.attention=cca", "questions.attention=cca"],
            "attention",
            Some("cca"),
        ),
    ] {
        let place = Workplace::new();
        let settings = settings.map(|setting| format!("stage.{setting}"));
        let mut all: Vec<&str> = settings.iter().map(String::as_str).collect();
        let samples = format!("evaluation.samples={PICTURES}");
        all.extend([
            &samples,
            "stage.questions.steps=150",
            "stage.questions.evaluate_every=150",
            "stage.questions.checkpoint_every=150",
            "stage.questions.optimizer.lr=3e-3",
        ]);
        place.train(&all).good();
        let read = |name: &str| fs::read_to_string(place.path("run").join(name)).expect(name);
        let config: Value = serde_json::from_str(&read("model/config.json")).expect("JSON");
        assert_eq!(config.get(key).and_then(Value::as_str), value);
        let kept: toml::Table = read("config.toml").parse().expect("TOML");
        let order = settings[1].strip_prefix("stage.questions.order=");
        let kept = kept["stage"][1]["order"].as_str();
        assert_eq!(kept, Some(order.unwrap_or("image-text")));

        let (typed, truths) = questions(&place);
        let chat = ["chat", "--model", "run", "--device", "cpu"];
        let chat = [&chat[..], &["--max-new-tokens", "4"]].concat();
        let ended = place.chat(&chat, &typed).good();
        let answers: Vec<&str> = ended.stdout.lines().collect();
        assert_eq!(answers.len(), truths.len());
        let mut right: BTreeMap<&str, u64> = BTreeMap::new();
        for ((kind, truth), answer) in truths.iter().zip(answers) {
            *right.entry(kind).or_default() += u64::from(answer == truth);
        }
        let report: Value = serde_json::from_str(&read("report.json")).expect("JSON");
        for (kind, &right) in &right {
            let measured = &report["trained"]["kinds"][kind]["right"];
            assert_eq!(measured.as_u64(), Some(right), "{settings:?}: {kind}");
        }
        assert!(right.values().sum::<u64>() > 10, "{settings:?}: {right:?}");

        let preview = [
            "data",
            "preview",
            "run/config.toml",
            "--limit",
            "2",
            "--json",
        ];
        for line in place.aki(&preview).good().stdout.lines() {
            let sample: Value = serde_json::from_str(line).expect("JSON");
            let text = sample["text"].as_str().expect("a text");
            let (_, asked) = text.split_once("<|user|>").expect("a question");
            let first = asked.starts_with("<image>");
            assert_eq!(first, value != Some("text-image"), "{text}");
        }
        if value == Some("text-image") {
            let template = place.path("run/model/chat_template.jinja");
            fs::write(&template, "{{ messages[0].content }}").expect("a file");
            let asked = ["generate", "--model", "run", "--device", "cpu"];
            let asked = [&asked[..], &["--prompt", "hi", "--chat-template"]].concat();
            let ended = place.aki(&asked);
            assert_eq!(ended.code, Some(2));
            let expected = "a chat template puts them before";
            assert!(ended.stderr.contains(expected), "{}", ended.stderr);
            fs::remove_file(template).expect("a file");
            let data = text(&repository().join("tests/fixtures/benchmarks"));
            let asked = ["eval", "realworldqa", "--model", "run", "--device", "cpu"];
            let asked = [&asked[..], &["--data", &data, "--prompt", "vlmevalkit"]].concat();
            let message = place.aki(&asked).refused();
            let expected = "learned pictures after their texts (\"order\" in config.json); ask with --prompt aki";
            assert!(message.contains(expected), "{message}");
        }
    }
}
