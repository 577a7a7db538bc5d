//! SentencePiece BPE as the Llama family uses it: reading a `tokenizer.model`, normalising
//! text and merging pieces to the same ids as the original.

mod bpe;
mod charsmap;
mod merge;
mod normalizer;
mod proto;

pub(super) use self::bpe::{Kind, Model};
