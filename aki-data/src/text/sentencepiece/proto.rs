//! The few messages of `sentencepiece_model.proto` that a tokenizer needs, read with `prost`.

use prost::Message;
use prost::encoding::{DecodeContext, WireType, check_wire_type, decode_key, decode_varint};

/// Most pieces that are read: four times the largest vocabulary in use (256 thousand), so that a
/// damaged or hostile file cannot ask for much memory.
const MAX_PIECES: usize = 1 << 20;

/// `ModelProto`: fields 1 (repeated, read one by one), 2 and 3.
#[derive(Debug, Default)]
pub(super) struct ModelProto {
    pub(super) pieces: Vec<PieceProto>,
    pub(super) trainer: TrainerProto,
    pub(super) normalizer: NormalizerProto,
}

/// `ModelProto.SentencePiece`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct PieceProto {
    #[prost(string, tag = "1")]
    pub(super) piece: String,
    #[prost(float, tag = "2")]
    pub(super) score: f32,
    /// 1 normal, 2 unknown, 3 control, 4 user defined, 5 unused, 6 byte.
    #[prost(int32, tag = "3", optional)]
    pub(super) kind: Option<i32>,
}

/// `TrainerSpec`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct TrainerProto {
    /// 1 unigram, 2 BPE, 3 word, 4 char.
    #[prost(int32, tag = "3", optional)]
    pub(super) model_type: Option<i32>,
    #[prost(bool, tag = "24")]
    pub(super) treat_whitespace_as_suffix: bool,
    #[prost(bool, tag = "35")]
    pub(super) byte_fallback: bool,
    #[prost(string, tag = "44", optional)]
    pub(super) unk_surface: Option<String>,
}

/// `NormalizerSpec`. An absent flag is set.
#[derive(Clone, PartialEq, Message)]
pub(super) struct NormalizerProto {
    #[prost(bytes = "vec", tag = "2")]
    pub(super) precompiled_charsmap: Vec<u8>,
    #[prost(bool, tag = "3", optional)]
    pub(super) add_dummy_prefix: Option<bool>,
    #[prost(bool, tag = "4", optional)]
    pub(super) remove_extra_whitespaces: Option<bool>,
    #[prost(bool, tag = "5", optional)]
    pub(super) escape_whitespaces: Option<bool>,
}

impl ModelProto {
    /// Reads a whole `.model` file. The outermost message is walked by hand, since two bytes of it
    /// can make a piece of fifty in memory: their number is held to [`MAX_PIECES`].
    pub(super) fn read(mut bytes: &[u8]) -> Result<Self, String> {
        let damaged = |error: prost::DecodeError| error.to_string();
        let mut model = Self::default();
        while !bytes.is_empty() {
            let (tag, wire) = decode_key(&mut bytes).map_err(damaged)?;
            if !matches!(tag, 1..=3) {
                prost::encoding::skip_field(wire, tag, &mut bytes, DecodeContext::default())
                    .map_err(damaged)?;
                continue;
            }
            check_wire_type(WireType::LengthDelimited, wire).map_err(damaged)?;
            let len = decode_varint(&mut bytes).map_err(damaged)?;
            let (message, rest) = usize::try_from(len)
                .ok()
                .and_then(|len| bytes.split_at_checked(len))
                .ok_or_else(|| {
                    format!("a field of {len} bytes reaches past the end of the file")
                })?;
            bytes = rest;
            match tag {
                1 if model.pieces.len() == MAX_PIECES => {
                    return Err(format!("it has more than {MAX_PIECES} pieces"));
                }
                1 => model
                    .pieces
                    .push(PieceProto::decode(message).map_err(damaged)?),
                2 => model.trainer.merge(message).map_err(damaged)?,
                _ => model.normalizer.merge(message).map_err(damaged)?,
            }
        }
        Ok(model)
    }
}
