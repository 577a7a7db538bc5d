//! What SentencePiece does to a text before it looks for pieces.

use super::charsmap::Charsmap;
use super::proto::ModelProto;

/// Stands for a blank within pieces.
const SPACE: &str = "\u{2581}";

/// Built from `NormalizerSpec`; follows `Normalizer::Normalize` of SentencePiece 0.2.
#[expect(clippy::struct_excessive_bools, reason = "the flags of the message")]
#[derive(Clone, Debug)]
pub(super) struct Normalizer {
    charsmap: Charsmap,
    pub(super) add_dummy_prefix: bool,
    space_as_suffix: bool,
    pub(super) remove_extra_whitespaces: bool,
    escape_whitespaces: bool,
    /// Kept as they stand, whatever the map says; the longest first.
    user_defined: Vec<String>,
}

impl Normalizer {
    pub(super) fn new(model: &ModelProto, user_defined: Vec<String>) -> Result<Self, String> {
        let spec = &model.normalizer;
        Ok(Self {
            charsmap: Charsmap::read(&spec.precompiled_charsmap)?,
            add_dummy_prefix: spec.add_dummy_prefix.unwrap_or(true),
            space_as_suffix: model.trainer.treat_whitespace_as_suffix,
            remove_extra_whitespaces: spec.remove_extra_whitespaces.unwrap_or(true),
            escape_whitespaces: spec.escape_whitespaces.unwrap_or(true),
            user_defined,
        })
    }

    /// The user-defined symbol that `text` begins with.
    pub(super) fn user_defined(&self, text: &str) -> Option<&str> {
        let mut symbols = self.user_defined.iter().map(String::as_str);
        symbols.find(|&symbol| text.starts_with(symbol))
    }

    /// The text in terms of pieces. A prefix is put in front only where both the model and
    /// `dummy_prefix` want it.
    pub(super) fn apply(&self, text: &str, dummy_prefix: bool) -> String {
        let space = if self.escape_whitespaces { SPACE } else { " " };
        let mut rest = text;
        if self.remove_extra_whitespaces {
            while let (" ", len) = self.head(rest) {
                rest = &rest[len..];
            }
        }
        if rest.is_empty() {
            return String::new();
        }
        let dummy_prefix = dummy_prefix && self.add_dummy_prefix;
        let mut out = String::with_capacity(rest.len() + rest.len() / 2);
        if dummy_prefix && !self.space_as_suffix {
            out.push_str(space);
        }
        let mut after_space = self.remove_extra_whitespaces;
        while !rest.is_empty() {
            let (mut head, len) = self.head(rest);
            rest = &rest[len..];
            if after_space {
                head = head.trim_start_matches(' ');
            }
            if !head.is_empty() {
                for (index, part) in head.split(' ').enumerate() {
                    if index > 0 {
                        out.push_str(space);
                    }
                    out.push_str(part);
                }
                after_space = self.remove_extra_whitespaces && head.ends_with(' ');
            }
        }
        if self.remove_extra_whitespaces {
            out.truncate(out.trim_end_matches(space).len());
        }
        if dummy_prefix && self.space_as_suffix {
            out.push_str(space);
        }
        out
    }

    /// What the head of `text` becomes, and how long it is: a user-defined symbol, else the
    /// longest mapped string, else one character.
    fn head<'a>(&'a self, text: &'a str) -> (&'a str, usize) {
        if let Some(symbol) = self.user_defined(text) {
            return (symbol, symbol.len());
        }
        self.charsmap.longest(text).unwrap_or_else(|| {
            let len = text.chars().next().map_or(0, char::len_utf8);
            (&text[..len], len)
        })
    }
}
