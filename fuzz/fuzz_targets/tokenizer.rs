//! Tokenizers: a `tokenizer.json`, or else SentencePiece's `tokenizer.model`.
#![no_main]

use aki_data::Tokenizer;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let folder = tempfile::tempdir().expect("a folder");
    let name = match bytes.trim_ascii_start().starts_with(b"{") {
        true => "tokenizer.json",
        false => "tokenizer.model",
    };
    std::fs::write(folder.path().join(name), bytes).expect("writing");
    let config = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../aki-data/tests/fixtures/tokenizers/aki/tokenizer_config.json"
    );
    for with_config in [false, true] {
        if with_config {
            std::fs::copy(config, folder.path().join("tokenizer_config.json")).expect("copying");
        }
        for tokenizer in [
            Tokenizer::open(folder.path()),
            Tokenizer::open_language_model(folder.path()),
        ]
        .into_iter()
        .flatten()
        {
            if let Ok(ids) = tokenizer.encode_marked("<|user|>\n the circle 🦙 é<image>") {
                let _ = tokenizer.decode_marked(&ids);
            }
        }
    }
});
