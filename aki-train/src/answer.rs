//! An answer's text while its tokens come: whole characters, and no further than a stop string.

use aki_data::{DataError, TextStream, Tokenizer};

/// What is said of weights or activations that overflowed.
pub const NO_NUMBERS: &str =
    "the logits are not numbers: weights or activations are too large for this type";

/// The text of a whole answer, without blanks around it.
///
/// # Errors
///
/// [`DataError::Decode`] if an id is outside the vocabulary.
pub fn text_of(tokenizer: &Tokenizer, ids: &[u32]) -> Result<String, DataError> {
    let mut text = AnswerText::new(tokenizer, &[]);
    for &id in ids {
        text.push(id)?;
    }
    text.finish()?;
    Ok(text.text().trim().to_owned())
}

/// Turns tokens into text as they come.
///
/// What is given piece by piece lacks the blanks that the text begins with: some tokenizers begin every word
/// with its blank, and that of the first is no part of an answer.
pub struct AnswerText<'a> {
    stream: Option<TextStream<'a>>,
    stops: &'a [String],
    /// What could still become a stop string.
    held: String,
    text: String,
    stopped: bool,
}

impl<'a> AnswerText<'a> {
    /// A text that ends before the first of `stops`.
    pub fn new(tokenizer: &'a Tokenizer, stops: &'a [String]) -> Self {
        Self {
            stream: Some(TextStream::new(tokenizer)),
            stops,
            held: String::new(),
            text: String::new(),
            stopped: false,
        }
    }

    /// Takes the next token and gives the text that is certain with it, which may be none.
    ///
    /// # Errors
    ///
    /// [`DataError::Decode`] if the id is outside the vocabulary.
    pub fn push(&mut self, id: u32) -> Result<&str, DataError> {
        let new = match &mut self.stream {
            Some(stream) if !self.stopped => stream.push(id)?,
            _ => String::new(),
        };
        Ok(self.take(&new, false))
    }

    /// The rest of the text, after the last token.
    ///
    /// # Errors
    ///
    /// As [`Self::push`].
    pub fn finish(&mut self) -> Result<&str, DataError> {
        let rest = match self.stream.take() {
            Some(stream) if !self.stopped => stream.finish()?,
            _ => String::new(),
        };
        Ok(self.take(&rest, true))
    }

    /// Whether a stop string has come.
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    /// All of the text so far that is certain, as the tokens have it.
    pub fn text(&self) -> &str {
        &self.text
    }

    fn take(&mut self, new: &str, last: bool) -> &str {
        let begun = self.text.len();
        self.held.push_str(new);
        let found = self.stops.iter().filter(|stop| !stop.is_empty());
        if let Some(at) = found
            .clone()
            .filter_map(|stop| self.held.find(stop.as_str()))
            .min()
        {
            self.held.truncate(at);
            self.text.push_str(&std::mem::take(&mut self.held));
            self.stopped = true;
            return self.shown(begun);
        }
        // The longest end of the text that a stop string begins with.
        let kept = found
            .map(|stop| begins(&self.held, stop))
            .max()
            .unwrap_or(0);
        let certain = if last {
            self.held.len()
        } else {
            self.held.len() - kept
        };
        let rest = self.held.split_off(certain);
        self.text.push_str(&std::mem::replace(&mut self.held, rest));
        self.shown(begun)
    }

    /// The text from a byte on, without the blanks before the first word.
    fn shown(&self, from: usize) -> &str {
        let (before, new) = self.text.split_at(from);
        match before.trim_start().is_empty() {
            true => new.trim_start(),
            false => new,
        }
    }
}

/// How many bytes at the end of `text` are the beginning of `stop`.
fn begins(text: &str, stop: &str) -> usize {
    let lengths = stop.char_indices().map(|(at, _)| at).rev();
    lengths
        .into_iter()
        .find(|&len| text.ends_with(&stop[..len]))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of which pieces of text are taken, and no tokens.
    fn answer(stops: &[String]) -> AnswerText<'_> {
        AnswerText {
            stream: None,
            stops,
            held: String::new(),
            text: String::new(),
            stopped: false,
        }
    }

    fn pieces(stops: &[&str], pieces: &[&str]) -> (Vec<String>, bool) {
        let stops: Vec<String> = stops.iter().map(ToString::to_string).collect();
        let mut answer = answer(&stops);
        let mut given: Vec<String> = Vec::new();
        for piece in pieces {
            given.push(answer.take(piece, false).to_owned());
            if answer.stopped {
                break;
            }
        }
        if !answer.stopped {
            given.push(answer.take("", true).to_owned());
        }
        assert_eq!(given.concat(), answer.text());
        (given, answer.stopped)
    }

    #[test]
    fn a_stop_string_over_several_pieces_never_shows() {
        let (given, stopped) = pieces(&["\nUser:"], &["blue", "\nUs", "er", ": and", "more"]);
        assert_eq!((given.concat().as_str(), stopped), ("blue", true));
        let (given, stopped) = pieces(&["\nUser:"], &["blue", "\nUs", "ual", "ly"]);
        assert_eq!((given.concat().as_str(), stopped), ("blue\nUsually", false));
        assert_eq!(given[1], "", "held back until it is certain");
    }

    #[test]
    fn blanks_before_the_first_word_are_not_given() {
        let stops = ["!".to_owned()];
        let mut answer = answer(&stops);
        let given = [" ", " x", " ", "y"].map(|piece| answer.take(piece, false).to_owned());
        assert_eq!(given, ["", "x", " ", "y"]);
        assert_eq!(answer.text(), "  x y");
    }

    #[test]
    fn the_first_of_several_counts_and_the_end_lets_go() {
        let (given, stopped) = pieces(&["c", "ab"], &["xab", "c"]);
        assert_eq!((given.concat().as_str(), stopped), ("x", true));
        let (given, stopped) = pieces(&["ab"], &["xa"]);
        assert_eq!((given.concat().as_str(), stopped), ("xa", false));
        let (given, _) = pieces(&["é!"], &["caf", "é", "?"]);
        assert_eq!(given.concat(), "café?");
        let (given, stopped) = pieces(&[""], &["x"]);
        assert_eq!((given.concat().as_str(), stopped), ("x", false));
    }
}
