//! The special tokens of AKI's texts.

use crate::DataError;

/// Ids of the special tokens that AKI's texts are made of.
///
/// They differ between tokenizers (`<|assistant|>` is 32001 in Phi's, another in the easy-VQA
/// one), so they are looked up by content and never assumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpecialTokens {
    /// Begins every sequence: the tokenizer's `bos_token`, `<s>` where it names none. Qwen2's has none.
    pub bos: Option<u32>,
    /// Ends every training sequence: the tokenizer's `eos_token`, `<|endoftext|>` where it names none.
    pub eos: u32,
    /// `<pad>`, fills a batch on the right.
    pub pad: u32,
    /// The tags of turns; Llama's and Qwen2's tokenizers have none of them.
    pub roles: Option<Roles>,
    /// `<image>`, the place of a picture's embeddings.
    pub image: u32,
    /// `<|endofchunk|>`, ends the caption of a picture.
    pub end_of_chunk: u32,
}

/// Ids of the tags around turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles {
    /// `<|system|>`, begins the system line.
    pub system: u32,
    /// `<|user|>`, begins a question.
    pub user: u32,
    /// `<|assistant|>`, begins an answer; the first question ends here.
    pub assistant: u32,
    /// `<|end|>`, ends the system line, a question and, in a conversation, an answer.
    pub end: u32,
}

impl SpecialTokens {
    /// The tags of turns.
    ///
    /// # Errors
    /// [`DataError::NoRoles`] if the tokenizer has none.
    pub fn roles(&self) -> Result<Roles, DataError> {
        self.roles.ok_or(DataError::NoRoles)
    }

    /// Tokens that end an answer: `eos`, and `<|end|>` where there is one.
    pub fn stops(&self) -> Vec<u32> {
        let end = self.roles.map(|roles| roles.end);
        std::iter::once(self.eos).chain(end).collect()
    }

    /// `<|assistant|>`, if there is one.
    pub(super) fn assistant(&self) -> Option<u32> {
        self.roles.map(|roles| roles.assistant)
    }
}
