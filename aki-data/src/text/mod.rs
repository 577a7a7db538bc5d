//! Text to token ids: the tokenizer, AKI's turn texts, labels and media ranges.

mod bytes;
mod chat;
mod config;
mod conversation;
mod encode;
mod interleaved;
mod json;
mod llama;
mod llama_decode;
mod segment;
mod sentencepiece;
mod source;
mod special;
mod stream;
mod template;
mod tokenizer;
mod whole;

pub use self::chat::ChatTemplate;
pub use self::conversation::{Message, Role};
pub use self::encode::{IGNORE, Sequence};
pub use self::interleaved::Part;
pub use self::special::{Roles, SpecialTokens};
pub use self::stream::TextStream;
pub use self::template::{PictureOrder, Template};
pub use self::tokenizer::{Piece, Tokenizer};

#[cfg(test)]
pub(crate) use self::tokenizer::tests;
