//! Text to token ids: the tokenizer, AKI's turn texts, labels and media ranges.

mod encode;
mod template;
mod tokenizer;

pub use self::encode::{IGNORE, Sequence};
pub use self::template::Template;
pub use self::tokenizer::{Piece, SpecialTokens, Tokenizer};

#[cfg(test)]
pub(crate) use self::tokenizer::tests;
