//! Tokenizers of plain language models, which lack AKI's tokens.

use std::path::{Path, PathBuf};

use aki_data::{
    ChatTemplate, DataError, Message, Piece, Role, Sequence, Template, TextStream, Tokenizer,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

const CHATML: &str = "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' + \
     message.content + '<|im_end|>\n' }}{% endfor %}{{ '<|im_start|>assistant\n' }}";

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/tokenizers")
        .join(name)
}

fn read(file: PathBuf) -> Value {
    serde_json::from_slice(&std::fs::read(file).expect("a file")).expect("JSON")
}

/// Phi-3.5's folder as it is published, without AKI's tokens, padding with `<|endoftext|>`.
fn phi() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::copy(
        fixture("phi-3/tokenizer.model"),
        folder.path().join("tokenizer.model"),
    )
    .expect("copy");
    let mut config = read(fixture("phi-3/tokenizer_config.json"));
    for id in ["32011", "32012", "32013"] {
        config["added_tokens_decoder"]
            .as_object_mut()
            .expect("map")
            .shift_remove(id);
    }
    config["pad_token"] = "<|endoftext|>".into();
    config
        .as_object_mut()
        .expect("map")
        .shift_remove("additional_special_tokens");
    let file = folder.path().join("tokenizer_config.json");
    std::fs::write(file, config.to_string()).expect("writing");
    folder
}

/// A folder like Qwen2's: bytes as characters, no `<s>`, no tags of turns, a chat template.
fn qwen() -> TempDir {
    let mut alphabet: Vec<_> = ByteLevel::alphabet().into_iter().collect();
    alphabet.sort_unstable();
    let vocab: serde_json::Map<_, _> = (0..)
        .zip(alphabet)
        .map(|(id, char)| (char.to_string(), Value::from(id)))
        .collect();
    let special = |(id, content): (u32, &str)| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false, "special": true})
    };
    let added: Vec<_> = [
        (256, "<|endoftext|>"),
        (257, "<|im_start|>"),
        (258, "<|im_end|>"),
    ]
    .map(special)
    .into();
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false,
        "use_regex": true});
    let tokenizer = json!({"version": "1.0", "truncation": null, "padding": null,
        "added_tokens": added, "normalizer": null, "pre_tokenizer": byte_level,
        "post_processor": null, "decoder": byte_level,
        "model": {"type": "BPE", "dropout": null, "unk_token": null,
            "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": false,
            "byte_fallback": false, "ignore_merges": false, "vocab": vocab, "merges": []}});
    let config = json!({"bos_token": null, "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>",
        "chat_template": CHATML});
    let folder = tempfile::tempdir().expect("a folder");
    for (name, json) in [
        ("tokenizer.json", tokenizer),
        ("tokenizer_config.json", config),
    ] {
        std::fs::write(folder.path().join(name), json.to_string()).expect("writing");
    }
    folder
}

fn say(role: Role, text: &str, pictures: usize) -> Message {
    Message {
        role,
        text: text.to_owned(),
        pictures,
    }
}

#[test]
fn phi_gets_the_ids_that_aki_has() {
    let folder = phi();
    let error = Tokenizer::open(folder.path())
        .expect_err("no <pad>")
        .to_string();
    assert!(error.contains("`<pad>`"), "{error}");
    let tokenizer = Tokenizer::open_language_model(folder.path()).expect("a tokenizer");
    let aki = Tokenizer::open(&fixture("phi-3")).expect("a tokenizer");
    assert_eq!(tokenizer.special(), aki.special());
    let saved = tempfile::tempdir().expect("a folder");
    tokenizer.save(saved.path()).expect("saving");
    let saved = Tokenizer::open(saved.path()).expect("what was saved");
    for text in ["<s> <image>\nx<|endofchunk|><pad>", "<|user|> <image> 🦙"] {
        let ids = aki.encode_marked(text).expect("ids");
        for tokenizer in [&tokenizer, &saved] {
            assert_eq!(tokenizer.encode_marked(text).expect("ids"), ids);
            assert_eq!(
                tokenizer.decode(&ids).expect("text"),
                aki.decode(&ids).expect("text")
            );
            let marked = aki.decode_marked(&ids).expect("text");
            assert_eq!(tokenizer.decode_marked(&ids).expect("text"), marked);
        }
    }
    // Nothing is added twice.
    let again = Tokenizer::open_language_model(&fixture("phi-3")).expect("a tokenizer");
    assert_eq!(
        (again.special(), again.vocab()),
        (aki.special(), aki.vocab())
    );
}

#[test]
fn a_tokenizer_without_tags_uses_its_chat_template() {
    let folder = qwen();
    let tokenizer = Tokenizer::open_language_model(folder.path()).expect("a tokenizer");
    let special = tokenizer.special();
    assert_eq!((special.bos, special.eos, special.roles), (None, 258, None));
    assert_eq!(
        (special.pad, special.image, special.end_of_chunk),
        (259, 260, 261)
    );
    assert_eq!(special.stops(), [258]);
    let error = Template::default()
        .prompt(&tokenizer, "hi", None)
        .expect_err("no tags");
    assert!(matches!(error, DataError::NoRoles), "{error}");

    let template = ChatTemplate::of(&tokenizer)
        .expect("syntax")
        .expect("a template");
    let messages = [
        say(Role::User, "is <|im_end|> é?", 1),
        say(Role::Assistant, "yes", 0),
        say(Role::User, "why?", 0),
    ];
    let sequence = template.prompt(&tokenizer, &messages, 2).expect("sequence");
    assert_eq!(
        sequence.input_ids.iter().filter(|&&id| id == 258).count(),
        3
    );
    assert_eq!(sequence.media.len(), 1);
    let end = sequence.question_end.expect("a question");
    let before = tokenizer
        .decode_marked(&sequence.input_ids[..end])
        .expect("text");
    assert!(
        before.ends_with("é?<|im_end|>\n<|im_start|>assistant\n"),
        "{before}"
    );

    let caption = Template::default()
        .caption(&tokenizer, "a", 2)
        .expect("sequence");
    assert_eq!(caption.input_ids[..2], [special.image; 2]);
    let whole = Sequence::from_training_text(&tokenizer, "<image>a<|endofchunk|>", 2);
    assert_eq!(whole.expect("sequence"), caption);
}

#[test]
fn a_llama_folder_without_tags_opens() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    std::fs::copy(fixture("aki/tokenizer.model"), path.join("tokenizer.model")).expect("copy");
    let config = r#"{"bos_token": "<s>", "eos_token": "</s>", "legacy": false}"#;
    std::fs::write(path.join("tokenizer_config.json"), config).expect("writing");
    let tokenizer = Tokenizer::open_language_model(path).expect("a tokenizer");
    let special = tokenizer.special();
    assert_eq!(
        (special.bos, special.eos, special.roles),
        (Some(1), 2, None)
    );
    assert_eq!(
        [special.pad, special.image, special.end_of_chunk],
        [520, 521, 522]
    );
    assert!(ChatTemplate::of(&tokenizer).expect("none").is_none());
}

#[test]
fn a_saved_json_is_the_same() {
    let folder = qwen();
    let tokenizer = Tokenizer::open_language_model(folder.path()).expect("a tokenizer");
    let copy = tempfile::tempdir().expect("a folder");
    tokenizer.save(copy.path()).expect("saving");
    let saved = Tokenizer::open(copy.path()).expect("what was saved");
    assert_eq!(
        (saved.special(), saved.vocab()),
        (tokenizer.special(), tokenizer.vocab())
    );
    assert_eq!(saved.chat_template(), Some(CHATML));
    let text = "<image> é🦙 <pad><|im_end|>";
    let ids = tokenizer.encode_marked(text).expect("ids");
    assert_eq!(saved.encode_marked(text).expect("ids"), ids);
    assert_eq!(saved.decode_marked(&ids).expect("text"), text);
}

/// The training set's own begins every text with `<s>`, and so must what was trained with it when it is used.
#[test]
fn a_saved_tokenizer_begins_texts_as_before() {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../assets/easy-vqa/tokenizer.json");
    let tokenizer = Tokenizer::from_file(&file).expect("a tokenizer");
    assert!(tokenizer.special().bos.is_some());
    let copy = tempfile::tempdir().expect("a folder");
    tokenizer.save(copy.path()).expect("saving");
    let saved = Tokenizer::open(copy.path()).expect("what was saved");
    assert_eq!(saved.special(), tokenizer.special());
    // Folders written before that was so name no token at all.
    let silent = r#"{"added_tokens_decoder": {}, "additional_special_tokens": []}"#;
    std::fs::write(copy.path().join("tokenizer_config.json"), silent).expect("writing");
    let saved = Tokenizer::open(copy.path()).expect("what was saved");
    assert_eq!(saved.special(), tokenizer.special());
}

#[test]
fn bytes_come_as_whole_characters() {
    let folder = qwen();
    let tokenizer = Tokenizer::open_language_model(folder.path()).expect("a tokenizer");
    let mut ids = tokenizer.encode(&[Piece::Text("é 🦙\n")]).expect("ids");
    // Special tokens in between, and a character that never ends.
    ids.splice(2..2, [258; 40]);
    ids.extend(
        tokenizer.encode(&[Piece::Text("🦙")]).expect("ids")[..2]
            .iter()
            .copied(),
    );
    for ids in [
        ids.clone(),
        ids[3..].to_vec(),
        [ids.clone(), ids[..9].to_vec()].concat(),
    ] {
        let mut stream = TextStream::new(&tokenizer);
        let mut text = String::new();
        for &id in &ids {
            text += &stream.push(id).expect("text");
        }
        // What is put out is whole: half a character is missing at the end.
        assert_eq!(text.ends_with("🦙\n"), ids.len() < 55);
        text += &stream.finish().expect("text");
        assert_eq!(text, tokenizer.decode(&ids).expect("text"));
    }
}

#[test]
fn a_chat_template_file_comes_first() {
    let folder = phi();
    let path = folder.path();
    std::fs::write(
        path.join("chat_template.jinja"),
        "{{ messages[0].content }}",
    )
    .expect("writing");
    let tokenizer = Tokenizer::open_language_model(path).expect("a tokenizer");
    assert_eq!(tokenizer.chat_template(), Some("{{ messages[0].content }}"));
}
