//! Ids to text, one by one, as Hugging Face's slow `LlamaTokenizer` decodes them all at once.

use super::llama::{Llama, SPACE};
use super::sentencepiece::Kind;

/// The state between two ids. What was put out never changes after, but with `legacy` and special
/// tokens shown.
///
/// Text falls into parts at added tokens that stand apart; a part into groups at special tokens;
/// each group is decoded by SentencePiece's rules on its own.
#[derive(Clone, Debug)]
pub(super) struct LlamaDecoder {
    skip_special: bool,
    /// Anything put out before the part that goes on.
    something_before: bool,
    part: Part,
    group: Group,
}

/// The part that goes on.
#[derive(Clone, Debug, Default)]
struct Part {
    tokens: usize,
    /// Whether any text came of them.
    has_text: bool,
    previous_special: bool,
}

/// SentencePiece's `Decode` of one run of pieces.
#[derive(Clone, Debug, Default)]
struct Group {
    /// Where the group begins in the text of this call; see [`LlamaDecoder::push`].
    start: usize,
    empty: bool,
    after_first_space: bool,
    seen_first_space: bool,
    /// Byte pieces that make no whole character yet.
    bytes: Vec<u8>,
}

impl Group {
    fn new(start: usize) -> Self {
        Self {
            start,
            empty: true,
            ..Self::default()
        }
    }
}

impl LlamaDecoder {
    pub(super) fn new(skip_special: bool) -> Self {
        Self {
            skip_special,
            something_before: false,
            part: Part::default(),
            group: Group::new(0),
        }
    }

    /// Adds what the id adds to the text; false if there is no such id. One `out` may be used for
    /// all calls, or a new one for each where special tokens are skipped.
    pub(super) fn push(&mut self, llama: &Llama, id: u32, out: &mut String) -> bool {
        let special = llama.special.contains(&id);
        if special && self.skip_special {
            return true;
        }
        if let Some(token) = llama.added.get(&id) {
            if llama.apart.contains(&id) {
                self.end_part(out, false);
                self.put_apart(&token.content, out);
            } else {
                self.put_special(llama, &token.content, out);
            }
            return true;
        }
        let Some((piece, kind)) = llama.model.piece(id) else {
            return false;
        };
        let index = self.begin_token();
        if index == 1
            && self.part.previous_special
            && llama.prefix_space
            && !piece.starts_with(SPACE)
        {
            self.put(" ", out);
        }
        self.part.previous_special = false;
        // The blank in front of the first word is the prefix, not the text's.
        let first = (index == 0 && llama.prefix_space)
            .then(|| piece.strip_prefix(SPACE))
            .flatten();
        match first {
            None => self.piece(llama, piece, kind, out),
            Some(rest) => match llama.model.id(rest).and_then(|id| llama.model.piece(id)) {
                Some((rest, kind)) => self.piece(llama, rest, kind, out),
                None => self.piece_end(rest, false, out),
            },
        }
        true
    }

    /// Adds what is left at the end of all ids: replacement characters for broken ones.
    pub(super) fn finish(&mut self, out: &mut String) {
        self.end_part(out, true);
    }

    fn begin_token(&mut self) -> usize {
        self.part.tokens += 1;
        self.part.tokens - 1
    }

    fn piece(&mut self, llama: &Llama, piece: &str, kind: Kind, out: &mut String) {
        match kind {
            Kind::Byte(byte) => {
                self.group.bytes.push(byte);
                self.put_characters(false, out);
            }
            Kind::Control => self.piece_end("", false, out),
            Kind::Unknown => self.piece_end(&llama.model.unknown_surface, false, out),
            Kind::Normal(_) | Kind::UserDefined => {
                self.put_characters(true, out);
                if self.group.seen_first_space || !self.group.empty {
                    self.group.after_first_space = true;
                }
                let (drops, drops_all) = llama.model.drops_first_space(llama.legacy);
                let (mut text, mut seen) = (piece, false);
                if drops
                    && !self.group.after_first_space
                    && let Some(rest) = piece.strip_prefix(SPACE)
                {
                    (text, seen) = (rest, !drops_all);
                }
                self.piece_end(&text.replace(SPACE, " "), seen, out);
            }
        }
    }

    fn piece_end(&mut self, text: &str, seen_first_space: bool, out: &mut String) {
        self.put_characters(true, out);
        if self.group.seen_first_space || !self.group.empty {
            self.group.after_first_space = true;
        }
        self.group.seen_first_space = seen_first_space;
        self.put_group(text, out);
    }

    /// Whole characters among the bytes; with `end`, all of them. A byte that cannot be part of a
    /// character becomes U+FFFD, as does each byte of a character cut off.
    fn put_characters(&mut self, end: bool, out: &mut String) {
        let mut bytes = std::mem::take(&mut self.group.bytes);
        while !bytes.is_empty() {
            let (text, used) = match std::str::from_utf8(&bytes) {
                Ok(text) => (text, bytes.len()),
                Err(error) if error.valid_up_to() > 0 => {
                    let used = error.valid_up_to();
                    (
                        std::str::from_utf8(&bytes[..used]).unwrap_or_default(),
                        used,
                    )
                }
                Err(error) if error.error_len().is_none() && !end => break,
                Err(_) => ("\u{fffd}", 1),
            };
            self.put_group(text, out);
            bytes.drain(..used);
        }
        self.group.bytes = bytes;
    }

    fn put_group(&mut self, text: &str, out: &mut String) {
        self.group.empty &= text.is_empty();
        self.put(text, out);
    }

    /// Text of the part; the blank that sets it apart from what is before comes first.
    fn put(&mut self, text: &str, out: &mut String) {
        if !text.is_empty() {
            if !self.part.has_text && self.something_before {
                out.push(' ');
            }
            self.part.has_text = true;
            out.push_str(text);
        }
    }

    fn put_special(&mut self, llama: &Llama, content: &str, out: &mut String) {
        let index = self.begin_token();
        self.put_characters(true, out);
        if llama.legacy && index > 0 && !self.part.previous_special {
            // It goes in front of the group, not of the token: so does the original.
            if self.part.has_text {
                out.insert(self.group.start.min(out.len()), ' ');
            } else {
                self.put(" ", out);
            }
        }
        self.put(content, out);
        self.part.previous_special = true;
        self.group = Group::new(out.len());
    }

    fn put_apart(&mut self, content: &str, out: &mut String) {
        if self.something_before {
            out.push(' ');
        }
        out.push_str(content);
        self.something_before = true;
        self.group = Group::new(out.len());
    }

    fn end_part(&mut self, out: &mut String, last: bool) {
        self.put_characters(true, out);
        if self.part.tokens > 0 {
            if last && !self.part.has_text && self.something_before {
                out.push(' ');
            }
            self.something_before |= self.part.has_text;
        }
        self.part = Part::default();
        self.group = Group::new(out.len());
    }
}
