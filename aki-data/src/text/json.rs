//! A `tokenizer.json`, worked by Hugging Face's `tokenizers`.

use std::collections::HashMap;
use std::sync::OnceLock;

use serde_json::Value;
use tokenizers::AddedToken;

use super::config::{self, Config};
use super::segment::Segment;

/// Two ways to encode with one tokenizer.
pub(super) struct Json {
    /// Finds special tokens that are spelled out.
    marked: tokenizers::Tokenizer,
    /// Reads them as text; made when first wanted.
    plain: OnceLock<tokenizers::Tokenizer>,
    /// Special and other added tokens.
    added: HashMap<u32, AddedToken>,
    /// Whether pieces are spelled in GPT-2's letters for bytes.
    byte_level: bool,
}

impl Json {
    /// Reads the text of the file and adds what the configuration has more; truncation and padding
    /// set in it are ignored.
    pub(super) fn read(bytes: &[u8], config: &Config) -> tokenizers::Result<Self> {
        // Of JSON that is damaged within a decoder, and of merges that are too long, the crate makes
        // a panic.
        check_merges(&serde_json::from_slice(bytes)?)?;
        let mut inner = tokenizers::Tokenizer::from_bytes(bytes)?;
        inner.with_truncation(None)?;
        inner.with_padding(None);
        Self::new(inner, config)
    }

    /// The same with what has come into the configuration.
    pub(super) fn extended(self, config: &Config) -> tokenizers::Result<Self> {
        Self::new(self.marked, config)
    }

    fn new(mut inner: tokenizers::Tokenizer, config: &Config) -> tokenizers::Result<Self> {
        let token = |token: &config::AddedToken| AddedToken {
            content: token.content.clone(),
            single_word: token.single_word,
            lstrip: token.lstrip,
            rstrip: token.rstrip,
            normalized: token.normalized,
            special: token.special,
        };
        inner.add_tokens(config.added.values().map(token))?;
        for (id, token) in &config.added {
            let found = inner.token_to_id(&token.content);
            if found != Some(*id) {
                let content = &token.content;
                return Err(format!(
                    "{} gives {content:?} the id {id}, but it is {found:?} here",
                    config::CONFIG
                )
                .into());
            }
        }
        let has = |inner: &tokenizers::Tokenizer, content: &str| {
            let added = inner.get_added_tokens_decoder();
            added.values().any(|token| token.content == content)
        };
        let named = config.named.iter().filter_map(|(_, token)| token.as_ref());
        for named in named.chain(&config.additional) {
            if !has(&inner, &named.content) {
                inner.add_tokens([token(named)])?;
            }
        }
        let decoder = serde_json::to_string(&inner.get_decoder())?;
        Ok(Self {
            byte_level: decoder.contains("\"ByteLevel\""),
            added: inner.get_added_tokens_decoder().into_iter().collect(),
            marked: inner,
            plain: OnceLock::new(),
        })
    }

    /// One more than the largest id.
    pub(super) fn len(&self) -> usize {
        self.marked
            .get_vocab(true)
            .into_values()
            .max()
            .map_or(0, |id| id as usize + 1)
    }

    /// Whether [`Self::decode`] can leave the id out.
    pub(super) fn is_special(&self, id: u32) -> bool {
        self.token(id).is_some_and(|token| token.special)
    }

    /// Whether there is such a token, added or a piece.
    pub(super) fn has(&self, content: &str) -> bool {
        self.marked.token_to_id(content).is_some()
    }

    /// Id of an added token that is special.
    pub(super) fn special(&self, content: &str) -> Option<u32> {
        let mut added = self.added.iter();
        let found = added.find(|(_, token)| token.special && token.content == content);
        found.map(|(&id, _)| id)
    }

    /// The file's text.
    pub(super) fn to_text(&self) -> tokenizers::Result<String> {
        self.marked.to_string(false)
    }

    /// The whole text, special tokens found in it.
    pub(super) fn encode_marked(&self, text: &str) -> tokenizers::Result<Vec<u32>> {
        Ok(self.marked.encode_fast(text, false)?.get_ids().to_vec())
    }

    /// Segments, no two texts side by side.
    ///
    /// All at once if no text spells a special token, since white space and prefixes depend on
    /// what comes before; else one by one.
    pub(super) fn encode(&self, segments: &[Segment]) -> tokenizers::Result<Vec<u32>> {
        let wanted: Vec<u32> = segments
            .iter()
            .filter_map(|segment| match segment {
                Segment::Added(id) => Some(*id),
                Segment::Text(_) => None,
            })
            .collect();
        if let Some(whole) = self.spelled(segments) {
            let ids = self.encode_marked(&whole)?;
            let found = ids.iter().filter(|&&id| self.is_special(id));
            if found.copied().eq(wanted) {
                return Ok(ids);
            }
        }
        let mut ids = Vec::new();
        for (index, segment) in segments.iter().enumerate() {
            match segment {
                Segment::Added(id) => ids.push(*id),
                Segment::Text(text) => {
                    let before = index.checked_sub(1).and_then(|before| segments.get(before));
                    let text = self.stripped(before, text, segments.get(index + 1));
                    if !text.is_empty() {
                        ids.extend_from_slice(self.plain().encode_fast(text, false)?.get_ids());
                    }
                }
            }
        }
        Ok(ids)
    }

    pub(super) fn decode(&self, ids: &[u32], skip_special: bool) -> tokenizers::Result<String> {
        self.marked.decode(ids, skip_special)
    }

    /// What the token by itself says, as bytes: a token may be part of a character.
    pub(super) fn token_bytes(&self, id: u32) -> Option<Vec<u8>> {
        if let Some(token) = self.token(id) {
            return Some(token.content.clone().into_bytes());
        }
        let piece = self.marked.id_to_token(id)?;
        match self.byte_level {
            true => piece.chars().map(byte_of_letter).collect(),
            false => Some(bytes_of_piece(&piece)),
        }
    }

    /// The segments as one text, if no special token is spelled out in a text of theirs.
    fn spelled(&self, segments: &[Segment]) -> Option<String> {
        let mut whole = String::new();
        for segment in segments {
            match segment {
                Segment::Added(id) => {
                    whole.push_str(&self.token(*id).filter(|token| token.special)?.content);
                }
                Segment::Text(text) => {
                    let mut special = self.added.values().filter(|token| token.special);
                    if special.any(|token| text.contains(token.content.as_str())) {
                        return None;
                    }
                    whole.push_str(text);
                }
            }
        }
        Some(whole)
    }

    fn plain(&self) -> &tokenizers::Tokenizer {
        self.plain.get_or_init(|| {
            let mut plain = self.marked.clone();
            plain.set_encode_special_tokens(true);
            plain
        })
    }

    /// Texts of the special tokens.
    pub(super) fn spellings(&self) -> Vec<String> {
        let special = self
            .added
            .values()
            .filter(|token| token.special && !token.content.is_empty());
        special.map(|token| token.content.clone()).collect()
    }

    pub(super) fn token(&self, id: u32) -> Option<&AddedToken> {
        self.added.get(&id)
    }

    /// `text` less the white space that its neighbours swallow.
    fn stripped<'a>(
        &self,
        before: Option<&Segment>,
        text: &'a str,
        after: Option<&Segment>,
    ) -> &'a str {
        let token = |segment: Option<&Segment>| match segment {
            Some(&Segment::Added(id)) => self.token(id),
            _ => None,
        };
        let mut text = text;
        if token(before).is_some_and(|token| token.rstrip) {
            text = text.trim_start();
        }
        if token(after).is_some_and(|token| token.lstrip) {
            text = text.trim_end();
        }
        text
    }
}

/// The bytes of a piece as SentencePiece spells it: `<0x0A>` is a byte, and `▁` a blank.
pub(super) fn bytes_of_piece(piece: &str) -> Vec<u8> {
    let hex = piece
        .strip_prefix("<0x")
        .and_then(|rest| rest.strip_suffix('>'));
    match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
        Some(byte) => vec![byte],
        None => piece.replace('▁', " ").into_bytes(),
    }
}

/// The byte that GPT-2 spells with a letter: those that print stand for themselves, the others for the
/// letters from U+0100 on.
fn byte_of_letter(letter: char) -> Option<u8> {
    let prints = |byte: &u8| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    match u32::from(letter) {
        code @ 0..256 => Some(code as u8).filter(prints),
        code => {
            let mut others = (0..=255).filter(|byte| !prints(byte));
            others.nth(code as usize - 256)
        }
    }
}

/// Whether each merge of a byte-pair model gives a token of its vocabulary.
fn check_merges(json: &Value) -> Result<(), String> {
    let model = &json["model"];
    let (Some(vocab), Some(merges)) = (model["vocab"].as_object(), model["merges"].as_array())
    else {
        return Ok(());
    };
    let prefix = model["continuing_subword_prefix"].as_str().unwrap_or("");
    for merge in merges {
        let pair = match merge {
            Value::String(text) => text.split_once(' '),
            _ => merge[0].as_str().zip(merge[1].as_str()),
        };
        let merged = pair.and_then(|(a, b)| Some(format!("{a}{}", b.strip_prefix(prefix)?)));
        if !merged.is_some_and(|merged| vocab.contains_key(&merged)) {
            return Err(format!(
                "its merge {merge} gives no token of the vocabulary"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_bytes() {
        let bytes: Vec<u8> = "Ġblue".chars().filter_map(byte_of_letter).collect();
        assert_eq!(bytes, b" blue");
        assert_eq!(byte_of_letter('Ċ'), Some(b'\n'));
        assert_eq!(byte_of_letter('Ń'), Some(0xad));
        assert_eq!([' ', 'ń'].map(byte_of_letter), [None, None]);
        assert_eq!(bytes_of_piece("<0xE2>"), [0xe2]);
        assert_eq!(bytes_of_piece("▁a"), b" a");
    }
}
