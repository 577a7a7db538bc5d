//! Damaged, cut off and made-up tokenizer files: an error that says where, never a panic.

use std::path::{Path, PathBuf};

use aki_data::{DataError, Tokenizer};
use proptest::prelude::*;
use tempfile::TempDir;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/tokenizers")
        .join(name)
}

/// The folder `aki` with one of its files replaced.
fn with(file: &str, bytes: &[u8]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["tokenizer.model", "tokenizer_config.json"] {
        std::fs::copy(fixture("aki").join(name), folder.path().join(name)).expect("copy");
    }
    std::fs::write(folder.path().join(file), bytes).expect("writing");
    folder
}

fn model() -> Vec<u8> {
    std::fs::read(fixture("aki/tokenizer.model")).expect("a model")
}

/// Opens what may be broken; what opens must work.
fn open(file: &str, bytes: &[u8]) -> Result<(), DataError> {
    let folder = with(file, bytes);
    let tokenizer = Tokenizer::open(folder.path())?;
    let ids = tokenizer.encode_marked("<|user|>\n the circle 🦙 é<image>")?;
    tokenizer.decode_marked(&ids)?;
    Ok(())
}

#[test]
fn hostile_models_are_refused() {
    let huge = [0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F];
    let bpe = [0x12, 0x02, 0x18, 0x02];
    let many = [0x0A, 0x00].repeat((1 << 20) + 1);
    for (bytes, says) in [
        (&[][..], "of type BPE"),
        (&huge, "past the end"),
        (&bpe, "exactly one unknown piece"),
        (&many, "more than 1048576 pieces"),
        (&[0x0A, 0x02, 0x0A, 0x7F], "tokenizer.model"),
        (b"{\"version\": \"1.0\"}", "tokenizer.model"),
    ] {
        let error = open("tokenizer.model", bytes).expect_err(says).to_string();
        assert!(
            error.contains(says) && error.contains("tokenizer.model"),
            "{error}"
        );
    }
    let error = open("tokenizer.model", &vec![0; (16 << 20) + 1]).expect_err("too large");
    assert!(error.to_string().contains("no more than"), "{error}");
}

#[test]
fn a_model_cut_off_anywhere_is_no_panic() {
    let model = model();
    for len in (0..model.len()).step_by(61) {
        // It may read well: pieces stand first, so an end between two is a smaller vocabulary.
        let _ = open("tokenizer.model", &model[..len]);
    }
}

#[test]
fn wrong_configurations_say_what_is_wrong() {
    for (text, says) in [
        ("", "tokenizer_config.json"),
        ("[]", "tokenizer_config.json"),
        (r#"{"added_tokens_decoder": 3}"#, "added_tokens_decoder"),
        (
            r#"{"added_tokens_decoder": {"-1": {"content": "a"}}}"#,
            "added_tokens_decoder",
        ),
        (r#"{"added_tokens_decoder": {"1": {}}}"#, "content"),
        (
            r#"{"added_tokens_decoder": {"7": {"content": ""}}}"#,
            "empty",
        ),
        (
            r#"{"added_tokens_decoder": {"7": {"content": "a"}, "8": {"content": "a"}}}"#,
            "7 and 8",
        ),
        (r#"{"bos_token": 1}"#, "bos_token"),
        (r#"{"eos_token": "</s>"}"#, "`<pad>`"),
        (
            r#"{"additional_special_tokens": [null]}"#,
            "additional_special_tokens",
        ),
    ] {
        let error = open("tokenizer_config.json", text.as_bytes())
            .expect_err(text)
            .to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
}

#[test]
fn a_json_cut_off_within_its_decoder_is_refused() {
    for text in [
        r#"{"version": "1.0", "decoder": {"type": "#,
        "{\"version\": \"1.0\", \"decoder\": {\"type\": \"Fu\u{1}se\"}}",
        r#"{"version": "1.0", "decoder": [1e999]}"#,
        r#"{"version": "1.0", "decoder": "\ud800"}"#,
    ] {
        let error = open("tokenizer.json", text.as_bytes()).expect_err(text);
        assert!(error.to_string().contains("tokenizer.json"), "{error}");
    }
}

#[test]
fn a_folder_without_a_tokenizer_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let error = Tokenizer::open(folder.path())
        .expect_err("nothing there")
        .to_string();
    assert!(
        error.contains("tokenizer.model") && error.contains("tokenizer.json"),
        "{error}"
    );
}

#[test]
fn merges_that_give_no_token_are_told() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/easy-vqa/tokenizer.json");
    let text = std::fs::read(file).expect("a tokenizer");
    let mut json: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
    let vocab = json["model"]["vocab"].as_object().expect("a vocabulary");
    let longest = vocab
        .keys()
        .max_by_key(|token| token.len())
        .expect("a token")
        .clone();
    let merges = json["model"]["merges"].as_array_mut().expect("merges");
    merges.push(serde_json::json!([longest, longest]));
    let error = open("tokenizer.json", json.to_string().as_bytes()).expect_err("too long");
    assert!(
        error
            .to_string()
            .contains("gives no token of the vocabulary"),
        "{error}"
    );
}

proptest! {
    #[test]
    fn any_bytes_are_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(open("tokenizer.model", &bytes).is_err());
        prop_assert!(open("tokenizer_config.json", &bytes).is_err());
        prop_assert!(open("tokenizer.json", &bytes).is_err());
    }

    #[test]
    fn damage_is_no_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut bytes = model();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = open("tokenizer.model", &bytes);
    }

    #[test]
    fn a_damaged_json_is_no_panic(
        at: prop::sample::Index, len in 0_usize..9, with in "(null|[0-9]{1,3}|\"|[\\[\\]{},:]|\\PC){0,2}", cut: bool,
    ) {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/easy-vqa/tokenizer.json");
        let mut bytes = std::fs::read(file).expect("a tokenizer");
        let at = at.index(bytes.len());
        let end = (at + len).min(bytes.len());
        bytes.splice(at..end, with.bytes());
        if cut {
            bytes.truncate(at);
        }
        let _ = open("tokenizer.json", &bytes);
    }
}
