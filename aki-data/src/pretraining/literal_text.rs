//! The quoted texts of Python literals.

use super::literal::{Literal, LiteralError, Parser};

impl Parser<'_> {
    /// Texts side by side, which are one.
    pub(super) fn texts(&mut self) -> Result<Literal, LiteralError> {
        let mut text = String::new();
        while let Some(quote @ ('\'' | '"')) = self.peek() {
            self.rest.next();
            if self.quoted(quote, &mut text)? == 0
                && self.rest.next_if(|(_, c)| *c == quote).is_some()
            {
                return self.fault("a text in three quotes");
            }
        }
        Ok(Literal::Text(text))
    }

    /// What follows a quote, up to the next; gives the characters that were read.
    fn quoted(&mut self, quote: char, text: &mut String) -> Result<usize, LiteralError> {
        let mut read = 0;
        loop {
            match self.rest.next() {
                Some((_, c)) if c == quote => return Ok(read),
                Some((_, '\\')) => self.escape(text)?,
                None | Some((_, '\n' | '\r')) => return self.fault("a text without its end"),
                Some((_, c)) => text.push(c),
            }
            read += 1;
        }
    }

    /// What follows a backslash.
    fn escape(&mut self, text: &mut String) -> Result<(), LiteralError> {
        let Some((_, c)) = self.rest.next() else {
            return self.fault("a text without its end");
        };
        let character = match c {
            '\n' => return Ok(()),
            '\\' | '\'' | '"' => c,
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'a' => '\x07',
            'b' => '\x08',
            'f' => '\x0c',
            'v' => '\x0b',
            'x' => self.code(2)?,
            'u' => self.code(4)?,
            'U' => self.code(8)?,
            'N' => return self.fault("a character by name"),
            '0'..='7' => self.octal(c)?,
            // Python keeps what is no escape.
            other => {
                text.push('\\');
                other
            }
        };
        text.push(character);
        Ok(())
    }

    /// A character by so many hexadecimal digits.
    fn code(&mut self, digits: usize) -> Result<char, LiteralError> {
        let mut code = 0;
        for _ in 0..digits {
            let digit = self.rest.next_if(|(_, c)| c.is_ascii_hexdigit());
            let Some(digit) = digit.and_then(|(_, c)| c.to_digit(16)) else {
                return self.fault("too few hexadecimal digits");
            };
            code = code << 4 | digit;
        }
        match char::from_u32(code) {
            Some(character) => Ok(character),
            None => self.fault("half of a character"),
        }
    }

    /// A character by up to three octal digits.
    fn octal(&mut self, first: char) -> Result<char, LiteralError> {
        let mut code = first.to_digit(8).unwrap_or(0);
        for _ in 0..2 {
            let digit = self.rest.next_if(|(_, c)| matches!(c, '0'..='7'));
            let Some(digit) = digit.and_then(|(_, c)| c.to_digit(8)) else {
                break;
            };
            code = code << 3 | digit;
        }
        match char::from_u32(code) {
            Some(character) => Ok(character),
            None => self.fault("half of a character"),
        }
    }
}
