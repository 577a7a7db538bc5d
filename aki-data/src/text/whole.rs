//! Texts that come whole, special tokens spelled out in them.

use super::encode::{Labels, Sequence};
use super::tokenizer::Tokenizer;
use crate::DataError;

impl Sequence {
    /// A full training text, such as `<|system|>\n..<|assistant|>\n{answer}`. `<s>` is put in
    /// front and `<|endoftext|>` behind unless they are there. Labels: with an `<|assistant|>` in
    /// it, what comes after the first one; without, as in a caption, all. Never pictures and padding, nor
    /// `<|endofchunk|>` in an answer. `<image>` may stand several times.
    ///
    /// The text must be one's own: who writes it can put special tokens in.
    ///
    /// # Errors
    /// [`DataError::Encode`] if the tokenizer fails.
    pub fn from_training_text(
        tokenizer: &Tokenizer,
        text: &str,
        media_len: usize,
    ) -> Result<Self, DataError> {
        let special = tokenizer.special();
        let mut ids = tokenizer.encode_marked(text)?;
        // Spelled out rather than put in front of the ids: what begins a text and what stands
        // after a special token are not encoded alike.
        if let Some(bos) = special.bos
            && ids.first() != Some(&bos)
        {
            let bos = tokenizer.spelling(bos);
            ids = tokenizer.encode_marked(&format!("{bos}{text}"))?;
        }
        if ids.last() != Some(&special.eos) {
            ids.push(special.eos);
        }
        let assistant = special.assistant();
        let labels = if ids.iter().any(|&id| Some(id) == assistant) {
            Labels::Answer
        } else {
            Labels::Text
        };
        Ok(Self::new(&ids, special, media_len, labels))
    }

    /// A prompt as it is: nothing is put before or behind it, and it has no labels.
    ///
    /// # Errors
    /// [`DataError::Encode`] if the tokenizer fails.
    pub fn from_raw_prompt(
        tokenizer: &Tokenizer,
        text: &str,
        media_len: usize,
    ) -> Result<Self, DataError> {
        let ids = tokenizer.encode_marked(text)?;
        Ok(Self::new(&ids, tokenizer.special(), media_len, Labels::Text).unlabelled())
    }
}
