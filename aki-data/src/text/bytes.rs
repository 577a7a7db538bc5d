//! A tokenizer without words, for a model of drawn weights.

use serde_json::{Map, Value, json};

use super::tokenizer::Tokenizer;
use crate::DataError;

/// AKI's added tokens, in the order of Phi-3.5's ids; the last two are no part of the base.
const ADDED: [&str; 14] = [
    "<|endoftext|>",
    "<|assistant|>",
    "<|placeholder1|>",
    "<|placeholder2|>",
    "<|placeholder3|>",
    "<|placeholder4|>",
    "<|system|>",
    "<|end|>",
    "<|placeholder5|>",
    "<|placeholder6|>",
    "<|user|>",
    "<pad>",
    "<image>",
    "<|endofchunk|>",
];

impl Tokenizer {
    /// A tokenizer that knows bytes alone, with AKI's added tokens where a tokenizer of `base_vocab` has
    /// them. The ids between, of which a text never has one, read `[unused 259]` and so on.
    ///
    /// # Errors
    /// [`DataError::Tokenizer`] if `base_vocab` leaves no room for the bytes.
    pub fn of_bytes(base_vocab: usize) -> Result<Self, DataError> {
        let pieces = base_vocab.saturating_sub(ADDED.len() - 2);
        let mut vocab = Map::new();
        let bytes = (0..=255).map(|byte| format!("<0x{byte:02X}>"));
        let known = ["<unk>", "<s>", "</s>"].map(str::to_owned);
        let unused = (259..pieces).map(|id| format!("[unused {id}]"));
        for (id, piece) in known.into_iter().chain(bytes).chain(unused).enumerate() {
            vocab.insert(piece, id.into());
        }
        let token = |id: usize, content: &str| {
            json!({
                "id": id, "content": content, "single_word": false, "lstrip": false,
                "rstrip": content.starts_with("<|") && id > pieces, "normalized": false, "special": true,
            })
        };
        let mut added: Vec<Value> = vec![token(0, "<unk>"), token(1, "<s>"), token(2, "</s>")];
        added.extend(
            ADDED
                .iter()
                .zip(pieces..)
                .map(|(content, id)| token(id, content)),
        );
        let file = json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
            "normalizer": null, "pre_tokenizer": null, "post_processor": null,
            "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]},
            "model": {
                "type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true,
                "ignore_merges": false, "vocab": vocab, "merges": [],
            },
        });
        Self::from_json(file.to_string().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Piece;

    #[test]
    fn bytes_are_ids_and_the_added_tokens_stand_where_akis_do() {
        let tokenizer = Tokenizer::of_bytes(32_012).expect("a tokenizer");
        assert_eq!(
            (tokenizer.base_vocab(), tokenizer.vocab()),
            (32_012, 32_014)
        );
        let special = tokenizer.special();
        assert_eq!(
            (special.eos, special.pad, special.image),
            (32_000, 32_011, 32_012)
        );
        assert_eq!(special.roles().expect("roles").assistant, 32_001);
        let ids = tokenizer.encode(&[Piece::Text("aé")]).expect("ids");
        assert_eq!(ids, [3 + 0x61, 3 + 0xc3, 3 + 0xa9]);
        assert_eq!(tokenizer.decode(&ids).expect("text"), "aé");
        assert_eq!(tokenizer.decode(&[500]).expect("text"), "[unused 500]");
    }
}
