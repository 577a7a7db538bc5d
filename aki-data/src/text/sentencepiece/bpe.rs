//! The pieces of a `.model` and how a text is cut into them.

use std::collections::HashMap;

use super::merge::merge;
use super::normalizer::Normalizer;
use super::proto::{ModelProto, PieceProto};

/// What a piece is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::text) enum Kind {
    /// Found by merging, the highest score first.
    Normal(f32),
    /// Stands for what no piece covers.
    Unknown,
    /// Never found in a text, and nothing when decoded.
    Control,
    /// Found as it stands, before merging.
    UserDefined,
    /// One byte of a character that no piece covers.
    Byte(u8),
}

/// A `.model` of type BPE.
#[derive(Debug)]
pub(in crate::text) struct Model {
    normalizer: Normalizer,
    pieces: Vec<(String, Kind)>,
    ids: HashMap<String, u32>,
    unknown: u32,
    /// Ids of the 256 byte pieces, if characters without a piece fall back to them.
    bytes: Option<Vec<u32>>,
    /// Bytes of the longest piece: nothing longer is looked up.
    longest: usize,
    /// What `<unk>` becomes when decoded.
    pub(in crate::text) unknown_surface: String,
}

impl Model {
    /// Reads the bytes of a `tokenizer.model`; the error says what is wrong with them.
    pub(in crate::text) fn read(bytes: &[u8]) -> Result<Self, String> {
        let proto = ModelProto::read(bytes)?;
        if proto.trainer.model_type != Some(2) {
            return Err(
                "it is no SentencePiece model of type BPE; save the tokenizer as a \
                 tokenizer.json with Hugging Face's fast tokenizers"
                    .to_owned(),
            );
        }
        let pieces: Vec<_> = proto.pieces.iter().map(piece).collect::<Result<_, _>>()?;
        let mut ids = HashMap::with_capacity(pieces.len());
        let (mut unknowns, mut byte_ids, mut user_defined) = (vec![], vec![None; 256], vec![]);
        for (id, (piece, kind)) in (0..).zip(&pieces) {
            if ids.insert(piece.clone(), id).is_some() {
                return Err(format!("it has the piece {piece:?} twice"));
            }
            match kind {
                Kind::Unknown => unknowns.push(id),
                Kind::Byte(byte) => byte_ids[usize::from(*byte)] = Some(id),
                Kind::UserDefined => user_defined.push(piece.clone()),
                Kind::Normal(_) | Kind::Control => {}
            }
        }
        let [unknown] = unknowns[..] else {
            return Err("it must have exactly one unknown piece".to_owned());
        };
        let bytes: Option<Vec<_>> = byte_ids.into_iter().collect();
        if proto.trainer.byte_fallback && bytes.is_none() {
            return Err("it falls back to bytes but lacks some of the 256 byte pieces".to_owned());
        }
        user_defined.sort_by_key(|symbol| std::cmp::Reverse(symbol.len()));
        Ok(Self {
            normalizer: Normalizer::new(&proto, user_defined)?,
            unknown,
            bytes: bytes.filter(|_| proto.trainer.byte_fallback),
            longest: pieces
                .iter()
                .map(|(piece, _)| piece.len())
                .max()
                .unwrap_or(0),
            ids,
            pieces,
            unknown_surface: proto.trainer.unk_surface.unwrap_or(" \u{2047} ".to_owned()),
        })
    }

    /// Number of pieces.
    pub(in crate::text) fn len(&self) -> usize {
        self.pieces.len()
    }

    /// Text and kind of a piece.
    pub(in crate::text) fn piece(&self, id: u32) -> Option<(&str, Kind)> {
        let (piece, kind) = self.pieces.get(id as usize)?;
        Some((piece, *kind))
    }

    /// Id of a piece.
    pub(in crate::text) fn id(&self, piece: &str) -> Option<u32> {
        self.ids.get(piece).copied()
    }

    /// Whether the first blank of a decoded text goes, and whether all that follow it do.
    pub(in crate::text) fn drops_first_space(&self, dummy_prefix: bool) -> (bool, bool) {
        let drops_all = self.normalizer.remove_extra_whitespaces;
        let drops = dummy_prefix && self.normalizer.add_dummy_prefix;
        (drops || drops_all, drops_all)
    }

    /// Ids of a text, as `SentencePieceProcessor::Encode` gives them. `dummy_prefix` false
    /// switches off the blank that the model may put in front.
    pub(in crate::text) fn encode(&self, text: &str, dummy_prefix: bool) -> Vec<u32> {
        let normalized = self.normalizer.apply(text, dummy_prefix);
        let mut ids = Vec::new();
        let (mut start, mut at) = (0, 0);
        while let Some(next) = normalized[at..].chars().next() {
            let Some(symbol) = self.normalizer.user_defined(&normalized[at..]) else {
                at += next.len_utf8();
                continue;
            };
            self.merge(&normalized[start..at], &mut ids);
            ids.extend(self.id(symbol));
            at += symbol.len();
            start = at;
        }
        self.merge(&normalized[start..], &mut ids);
        ids
    }

    fn merge(&self, text: &str, ids: &mut Vec<u32>) {
        let found = |part: &str| {
            let id = if part.len() <= self.longest {
                self.id(part)?
            } else {
                return None;
            };
            match self.pieces[id as usize].1 {
                Kind::Normal(score) => Some((id, score)),
                _ => None,
            }
        };
        let mut after_unknown = false;
        for part in merge(text, |part| found(part).map(|(_, score)| score)) {
            let piece = found(part);
            match (piece, &self.bytes) {
                (Some((id, _)), _) => ids.push(id),
                (None, Some(bytes)) => {
                    ids.extend(part.bytes().map(|byte| bytes[usize::from(byte)]));
                }
                // A run of unknown characters is one token.
                (None, None) if after_unknown => {}
                (None, None) => ids.push(self.unknown),
            }
            after_unknown = piece.is_none();
        }
    }
}

fn piece(proto: &PieceProto) -> Result<(String, Kind), String> {
    let piece = proto.piece.clone();
    if piece.is_empty() {
        return Err("it has an empty piece".to_owned());
    }
    let byte = |piece: &str| {
        let digits = piece.strip_prefix("<0x")?.strip_suffix('>')?;
        u8::from_str_radix(digits, 16)
            .ok()
            .filter(|_| digits.len() == 2)
    };
    let kind = match proto.kind.unwrap_or(1) {
        1 if proto.score.is_nan() => {
            return Err(format!("the score of its piece {piece:?} is not a number"));
        }
        1 => Kind::Normal(proto.score),
        2 => Kind::Unknown,
        3 => Kind::Control,
        4 => Kind::UserDefined,
        5 => {
            return Err(format!(
                "its piece {piece:?} is unused, which is not supported"
            ));
        }
        6 => Kind::Byte(
            byte(&piece).ok_or_else(|| format!("its byte piece {piece:?} names no byte"))?,
        ),
        other => return Err(format!("its piece {piece:?} is of unknown type {other}")),
    };
    Ok((piece, kind))
}
