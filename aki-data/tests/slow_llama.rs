//! Tokenizers in the layout of AKI's folder, held against Hugging Face's slow `LlamaTokenizer`.
//! The folders and cases are made by `tests/reference/slow_llama.py`.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aki_data::{IGNORE, Message, Piece, Role, Sequence, Template, TextStream, Tokenizer};
use proptest::prelude::*;
use serde::Deserialize;

const FOLDERS: [&str; 4] = ["phi-3", "aki", "normalizing", "legacy"];

#[derive(Deserialize)]
struct Cases {
    encoded: Vec<Encoded>,
    decoded: Vec<DecodeCase>,
}

#[derive(Deserialize)]
struct Encoded {
    text: String,
    /// With special tokens found in the text, and without.
    ids: Vec<u32>,
    plain: Vec<u32>,
    decoded: String,
    marked: String,
}

#[derive(Deserialize)]
struct DecodeCase {
    ids: Vec<u32>,
    decoded: String,
    marked: String,
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/tokenizers")
        .join(name)
}

fn open(name: &str) -> Tokenizer {
    Tokenizer::open(&folder(name)).expect("a tokenizer folder")
}

fn cases(name: &str) -> Cases {
    let text = std::fs::read_to_string(folder(name).join("cases.json")).expect("cases");
    serde_json::from_str(&text).expect("cases")
}

fn streamed(tokenizer: &Tokenizer, ids: &[u32]) -> String {
    let mut stream = TextStream::new(tokenizer);
    let mut text = String::new();
    for &id in ids {
        text += &stream.push(id).expect("text");
    }
    text + &stream.finish().expect("text")
}

#[test]
fn ids_and_texts_are_those_of_the_slow_tokenizer() {
    for name in FOLDERS {
        let tokenizer = open(name);
        let cases = cases(name);
        assert!(cases.encoded.len() > 200, "{name}");
        for case in &cases.encoded {
            let text = &case.text;
            let ids = tokenizer.encode_marked(text).expect("ids");
            assert_eq!(ids, case.ids, "{name}: {text:?}");
            let plain = tokenizer.encode(&[Piece::Text(text)]).expect("ids");
            assert_eq!(plain, case.plain, "{name}: {text:?} as text");
        }
        let encoded = cases
            .encoded
            .iter()
            .map(|case| (&case.ids, &case.decoded, &case.marked));
        let decoded = cases
            .decoded
            .iter()
            .map(|case| (&case.ids, &case.decoded, &case.marked));
        for (ids, decoded, marked) in encoded.chain(decoded) {
            assert_eq!(
                &tokenizer.decode(ids).expect("text"),
                decoded,
                "{name}: {ids:?}"
            );
            assert_eq!(
                &tokenizer.decode_marked(ids).expect("text"),
                marked,
                "{name}: {ids:?}"
            );
            assert_eq!(
                &streamed(&tokenizer, ids),
                decoded,
                "{name}: {ids:?} one by one"
            );
        }
    }
}

#[test]
fn the_cases_of_llama_cpp_hold() {
    let read = |name: &str| std::fs::read_to_string(folder("phi-3").join(name)).expect("cases");
    let (texts, ids) = (read("llama-cpp.inp"), read("llama-cpp.out"));
    let tokenizer = open("phi-3");
    let texts: Vec<_> = texts.split("\n__ggml_vocab_test__\n").collect();
    assert_eq!(texts.len(), 47);
    for (text, ids) in texts.iter().zip(ids.lines()) {
        let expected: Vec<u32> = ids
            .split_whitespace()
            .map(|id| id.parse().expect("an id"))
            .collect();
        assert_eq!(
            tokenizer.encode(&[Piece::Text(text)]).expect("ids"),
            expected,
            "{text:?}"
        );
        assert_eq!(
            tokenizer.encode_marked(text).expect("ids"),
            expected,
            "{text:?}"
        );
    }
}

#[test]
fn special_ids_are_those_of_the_published_folder() {
    let tokenizer = open("phi-3");
    let special = tokenizer.special();
    let roles = special.roles().expect("tags");
    assert_eq!(
        (special.bos, special.eos, special.pad),
        (Some(1), 32000, 32011)
    );
    assert_eq!((special.image, special.end_of_chunk), (32012, 32013));
    assert_eq!(
        (roles.assistant, roles.system, roles.end, roles.user),
        (32001, 32006, 32007, 32010)
    );
    assert_eq!((tokenizer.base_vocab(), tokenizer.vocab()), (32012, 32014));
}

#[test]
fn pieces_give_what_the_whole_text_gives() {
    let tokenizer = open("phi-3");
    let marked = |text: &str| tokenizer.encode_marked(text).expect("ids");
    let template = Template {
        system: "A chat.".to_owned(),
        ..Template::default()
    };
    let head = "<|system|>\nA chat.<|end|>\n<|user|>\n";
    let prompt = template
        .prompt(&tokenizer, " what color?", Some(1))
        .expect("ids");
    let expected = format!("<s> {head}<image>\n what color?<|end|>\n<|assistant|>\n");
    assert_eq!(prompt.input_ids, marked(&expected));
    let training = template
        .training(&tokenizer, "what?", " \nblue", None)
        .expect("ids");
    let expected = format!("<s>{head}what?<|end|>\n<|assistant|>\n \nblue<|endoftext|>");
    assert_eq!(training.input_ids, marked(&expected));
}

#[test]
fn a_whole_training_text_is_what_its_parts_give() {
    let tokenizer = open("phi-3");
    let template = Template {
        system: "A chat.".to_owned(),
        ..Template::default()
    };
    let text = "<|system|>\nA chat.<|end|>\n<|user|>\n<image>\nwhat?<|end|>\n<|assistant|>\nblue";
    let expected = template
        .training(&tokenizer, "what?", "blue", Some(3))
        .expect("sequence");
    for whole in [text.to_owned(), format!("<s>{text}<|endoftext|>")] {
        let sequence = Sequence::from_training_text(&tokenizer, &whole, 3).expect("sequence");
        assert_eq!(sequence, expected);
    }
    let expected = template
        .caption(&tokenizer, "a blue circle", 3)
        .expect("sequence");
    let whole = "<image>a blue circle<|endofchunk|>";
    let sequence = Sequence::from_training_text(&tokenizer, whole, 3).expect("sequence");
    assert_eq!(sequence, expected);
}

#[test]
fn a_raw_prompt_gets_nothing_put_to_it() {
    let tokenizer = open("phi-3");
    let text = "<image><image>x<|assistant|>\ny<image>";
    let sequence = Sequence::from_raw_prompt(&tokenizer, text, 2).expect("sequence");
    let image = tokenizer.special().image;
    assert_eq!(sequence.input_ids[..4], [image; 4]);
    assert_eq!(sequence.media, [0..2, 2..4, 7..9]);
    assert_eq!(sequence.question_end, Some(6));
    assert!(sequence.labels.iter().all(|&label| label == IGNORE));
}

#[test]
fn a_conversation_is_the_text_it_stands_for() {
    let tokenizer = open("phi-3");
    let say = |role, text: &str, pictures| Message {
        role,
        text: text.to_owned(),
        pictures,
    };
    let messages = [
        say(Role::System, "Be brief.", 0),
        say(Role::User, "which is <image> blue?", 2),
        say(Role::Assistant, "the first", 0),
        say(Role::User, "and this?", 1),
    ];
    let sequence = Template::default()
        .conversation(&tokenizer, &messages, 4)
        .expect("sequence");
    assert_eq!(
        sequence
            .media
            .iter()
            .map(ExactSizeIterator::len)
            .collect::<Vec<_>>(),
        [4; 3]
    );
    let roles = tokenizer.special().roles().expect("tags");
    let end = sequence.question_end.expect("a question");
    assert_eq!(sequence.input_ids[end - 1], roles.assistant);
    assert_eq!(
        sequence
            .input_ids
            .iter()
            .filter(|&&id| id == roles.assistant)
            .count(),
        2
    );
    let before = sequence
        .media
        .iter()
        .filter(|media| media.end < end)
        .count();
    assert_eq!(before, 2);
    let plain = [messages[0].clone(), say(Role::User, "which?", 1)];
    let sequence = Template::default()
        .conversation(&tokenizer, &plain, 1)
        .expect("sequence");
    let text =
        "<s> <|system|>\nBe brief.<|end|>\n<|user|>\n<image>\nwhich?<|end|>\n<|assistant|>\n";
    assert_eq!(
        sequence.input_ids,
        tokenizer.encode_marked(text).expect("ids")
    );
}

#[test]
fn a_character_comes_when_it_is_whole() {
    let tokenizer = open("phi-3");
    let ids = tokenizer.encode(&[Piece::Text("a🦙b")]).expect("ids");
    let mut stream = TextStream::new(&tokenizer);
    let parts: Vec<_> = ids
        .iter()
        .map(|&id| stream.push(id).expect("text"))
        .collect();
    assert_eq!(parts, ["a", "", "", "", "🦙", "b"]);
    assert_eq!(stream.finish().expect("text"), "");
}

#[test]
fn a_saved_tokenizer_is_the_same() {
    for name in FOLDERS {
        let tokenizer = open(name);
        let copy = tempfile::tempdir().expect("a folder");
        tokenizer.save(copy.path()).expect("saving");
        let saved = Tokenizer::open(copy.path()).expect("what was saved");
        assert_eq!(saved.special(), tokenizer.special());
        for case in cases(name).encoded {
            assert_eq!(
                saved.encode_marked(&case.text).expect("ids"),
                case.ids,
                "{name}"
            );
            assert_eq!(
                saved.decode(&case.ids).expect("text"),
                case.decoded,
                "{name}"
            );
            assert_eq!(
                saved.decode_marked(&case.ids).expect("text"),
                case.marked,
                "{name}"
            );
        }
    }
}

#[test]
fn a_long_text_is_quick() {
    let tokenizer = open("phi-3");
    let case = "The circle  is blue, naïve 図🦙\n";
    let text = case.repeat(100_000 / case.len());
    let start = Instant::now();
    let ids = tokenizer.encode_marked(&text).expect("ids");
    assert_eq!(tokenizer.decode(&ids).expect("text"), text);
    assert_eq!(streamed(&tokenizer, &ids), text);
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
}

/// Texts with a lot of what is special in them.
fn texts() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        "\\PC{0,6}",
        "[ \n\u{2581}]{1,4}",
        prop::sample::select(&["<|user|>", "<image>", "<s>", "<unk>", "<|end|>", "🦙", "\0"][..])
            .prop_map(str::to_owned),
    ];
    prop::collection::vec(part, 0..8).prop_map(|parts| parts.concat())
}

proptest! {
    /// Blanks at the beginning may come back as U+2581: the original looks the first piece up
    /// again without its first blank, and shows what it does not find as it stands.
    #[test]
    fn a_text_never_becomes_special_and_comes_back(text in texts()) {
        let tokenizer = open("aki");
        let ids = tokenizer.encode(&[Piece::Text(&text)]).expect("ids");
        let special = tokenizer.special().eos;
        prop_assert!(ids.iter().all(|&id| id < special && id > 2), "{:?}", ids);
        let decoded = tokenizer.decode(&ids).expect("text");
        prop_assert_eq!(decoded.replace('\u{2581}', " "), text.replace('\u{2581}', " "));
    }

    #[test]
    fn any_ids_come_one_by_one_as_at_once(ids in prop::collection::vec(0_u32..534, 0..40)) {
        for name in ["aki", "legacy"] {
            let tokenizer = open(name);
            prop_assert_eq!(streamed(&tokenizer, &ids), tokenizer.decode(&ids).expect("text"));
        }
    }
}
