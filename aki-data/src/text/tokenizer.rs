//! The tokenizer of a model folder, with AKI's special tokens found by their text.

use std::path::Path;

use super::config::{self, Config};
use super::json::Json;
use super::llama::Llama;
use super::llama_decode::LlamaDecoder;
use super::segment::{Segment, segments, split};
use super::source::Source;
use super::special::SpecialTokens;
use crate::DataError;
use crate::files::write_whole;

pub(super) const JSON: &str = "tokenizer.json";
pub(super) const MODEL: &str = "tokenizer.model";
/// A part of a text that is to be encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A special token, by id.
    Special(u32),
    /// Ordinary text. A special token spelled out in it stays ordinary text.
    Text(&'a str),
}

/// A tokenizer that keeps special tokens and text strictly apart.
///
/// It is read from a `tokenizer.json` (worked by `tokenizers`) or, as in AKI's folder, from
/// `tokenizer.model`, `tokenizer_config.json`, `special_tokens_map.json` and `added_tokens.json`,
/// and then gives the ids and texts of Hugging Face's slow `LlamaTokenizer`.
pub struct Tokenizer {
    pub(super) engine: Engine,
    pub(super) config: Config,
    pub(super) special: SpecialTokens,
    pub(super) vocab: usize,
    /// Bytes of the `tokenizer.model`, to be written again.
    pub(super) model: Vec<u8>,
}

/// What does the work.
pub(super) enum Engine {
    Json(Box<Json>),
    Llama(Box<Llama>),
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The engine would print its whole vocabulary.
        f.debug_struct("Tokenizer")
            .field("vocab", &self.vocab)
            .field("special", &self.special)
            .finish_non_exhaustive()
    }
}

impl Tokenizer {
    /// Names of all files that [`Self::open`] may read, to be copied with a model.
    pub const FILES: [&str; 6] = [
        JSON,
        MODEL,
        config::CONFIG,
        config::SPECIAL_MAP,
        config::ADDED,
        config::CHAT_TEMPLATE,
    ];

    /// Reads a model folder's tokenizer: its `tokenizer.json`, else its `tokenizer.model`.
    ///
    /// # Errors
    /// - [`DataError::Tokenizer`] if neither is there or a file is damaged, or `<image>` and
    ///   `<|endofchunk|>` are not the last two ids: the model keeps just these two outside the
    ///   pretrained table.
    /// - [`DataError::MissingToken`] if a token of [`SpecialTokens`] is missing;
    ///   [`Self::open_language_model`] adds it.
    /// - [`DataError::Io`] if a file cannot be read.
    pub fn open(folder: &Path) -> Result<Self, DataError> {
        let (source, config) = Source::open(folder)?;
        source.finish(config)
    }

    /// Reads the tokenizer of a plain language model and adds, behind its last token, those of
    /// `<pad>`, `<image>` and `<|endofchunk|>` that it lacks: 32011 to 32013 in Phi-3.5's.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_language_model(folder: &Path) -> Result<Self, DataError> {
        let (source, config) = Source::open(folder)?;
        source.extended(config)
    }

    /// Reads a `tokenizer.json` that stands alone.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn from_file(path: &Path) -> Result<Self, DataError> {
        let config = Config::default();
        Source::json(path, &config)?.finish(config)
    }

    /// Reads the text of a `tokenizer.json` that is no file.
    pub(super) fn from_json(text: &[u8]) -> Result<Self, DataError> {
        let config = Config::default();
        Source::json_text(Path::new(JSON), text, &config)?.finish(config)
    }

    /// Writes the tokenizer's files into a folder: those of the kind it was read from, with the
    /// tokens added since. [`Self::open`] reads the same tokenizer from them, and so does
    /// `transformers`.
    ///
    /// # Errors
    /// [`DataError::Write`] if a file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), DataError> {
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.join(name);
            write_whole(&path, bytes).map_err(|source| DataError::Write { path, source })
        };
        let class = match &self.engine {
            Engine::Json(json) => {
                let text = json.to_text().map_err(|error| DataError::Tokenizer {
                    path: folder.join(JSON),
                    reason: error.to_string(),
                })?;
                write(JSON, text.as_bytes())?;
                "PreTrainedTokenizerFast"
            }
            Engine::Llama(llama) => {
                write(MODEL, &self.model)?;
                let added: serde_json::Map<_, _> = llama
                    .added
                    .iter()
                    .filter(|(id, _)| **id as usize >= llama.model.len())
                    .map(|(&id, token)| (token.content.clone(), id.into()))
                    .collect();
                write(
                    config::ADDED,
                    format!("{:#}", serde_json::Value::Object(added)).as_bytes(),
                )?;
                "LlamaTokenizer"
            }
        };
        if !self.config.named.is_empty() {
            write(config::SPECIAL_MAP, self.config.special_map().as_bytes())?;
        }
        write(config::CONFIG, self.config.to_text(class).as_bytes())
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

    /// Source of the folder's chat template, for [`ChatTemplate`](super::ChatTemplate).
    pub fn chat_template(&self) -> Option<&str> {
        self.config.chat_template.as_deref()
    }

    /// Text of a token that the configuration names, such as `bos_token`.
    pub(super) fn name(&self, name: &str) -> Option<&str> {
        self.config.name(name)
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Encodes pieces one after the other; adds nothing before or after.
    ///
    /// White space, and the blank that some tokenizers put in front, are treated as if the whole
    /// text had been encoded at once.
    ///
    /// # Errors
    /// [`DataError::Encode`] if the tokenizer fails on a text.
    pub fn encode(&self, pieces: &[Piece]) -> Result<Vec<u32>, DataError> {
        let joined = segments(pieces.iter().copied());
        let first = joined.iter().find_map(|segment| match segment {
            Segment::Text(text) => Some(text.chars().take(80).collect::<String>()),
            Segment::Added(_) => None,
        });
        let ids = match &self.engine {
            Engine::Llama(llama) => Ok(llama.encode(joined)),
            Engine::Json(json) => json.encode(&joined),
        };
        ids.map_err(|error| encode_error(first.unwrap_or_default(), &error))
    }

    /// Encodes a text in which special tokens that are spelled out are special; adds nothing
    /// before or after. For texts of one's own only: see [`Self::encode`].
    ///
    /// # Errors
    /// [`DataError::Encode`] if the tokenizer fails.
    pub fn encode_marked(&self, text: &str) -> Result<Vec<u32>, DataError> {
        let ids = match &self.engine {
            Engine::Llama(llama) => Ok(llama.encode(segments(self.special_parts(text)))),
            Engine::Json(json) => json.encode_marked(text),
        };
        ids.map_err(|error| encode_error(text.chars().take(80).collect(), &error))
    }

    /// Text of the ids, special tokens left out. Nothing is tidied up afterwards
    /// (`clean_up_tokenization_spaces`).
    ///
    /// # Errors
    /// [`DataError::Decode`] if an id is outside the vocabulary.
    pub fn decode(&self, ids: &[u32]) -> Result<String, DataError> {
        self.to_text(ids, true)
    }

    /// Text of the ids, special tokens spelled out.
    ///
    /// # Errors
    /// [`DataError::Decode`] if an id is outside the vocabulary.
    pub fn decode_marked(&self, ids: &[u32]) -> Result<String, DataError> {
        self.to_text(ids, false)
    }

    /// What a token by itself says, as bytes, since it may be part of a character; none if there is no such
    /// token.
    pub fn token_bytes(&self, id: u32) -> Option<Vec<u8>> {
        match &self.engine {
            Engine::Json(json) => json.token_bytes(id),
            Engine::Llama(llama) => llama.token_bytes(id),
        }
    }

    /// Text of a special token.
    pub(super) fn spelling(&self, id: u32) -> &str {
        let content = match &self.engine {
            Engine::Json(json) => json.token(id).map(|token| &token.content),
            Engine::Llama(llama) => llama.added.get(&id).map(|token| &token.content),
        };
        content.map_or("", String::as_str)
    }

    /// Texts of all special tokens.
    pub(super) fn spellings(&self) -> Vec<String> {
        match &self.engine {
            Engine::Json(json) => json.spellings(),
            Engine::Llama(llama) => llama
                .added
                .values()
                .map(|token| token.content.clone())
                .collect(),
        }
    }

    /// Cuts a text at the special tokens that are spelled out in it, each the longest that begins
    /// where it does.
    pub(super) fn special_parts<'a>(&self, text: &'a str) -> Vec<Piece<'a>> {
        let spellings = self.spellings();
        let tokens = spellings
            .iter()
            .filter_map(|text| Some((text.as_str(), self.special_id(text)?)));
        split(text, tokens)
    }

    fn special_id(&self, content: &str) -> Option<u32> {
        match &self.engine {
            Engine::Json(json) => json.special(content),
            Engine::Llama(llama) => llama.added_id(content),
        }
    }

    fn to_text(&self, ids: &[u32], skip_special: bool) -> Result<String, DataError> {
        self.check(ids)?;
        match &self.engine {
            Engine::Json(json) => json.decode(ids, skip_special).map_err(|error| {
                let reason = error.to_string();
                DataError::Decode { reason }
            }),
            Engine::Llama(llama) => {
                let mut decoder = LlamaDecoder::new(skip_special);
                let mut text = String::new();
                for &id in ids {
                    decoder.push(llama, id, &mut text);
                }
                decoder.finish(&mut text);
                Ok(text)
            }
        }
    }

    /// # Errors
    /// [`DataError::Decode`] if an id is outside the vocabulary.
    pub(super) fn check(&self, ids: &[u32]) -> Result<(), DataError> {
        let unknown = |id: u32| match &self.engine {
            Engine::Json(_) => id as usize >= self.vocab,
            Engine::Llama(llama) => {
                id as usize >= llama.model.len() && !llama.added.contains_key(&id)
            }
        };
        let Some(id) = ids.iter().find(|&&id| unknown(id)) else {
            return Ok(());
        };
        let vocab = self.vocab;
        Err(DataError::Decode {
            reason: format!(
                "id {id} is outside the vocabulary of {vocab}; is this the model's tokenizer?"
            ),
        })
    }
}

fn encode_error(text: String, error: &tokenizers::Error) -> DataError {
    DataError::Encode {
        text,
        reason: error.to_string(),
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
        assert!(ids.iter().all(|&id| Some(id) < special.bos), "{ids:?}");
        assert_eq!(tokenizer.decode(&ids).expect("text").trim(), text);
    }

    #[test]
    fn a_special_token_strips_what_its_flags_say() {
        let tokenizer = easy_vqa();
        let special = tokenizer.special();
        let encode = |pieces: &[Piece]| tokenizer.encode(pieces).expect("ids");
        let plain = encode(&[
            Piece::Special(special.roles.expect("roles").assistant),
            Piece::Text("blue"),
        ]);
        let spaced = encode(&[
            Piece::Special(special.roles.expect("roles").assistant),
            Piece::Text(" \n blue"),
        ]);
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
            prop_assert!(ids.iter().all(|&id| Some(id) < tokenizer.special().bos));
            let decoded = tokenizer.decode(&ids).expect("text");
            // easy-VQA's tokenizer puts text in lower case, character by character.
            let lower: String = text.chars().flat_map(char::to_lowercase).collect();
            prop_assert_eq!(decoded.trim_start_matches(' '), lower.trim_start_matches(' '));
        }
    }
}
