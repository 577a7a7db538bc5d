//! Hugging Face's slow `LlamaTokenizer`, white space, prefix and special tokens as it has them.
//!
//! Built from the behaviour of `transformers` 4.57.3 (`tokenization_llama.py`,
//! `tokenization_utils.py`), which the tests hold it against. With `legacy` false, as in AKI's
//! folder, only a text's very beginning gets a blank in front, and nothing after a special token.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};

use super::config::{AddedToken, Config};
use super::json::bytes_of_piece;
use super::segment::Segment;
use super::sentencepiece::Model;

/// Stands for a blank within pieces.
pub(super) const SPACE: char = '\u{2581}';

/// A SentencePiece model with tokens added.
#[derive(Debug)]
pub(super) struct Llama {
    pub(super) model: Model,
    pub(super) added: BTreeMap<u32, AddedToken>,
    contents: HashMap<String, u32>,
    /// Ids that `skip_special_tokens` leaves out: those with a name and the additional ones.
    pub(super) special: HashSet<u32>,
    /// Added tokens that stand apart from their neighbours, blanks between, when shown.
    pub(super) apart: HashSet<u32>,
    pub(super) legacy: bool,
    pub(super) prefix_space: bool,
    unknown: String,
    /// Pieces of the spelled-out unknown token, see [`Self::segment`].
    unknown_len: usize,
}

impl Llama {
    /// Puts model and configuration together. Named tokens that have no id get the next ones.
    pub(super) fn new(model: Model, config: &Config) -> Result<Self, String> {
        if config.added.values().any(|token| token.single_word) {
            return Err(
                "it has added tokens with `single_word`, which are not supported".to_owned(),
            );
        }
        let mut named: Vec<_> = config.named.clone();
        // What `LlamaTokenizer` takes where the configuration says nothing.
        for (name, content) in [
            ("bos_token", "<s>"),
            ("eos_token", "</s>"),
            ("unk_token", "<unk>"),
        ] {
            if !config.speaks_of(name) {
                named.push((name, Some(AddedToken::special(content))));
            }
        }
        let unknown = config.name("unk_token").unwrap_or("<unk>").to_owned();
        let order = [
            "bos_token",
            "eos_token",
            "unk_token",
            "sep_token",
            "pad_token",
        ];
        named.sort_by_key(|(name, _)| order.iter().position(|other| other == name).unwrap_or(9));
        let mut llama = Self {
            contents: HashMap::new(),
            added: BTreeMap::new(),
            special: HashSet::new(),
            apart: HashSet::new(),
            legacy: config.legacy.unwrap_or(true),
            prefix_space: config.add_prefix_space.unwrap_or(true),
            unknown_len: 0,
            unknown,
            model,
        };
        for (&id, token) in &config.added {
            llama.insert(id, token.clone())?;
        }
        let named = named
            .into_iter()
            .filter_map(|(_, token)| Some((token?, false)));
        let additional = config.additional.iter().map(|token| (token.clone(), true));
        let mut apart: HashSet<u32> = llama.added.keys().copied().collect();
        for (token, additional) in named.chain(additional) {
            let id = llama.id(&token.content).unwrap_or(llama.len() as u32);
            if !llama.contents.contains_key(&token.content) {
                llama.insert(
                    id,
                    AddedToken {
                        special: true,
                        ..token
                    },
                )?;
            }
            llama.special.insert(id);
            apart.remove(&id);
            if additional && id as usize >= llama.model.len() {
                llama.apart.insert(id);
            }
        }
        llama.apart.extend(apart);
        llama.unknown_len = llama.model.encode(&llama.unknown, llama.legacy).len();
        Ok(llama)
    }

    /// What a token by itself says.
    pub(super) fn token_bytes(&self, id: u32) -> Option<Vec<u8>> {
        match self.added.get(&id) {
            Some(token) => Some(token.content.clone().into_bytes()),
            None => self.model.piece(id).map(|(piece, _)| bytes_of_piece(piece)),
        }
    }

    fn insert(&mut self, id: u32, token: AddedToken) -> Result<(), String> {
        if token.content.is_empty() {
            return Err(format!("the added token with id {id} is empty"));
        }
        if let Some(other) = self.contents.insert(token.content.clone(), id) {
            return Err(format!("{:?} has the ids {other} and {id}", token.content));
        }
        self.added.insert(id, token);
        Ok(())
    }

    /// One more than the largest id.
    pub(super) fn len(&self) -> usize {
        let last = self
            .added
            .last_key_value()
            .map_or(0, |(&id, _)| id as usize + 1);
        last.max(self.model.len())
    }

    /// Id of an added token.
    pub(super) fn added_id(&self, content: &str) -> Option<u32> {
        self.contents.get(content).copied()
    }

    /// Id of a token, added or a piece.
    pub(super) fn id(&self, content: &str) -> Option<u32> {
        self.added_id(content).or_else(|| self.model.id(content))
    }

    /// Ids of a whole text in segments; no two texts stand side by side in it.
    pub(super) fn encode(&self, mut segments: Vec<Segment>) -> Vec<u32> {
        segments.retain(|segment| !matches!(segment, Segment::Text(text) if text.is_empty()));
        if segments.is_empty() {
            return Vec::new();
        }
        if !self.legacy {
            self.prepare(&mut segments);
        }
        self.strip(&mut segments);
        segments.retain(|segment| !matches!(segment, Segment::Text(text) if text.is_empty()));
        let mut ids = Vec::new();
        for (index, segment) in segments.iter().enumerate() {
            match segment {
                Segment::Added(id) => ids.push(*id),
                Segment::Text(text) => {
                    let pieces = self.segment(text);
                    // A lone blank in front of a special token goes: it is the prefix.
                    let next = segments.get(1);
                    let lone = index == 0 && self.is_blank(&pieces);
                    let special =
                        matches!(next, Some(Segment::Added(id)) if self.special.contains(id));
                    if self.legacy || !(lone && special) {
                        ids.extend(pieces);
                    }
                }
            }
        }
        ids
    }

    /// The prefix, in front of the whole text.
    fn prepare(&self, segments: &mut Vec<Segment>) {
        for segment in segments.iter_mut() {
            if let Segment::Text(text) = segment
                && text.contains(SPACE)
            {
                *text = Cow::Owned(text.replace(SPACE, " "));
            }
        }
        if self.prefix_space {
            let prefix = SPACE.to_string();
            match &mut segments[0] {
                Segment::Text(text) => *text = Cow::Owned(prefix + text),
                Segment::Added(_) => segments.insert(0, Segment::Text(Cow::Owned(prefix))),
            }
        }
    }

    /// White space beside added tokens that swallow it; tokens that are none within a word.
    fn strip(&self, segments: &mut [Segment]) {
        for at in 0..segments.len() {
            let Segment::Added(id) = segments[at] else {
                continue;
            };
            let Some(token) = self.added.get(&id) else {
                continue;
            };
            if token.rstrip
                && let Some(Segment::Text(text)) = segments.get_mut(at + 1)
            {
                *text = Cow::Owned(text.trim_start_matches(python_space).to_owned());
            }
            if token.lstrip
                && at > 0
                && let Segment::Text(text) = &mut segments[at - 1]
            {
                *text = Cow::Owned(text.trim_end_matches(python_space).to_owned());
            }
        }
    }

    /// Pieces of one text.
    ///
    /// SentencePiece with `remove_extra_whitespaces` drops blanks at the beginning, so the
    /// unknown token is put before them, spelled out, and its pieces are taken off again.
    fn segment(&self, text: &str) -> Vec<u32> {
        if self.legacy || !text.starts_with([SPACE, ' ']) {
            return self.model.encode(text, self.legacy);
        }
        let mut ids = self.model.encode(&format!("{}{text}", self.unknown), false);
        if ids.len() >= self.unknown_len {
            ids.drain(..self.unknown_len);
        }
        ids
    }

    fn is_blank(&self, ids: &[u32]) -> bool {
        ids.len() == 1 && self.model.id(&SPACE.to_string()) == Some(ids[0])
    }
}

/// What Python's `str.strip` takes for white space: also the four information separators.
fn python_space(char: char) -> bool {
    char.is_whitespace() || matches!(char, '\u{1c}'..='\u{1f}')
}
