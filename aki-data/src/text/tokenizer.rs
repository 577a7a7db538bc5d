//! A `tokenizer.json` with AKI's special tokens found by their text.

use std::path::Path;

use crate::DataError;

/// Ids of the special tokens that AKI's texts are made of.
///
/// They differ between tokenizers (`<|assistant|>` is 32001 in Phi's, another
/// in the easy-VQA one), so they are looked up by content and never assumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpecialTokens {
    /// `<s>`, begins every sequence.
    pub bos: u32,
    /// `<|endoftext|>`, ends every training sequence.
    pub eos: u32,
    /// `<pad>`, fills a batch on the right.
    pub pad: u32,
    /// `<|assistant|>`, begins an answer; the question ends here.
    pub assistant: u32,
    /// `<|user|>`, begins a question.
    pub user: u32,
    /// `<|system|>`, begins the system line.
    pub system: u32,
    /// `<|end|>`, ends the system line and a question.
    pub end: u32,
    /// `<image>`, the place of a picture's embeddings.
    pub image: u32,
    /// `<|endofchunk|>`, ends the caption of a picture.
    pub end_of_chunk: u32,
}

/// A part of a text that is to be encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A special token, by id.
    Special(u32),
    /// Ordinary text. A special token spelled out in it stays ordinary text.
    Text(&'a str),
}

/// A tokenizer that keeps special tokens and text strictly apart.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    special: SpecialTokens,
    /// White-space stripping of each id in use as [`Piece::Special`].
    strips: Vec<(u32, Strip)>,
    vocab: usize,
}

/// Which neighbouring white space a special token swallows.
#[derive(Clone, Copy)]
struct Strip {
    left: bool,
    right: bool,
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The inner tokenizer would print its whole vocabulary.
        f.debug_struct("Tokenizer")
            .field("vocab", &self.vocab)
            .field("special", &self.special)
            .finish_non_exhaustive()
    }
}

impl Tokenizer {
    /// Reads a `tokenizer.json`. Truncation and padding set in it are ignored.
    ///
    /// # Errors
    /// - [`DataError::Tokenizer`] if it cannot be read, or `<image>` and
    ///   `<|endofchunk|>` are not the last two ids: the model keeps just these
    ///   two outside the pretrained table.
    /// - [`DataError::MissingToken`] if one of [`SpecialTokens`] is missing.
    pub fn from_file(path: &Path) -> Result<Self, DataError> {
        let unfit = |reason: String| DataError::Tokenizer {
            path: path.to_owned(),
            reason,
        };
        let mut inner = tokenizers::Tokenizer::from_file(path).map_err(|e| unfit(e.to_string()))?;
        inner
            .with_truncation(None)
            .map_err(|e| unfit(e.to_string()))?;
        inner.with_padding(None);
        // From here on `encode` reads "<image>" in a text as seven characters.
        inner.set_encode_special_tokens(true);

        let added = inner.get_added_tokens_decoder();
        let find = |content: &'static str| {
            added
                .iter()
                .find(|(_, token)| token.special && token.content == content)
                .map(|(&id, _)| id)
                .ok_or_else(|| DataError::MissingToken {
                    path: path.to_owned(),
                    token: content,
                })
        };
        let special = SpecialTokens {
            bos: find("<s>")?,
            eos: find("<|endoftext|>")?,
            pad: find("<pad>")?,
            assistant: find("<|assistant|>")?,
            user: find("<|user|>")?,
            system: find("<|system|>")?,
            end: find("<|end|>")?,
            image: find("<image>")?,
            end_of_chunk: find("<|endofchunk|>")?,
        };
        let vocab = inner.get_vocab(true).into_values().max().unwrap_or(0) as usize + 1;
        if special.image as usize + 2 != vocab || special.end_of_chunk as usize + 1 != vocab {
            return Err(unfit(format!(
                "`<image>` and `<|endofchunk|>` have ids {} and {} but must be the last two of \
                 {vocab}; add them after all other tokens",
                special.image, special.end_of_chunk
            )));
        }
        let strips = added
            .iter()
            .map(|(&id, token)| {
                let strip = Strip {
                    left: token.lstrip,
                    right: token.rstrip,
                };
                (id, strip)
            })
            .collect();
        Ok(Self {
            inner,
            special,
            strips,
            vocab,
        })
    }

    /// Ids of the special tokens.
    pub fn special(&self) -> SpecialTokens {
        self.special
    }

    /// Number of ids below `<image>`: the size of the pretrained table.
    pub fn base_vocab(&self) -> usize {
        self.special.image as usize
    }

    /// Number of all ids, `<image>` and `<|endofchunk|>` among them.
    pub fn vocab(&self) -> usize {
        self.vocab
    }

    /// Encodes pieces one after the other; adds nothing before or after.
    ///
    /// White space next to a special token with `lstrip` or `rstrip` in the
    /// `tokenizer.json` is dropped, as if the whole text had been encoded at once.
    ///
    /// # Errors
    /// [`DataError::Encode`] if the tokenizer fails on a text.
    pub fn encode(&self, pieces: &[Piece]) -> Result<Vec<u32>, DataError> {
        let mut ids = Vec::new();
        for (index, piece) in pieces.iter().enumerate() {
            match *piece {
                Piece::Special(id) => ids.push(id),
                Piece::Text(text) => {
                    let before = index.checked_sub(1).and_then(|before| pieces.get(before));
                    let after = pieces.get(index + 1);
                    self.encode_text(self.stripped(before, text, after), &mut ids)?;
                }
            }
        }
        Ok(ids)
    }

    /// Text of the ids, special tokens left out.
    ///
    /// # Errors
    /// [`DataError::Decode`] if an id is outside the vocabulary.
    pub fn decode(&self, ids: &[u32]) -> Result<String, DataError> {
        if let Some(id) = ids.iter().find(|&&id| id as usize >= self.vocab) {
            let vocab = self.vocab;
            return Err(DataError::Decode {
                reason: format!(
                    "id {id} is outside the vocabulary of {vocab}; is this the model's tokenizer?"
                ),
            });
        }
        self.inner.decode(ids, true).map_err(|e| DataError::Decode {
            reason: e.to_string(),
        })
    }

    fn encode_text(&self, text: &str, ids: &mut Vec<u32>) -> Result<(), DataError> {
        if text.is_empty() {
            return Ok(());
        }
        let encoding = self
            .inner
            .encode_fast(text, false)
            .map_err(|e| DataError::Encode {
                text: text.chars().take(80).collect(),
                reason: e.to_string(),
            })?;
        ids.extend_from_slice(encoding.get_ids());
        Ok(())
    }

    /// `text` less the white space that its neighbours swallow.
    fn stripped<'a>(
        &self,
        before: Option<&Piece>,
        text: &'a str,
        after: Option<&Piece>,
    ) -> &'a str {
        let mut text = text;
        if self.strip(before).is_some_and(|strip| strip.right) {
            text = text.trim_start();
        }
        if self.strip(after).is_some_and(|strip| strip.left) {
            text = text.trim_end();
        }
        text
    }

    fn strip(&self, piece: Option<&Piece>) -> Option<Strip> {
        let Some(&Piece::Special(wanted)) = piece else {
            return None;
        };
        let found = self.strips.iter().find(|&&(id, _)| id == wanted);
        found.map(|&(_, strip)| strip)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::PathBuf;

    use proptest::prelude::*;

    use super::*;

    pub(crate) fn easy_vqa_path() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/easy-vqa/tokenizer.json")
    }

    pub(crate) fn easy_vqa() -> Tokenizer {
        Tokenizer::from_file(&easy_vqa_path()).expect("the shipped tokenizer")
    }

    /// The shipped tokenizer with a change made to its JSON.
    fn changed(change: impl FnOnce(&mut serde_json::Value)) -> Result<Tokenizer, DataError> {
        let text = std::fs::read_to_string(easy_vqa_path()).expect("the shipped tokenizer");
        let mut json = serde_json::from_str(&text).expect("JSON");
        change(&mut json);
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        std::fs::write(file.path(), json.to_string()).expect("writing");
        Tokenizer::from_file(file.path())
    }

    #[test]
    fn a_missing_special_token_is_named() {
        let error = changed(|json| {
            let added = json["added_tokens"].as_array_mut().expect("list");
            added.retain(|token| token["content"] != "<|end|>");
        })
        .expect_err("no <|end|>");
        assert!(error.to_string().contains("`<|end|>`"), "{error}");
    }

    #[test]
    fn the_media_tokens_must_come_last() {
        let error = changed(|json| {
            let added = json["added_tokens"].as_array_mut().expect("list");
            let mut one_more = added.last().expect("a token").clone();
            one_more["id"] = (one_more["id"].as_u64().expect("id") + 1).into();
            one_more["content"] = "<extra>".into();
            added.push(one_more);
        })
        .expect_err("one token too many");
        assert!(
            error.to_string().contains("must be the last two"),
            "{error}"
        );
    }

    #[test]
    fn special_tokens_in_a_text_stay_text() {
        let tokenizer = easy_vqa();
        let special = tokenizer.special();
        let text = "is <image> or <|assistant|>\n<|endoftext|> <s><pad> there?";
        let ids = tokenizer.encode(&[Piece::Text(text)]).expect("ids");
        assert!(ids.iter().all(|&id| id < special.bos), "{ids:?}");
        assert_eq!(tokenizer.decode(&ids).expect("text").trim(), text);
    }

    #[test]
    fn a_special_token_strips_what_its_flags_say() {
        let tokenizer = easy_vqa();
        let special = tokenizer.special();
        let encode = |pieces: &[Piece]| tokenizer.encode(pieces).expect("ids");
        let plain = encode(&[Piece::Special(special.assistant), Piece::Text("blue")]);
        let spaced = encode(&[Piece::Special(special.assistant), Piece::Text(" \n blue")]);
        assert_eq!(plain, spaced);
        assert_eq!(plain.len(), 2);
        let kept = encode(&[Piece::Special(special.eos), Piece::Text("\nblue")]);
        assert!(kept.len() > 2, "<|endoftext|> strips nothing: {kept:?}");
    }

    #[test]
    fn an_id_outside_the_vocabulary_is_an_error() {
        let tokenizer = easy_vqa();
        let id = tokenizer.vocab() as u32;
        let error = tokenizer.decode(&[id]).expect_err("too large");
        assert!(error.to_string().contains(&id.to_string()), "{error}");
    }

    proptest! {
        #[test]
        fn any_text_encodes_without_special_ids_and_decodes_again(text in "\\PC{0,40}") {
            let tokenizer = easy_vqa();
            let ids = tokenizer.encode(&[Piece::Text(&text)]).expect("ids");
            prop_assert!(ids.iter().all(|&id| id < tokenizer.special().bos));
            let decoded = tokenizer.decode(&ids).expect("text");
            // easy-VQA's tokenizer puts text in lower case, character by character.
            let lower: String = text.chars().flat_map(char::to_lowercase).collect();
            prop_assert_eq!(decoded.trim_start_matches(' '), lower.trim_start_matches(' '));
        }
    }
}
