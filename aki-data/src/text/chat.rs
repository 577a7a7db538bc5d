//! The chat template of a checkpoint, in Jinja.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, context};

use super::conversation::{Message, Role};
use super::encode::{Labels, Sequence};
use super::tokenizer::{Piece, Tokenizer};
use crate::DataError;

/// Steps that a template may take; each also pays for 64 bytes of text, so this is 128 MB at most.
const FUEL: u64 = 2_000_000;
/// Blocks, macros and calls within each other.
const RECURSION: usize = 100;

/// A checkpoint's own chat template, with the conventions of Hugging Face's `apply_chat_template`:
/// blocks are trimmed, `messages`, `add_generation_prompt`, `bos_token`, `eos_token`, .. are given,
/// `raise_exception` and Python's string methods are there. It can reach nothing outside itself,
/// and its steps are counted.
///
/// What the messages say cannot become a special token; pictures stand as lines `<image>` before
/// their message's text: templates know no other order.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
}

impl ChatTemplate {
    /// The tokenizer's own template, none if its folder has none.
    ///
    /// # Errors
    /// [`DataError::ChatTemplate`] if its syntax is wrong.
    pub fn of(tokenizer: &Tokenizer) -> Result<Option<Self>, DataError> {
        tokenizer.chat_template().map(Self::new).transpose()
    }

    /// A template from its source.
    ///
    /// # Errors
    /// [`DataError::ChatTemplate`] if its syntax is wrong.
    pub fn new(source: &str) -> Result<Self, DataError> {
        let mut environment = Environment::new();
        let mut syntax = SyntaxConfig::builder();
        syntax.trim_blocks(true).lstrip_blocks(true);
        environment.set_syntax(syntax.build().map_err(|error| fault(&error))?);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_recursion_limit(RECURSION);
        environment.set_fuel(Some(FUEL));
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function(
            "raise_exception",
            |message: String| -> Result<Value, Error> {
                Err(Error::new(ErrorKind::InvalidOperation, message))
            },
        );
        // Not the built-in one, which escapes what is special in HTML.
        environment.add_filter("tojson", |value: Value| -> Result<String, Error> {
            let fault = |error: serde_json::Error| {
                Error::new(ErrorKind::BadSerialization, error.to_string())
            };
            serde_json::to_string(&value).map_err(fault)
        });
        environment
            .add_template_owned("chat", source.to_owned())
            .map_err(|error| fault(&error))?;
        Ok(Self { environment })
    }

    /// Ids of a conversation up to where the next answer begins, with no labels set. No `<s>` is
    /// put in front: templates that want one write it.
    ///
    /// The question that pictures may look at ends after the first `<|assistant|>`; with a
    /// tokenizer that has none, where the first answer begins.
    ///
    /// # Errors
    /// [`DataError::ChatTemplate`] if the template fails, refuses the messages or takes too many
    /// steps; [`DataError::Encode`] if the tokenizer fails.
    pub fn prompt(
        &self,
        tokenizer: &Tokenizer,
        messages: &[Message],
        media_len: usize,
    ) -> Result<Sequence, DataError> {
        let special = tokenizer.special();
        let ids = self.encode(tokenizer, messages)?;
        let mut sequence = Sequence::new(&ids, special, media_len, Labels::Text).unlabelled();
        if special.roles.is_none() {
            let first = messages
                .iter()
                .position(|message| message.role == Role::Assistant);
            let asked = self.encode(tokenizer, &messages[..first.unwrap_or(messages.len())])?;
            if ids.starts_with(&asked) {
                let asked = Sequence::new(&asked, special, media_len, Labels::Text);
                sequence.question_end = Some(asked.input_ids.len());
            }
        }
        Ok(sequence)
    }

    fn encode(&self, tokenizer: &Tokenizer, messages: &[Message]) -> Result<Vec<u32>, DataError> {
        let guard = Guard::new(tokenizer, messages);
        let image = tokenizer.spelling(tokenizer.special().image);
        let list: Vec<_> = messages
            .iter()
            .map(|message| {
                let role = message.role.name();
                let pictures = format!("{image}\n").repeat(message.pictures);
                context! { role, content => pictures + &guard.cover(&message.text) }
            })
            .collect();
        let name = |name: &str| tokenizer.name(name).map_or(Value::UNDEFINED, Value::from);
        let template = self
            .environment
            .get_template("chat")
            .map_err(|error| fault(&error))?;
        let text = template
            .render(context! {
                messages => list,
                add_generation_prompt => true,
                bos_token => name("bos_token"),
                eos_token => name("eos_token"),
                unk_token => name("unk_token"),
                pad_token => name("pad_token"),
            })
            .map_err(|error| fault(&error))?;
        guard.encode(tokenizer, &text)
    }
}

/// Keeps special tokens that messages spell out from becoming special: they are broken by a
/// character that occurs nowhere else, so that templates can still look at, split and trim the
/// text, and mended when the template's own special tokens have been found.
struct Guard {
    mark: char,
    spellings: Vec<String>,
}

impl Guard {
    fn new(tokenizer: &Tokenizer, messages: &[Message]) -> Self {
        let used = |mark: char| messages.iter().any(|message| message.text.contains(mark));
        // Unicode's two private planes: a text that uses all of them is larger than half a megabyte.
        let mut marks = ('\u{F0000}'..='\u{FFFFD}').chain('\u{100000}'..='\u{10FFFD}');
        Self {
            mark: marks.find(|&mark| !used(mark)).unwrap_or('\u{10FFFF}'),
            spellings: tokenizer.spellings(),
        }
    }

    fn cover(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for spelling in &self.spellings {
            if text.contains(spelling) {
                let head = spelling.chars().next().map_or(0, char::len_utf8);
                let broken = format!("{}{}{}", &spelling[..head], self.mark, &spelling[head..]);
                text = text.replace(spelling, &broken);
            }
        }
        text
    }

    fn encode(&self, tokenizer: &Tokenizer, text: &str) -> Result<Vec<u32>, DataError> {
        let mut parts = Vec::new();
        for part in tokenizer.special_parts(text) {
            match part {
                Piece::Special(id) => parts.push((Some(id), String::new())),
                Piece::Text(text) => parts.push((None, text.replace(self.mark, ""))),
            }
        }
        let pieces: Vec<_> = parts
            .iter()
            .map(|(id, text)| id.map_or(Piece::Text(text), Piece::Special))
            .collect();
        tokenizer.encode(&pieces)
    }
}

fn fault(error: &Error) -> DataError {
    // The alternate form would print the template's source.
    DataError::ChatTemplate {
        reason: error.to_string(),
    }
}
