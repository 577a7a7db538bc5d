//! Text while its tokens come.

use super::llama_decode::LlamaDecoder;
use super::tokenizer::{Engine, Tokenizer};
use crate::DataError;

/// Tokens that are held back at most for a character to become whole; longer runs come at the end.
const MAX_HELD: usize = 32;

/// Turns ids into text one by one, special tokens left out. What [`Self::push`] and
/// [`Self::finish`] give is, put together, what [`Tokenizer::decode`] makes of all ids; a
/// character comes when it is whole. The work for an id does not grow with their number.
///
/// ```no_run
/// # fn main() -> Result<(), aki_data::DataError> {
/// # let tokenizer = aki_data::Tokenizer::open("model".as_ref())?;
/// # let ids = [0];
/// let mut stream = aki_data::TextStream::new(&tokenizer);
/// for id in ids {
///     print!("{}", stream.push(id)?);
/// }
/// print!("{}", stream.finish()?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TextStream<'a> {
    tokenizer: &'a Tokenizer,
    state: State,
}

#[derive(Debug)]
enum State {
    Llama(LlamaDecoder),
    Window(Window),
}

/// For decoders that know whole texts only: a few ids before are decoded along with the new
/// ones, and what they gave before is taken off.
#[derive(Debug, Default)]
struct Window {
    ids: Vec<u32>,
    /// First of the ids that the window decodes, and first of the new ones.
    start: usize,
    new: usize,
    /// Bytes put out.
    put: usize,
    /// The text is no longer what it was when it was put out, or never becomes whole.
    stuck: bool,
}

impl<'a> TextStream<'a> {
    /// An empty text.
    pub fn new(tokenizer: &'a Tokenizer) -> Self {
        let state = match tokenizer.engine() {
            Engine::Llama(_) => State::Llama(LlamaDecoder::new(true)),
            Engine::Json(_) => State::Window(Window::default()),
        };
        Self { tokenizer, state }
    }

    /// The text that the id completes, often one word, sometimes none.
    ///
    /// # Errors
    /// [`DataError::Decode`] if the id is outside the vocabulary.
    pub fn push(&mut self, id: u32) -> Result<String, DataError> {
        self.tokenizer.check(&[id])?;
        let mut text = String::new();
        match (&mut self.state, self.tokenizer.engine()) {
            (State::Llama(decoder), Engine::Llama(llama)) => {
                decoder.push(llama, id, &mut text);
            }
            // Left out by `decode`, so no part of the window.
            (State::Window(_), Engine::Json(json)) if json.is_special(id) => {}
            (State::Window(window), _) => text = window.push(self.tokenizer, id)?,
            (State::Llama(_), Engine::Json(_)) => {}
        }
        Ok(text)
    }

    /// What is left: characters that did not become whole, as U+FFFD.
    ///
    /// # Errors
    /// [`DataError::Decode`] if the tokenizer fails.
    pub fn finish(mut self) -> Result<String, DataError> {
        let mut text = String::new();
        match &mut self.state {
            State::Llama(decoder) => decoder.finish(&mut text),
            State::Window(window) => {
                let whole = self.tokenizer.decode(&window.ids)?;
                text.push_str(whole.get(window.put..).unwrap_or_default());
            }
        }
        Ok(text)
    }
}

impl Window {
    fn push(&mut self, tokenizer: &Tokenizer, id: u32) -> Result<String, DataError> {
        self.ids.push(id);
        if self.stuck {
            return Ok(String::new());
        }
        let before = tokenizer.decode(&self.ids[self.start..self.new])?;
        let after = tokenizer.decode(&self.ids[self.start..])?;
        if after.ends_with('\u{fffd}') || after.len() == before.len() {
            self.stuck = self.ids.len() - self.new > MAX_HELD;
            return Ok(String::new());
        }
        let Some(new) = after.strip_prefix(before.as_str()) else {
            self.stuck = true;
            return Ok(String::new());
        };
        self.start = self.new;
        self.new = self.ids.len();
        self.put += new.len();
        Ok(new.to_owned())
    }
}
