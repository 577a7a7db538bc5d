//! `aki data preview`.

use serde_json::Value;

use super::{HEAD, MEDIA, Run, SHORT, ids, numbers};
use crate::support::{Workplace, asset, repository, text};

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
