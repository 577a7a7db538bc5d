//! Python literals: what `repr` writes and `ast.literal_eval` reads.

use std::iter::Peekable;
use std::str::CharIndices;

/// Lists within lists. Deeper ones are no data, and each level takes stack.
const MAX_DEPTH: usize = 64;

/// Bytes of a literal. In memory one is up to 20 times as large.
const MAX_LEN: usize = 4 << 20;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// `None`
    None,
    /// `True`, `False`
    Bool(bool),
    /// A whole or decimal number; whole ones above 2^53 are rounded.
    Number(f64),
    /// `'..'` or `".."`, neighbouring ones joined.
    Text(String),
    /// `[..]`
    List(Vec<Literal>),
    /// `(..)`
    Tuple(Vec<Literal>),
    /// `{.., ..}`, `set()`
    Set(Vec<Literal>),
    /// `{..: .., ..}`
    Dict(Vec<(Literal, Literal)>),
}

impl Literal {
    /// The items of a list or tuple.
    pub fn items(&self) -> Option<&[Self]> {
        match self {
            Self::List(items) | Self::Tuple(items) => Some(items),
            _ => None,
        }
    }
}

/// Why a text is no literal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no Python literal: {what} at byte {at}")]
pub struct LiteralError {
    /// What is wrong.
    pub what: &'static str,
    /// Where.
    pub at: usize,
}

/// Reads a literal and nothing else.
///
/// Not read, since `repr` writes them for no plain data: texts in three quotes, bytes,
/// prefixed texts, complex numbers, `\N{..}`, numbers with `_` or another base, comments.
///
/// # Errors
/// If it is none, is above 4 MiB, or nests deeper than 64.
pub fn parse(text: &str) -> Result<Literal, LiteralError> {
    let mut parser = Parser {
        text,
        rest: text.char_indices().peekable(),
    };
    if text.len() > MAX_LEN {
        return parser.fault("more than 4 MiB");
    }
    let literal = parser.value(0)?;
    match parser.peek() {
        None => Ok(literal),
        Some(_) => parser.fault("something more"),
    }
}

pub(super) struct Parser<'a> {
    text: &'a str,
    pub(super) rest: Peekable<CharIndices<'a>>,
}

impl Parser<'_> {
    fn at(&mut self) -> usize {
        self.rest.peek().map_or(self.text.len(), |(at, _)| *at)
    }

    pub(super) fn fault<T>(&mut self, what: &'static str) -> Result<T, LiteralError> {
        let at = self.at();
        Err(LiteralError { what, at })
    }

    /// The next character that is no white space.
    pub(super) fn peek(&mut self) -> Option<char> {
        let blank = |c: &char| matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0c');
        while self.rest.next_if(|(_, c)| blank(c)).is_some() {}
        self.rest.peek().map(|(_, c)| *c)
    }

    /// Takes a character if it is the next.
    fn take(&mut self, wanted: char) -> bool {
        self.peek() == Some(wanted) && self.rest.next().is_some()
    }

    fn value(&mut self, depth: usize) -> Result<Literal, LiteralError> {
        if depth > MAX_DEPTH {
            return self.fault("nested too deep");
        }
        match self.peek() {
            Some('\'' | '"') => self.texts(),
            Some('[') => {
                self.rest.next();
                Ok(Literal::List(self.items(']', depth)?.0))
            }
            Some('(') => {
                self.rest.next();
                let (mut items, comma) = self.items(')', depth)?;
                match items.pop_if(|_| !comma) {
                    // In parentheses without a comma stands the value itself.
                    Some(value) if items.is_empty() => Ok(value),
                    last => {
                        items.extend(last);
                        Ok(Literal::Tuple(items))
                    }
                }
            }
            Some('{') => {
                self.rest.next();
                self.braces(depth)
            }
            Some('A'..='Z' | 's') => self.word(),
            Some('0'..='9' | '+' | '-' | '.') => self.number(),
            _ => self.fault("no value"),
        }
    }

    /// Items up to the closing bracket, and whether a comma stands before it.
    fn items(&mut self, close: char, depth: usize) -> Result<(Vec<Literal>, bool), LiteralError> {
        let mut items = Vec::new();
        let mut comma = false;
        while !self.take(close) {
            if !items.is_empty() && !comma {
                return self.fault("no comma between items");
            }
            items.push(self.value(depth + 1)?);
            comma = self.take(',');
        }
        Ok((items, comma))
    }

    /// What follows a `{`.
    fn braces(&mut self, depth: usize) -> Result<Literal, LiteralError> {
        if self.take('}') {
            return Ok(Literal::Dict(Vec::new()));
        }
        let first = self.value(depth + 1)?;
        if !self.take(':') {
            let mut items = vec![first];
            if self.take(',') {
                items.extend(self.items('}', depth)?.0);
            } else if !self.take('}') {
                return self.fault("no comma between items");
            }
            return Ok(Literal::Set(items));
        }
        let mut entries = vec![(first, self.value(depth + 1)?)];
        loop {
            let comma = self.take(',');
            if self.take('}') {
                return Ok(Literal::Dict(entries));
            }
            if !comma {
                return self.fault("no comma between entries");
            }
            let key = self.value(depth + 1)?;
            if !self.take(':') {
                return self.fault("no colon behind a key");
            }
            entries.push((key, self.value(depth + 1)?));
        }
    }

    fn word(&mut self) -> Result<Literal, LiteralError> {
        let start = self.at();
        while self
            .rest
            .next_if(|(_, c)| c.is_alphanumeric() || *c == '_')
            .is_some()
        {}
        let end = self.at();
        match &self.text[start..end] {
            "None" => Ok(Literal::None),
            "True" => Ok(Literal::Bool(true)),
            "False" => Ok(Literal::Bool(false)),
            // Braces with nothing in them are a dict.
            "set" if self.take('(') && self.take(')') => Ok(Literal::Set(Vec::new())),
            _ => self.fault("a name that is no literal"),
        }
    }

    fn number(&mut self) -> Result<Literal, LiteralError> {
        let start = self.at();
        self.rest.next_if(|(_, c)| matches!(c, '+' | '-'));
        let digits = self.at();
        let mut before = ' ';
        while let Some((_, c)) = self.rest.next_if(|(_, c)| {
            c.is_ascii_digit()
                || matches!(c, '.' | 'e' | 'E')
                || (matches!(c, '+' | '-') && matches!(before, 'e' | 'E'))
        }) {
            before = c;
        }
        let end = self.at();
        let digits = &self.text[digits..end];
        // Python takes a leading zero for another base's; Rust takes it as it is.
        let other_base = digits.len() > 1
            && digits.starts_with('0')
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && digits.bytes().any(|byte| byte != b'0');
        match self.text[start..end].parse() {
            Ok(number) if !other_base => Ok(Literal::Number(number)),
            _ => self.fault("no number"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(text: &str) -> Literal {
        Literal::Text(text.to_owned())
    }

    #[test]
    fn literals_are_read_as_python_reads_them() {
        use Literal::{Bool, Dict, List, None, Number, Set, Tuple};
        for (source, literal) in [
            ("None", None),
            (" [ ] ", List(vec![])),
            ("()", Tuple(vec![])),
            ("{}", Dict(vec![])),
            ("(1)", Number(1.0)),
            ("(1,)", Tuple(vec![Number(1.0)])),
            ("(1, 2)", Tuple(vec![Number(1.0), Number(2.0)])),
            ("((1,),)", Tuple(vec![Tuple(vec![Number(1.0)])])),
            ("[True, -.5e-3,]", List(vec![Bool(true), Number(-0.0005)])),
            ("{1, 'a'}", Set(vec![Number(1.0), text("a")])),
            ("set( )", Set(vec![])),
            ("{1}", Set(vec![Number(1.0)])),
            (
                "{'a': 0, \"b\": 00,}",
                Dict(vec![(text("a"), Number(0.0)), (text("b"), Number(0.0))]),
            ),
            ("'a' \"'b\"\n''", text("a'b")),
            (
                r"'\x41\u00e9\U0001f600\101\0\q\\\'\n\
'",
                text("A\u{e9}\u{1f600}A\0\\q\\'\n"),
            ),
        ] {
            assert_eq!(parse(source), Ok(literal), "{source}");
        }
    }

    #[test]
    fn what_is_no_literal_is_told_with_its_place() {
        for source in [
            "",
            "[",
            "[1 2]",
            "[,]",
            "(,)",
            "{1:}",
            "{1: 2, 3}",
            "{1 2}",
            "'a",
            "'a\n'",
            "'''a'''",
            r"'\x4'",
            r"'\ud83d'",
            r"'\N{DIGIT ONE}'",
            "f(1)",
            "set",
            "set(1)",
            "sets()",
            "nan",
            "Nones",
            "1 + 2",
            "--1",
            "1.2.3",
            "012",
            "b'a'",
            "[1] 2",
            "\u{a0}1",
        ] {
            assert!(parse(source).is_err(), "{source}");
        }
        let error = parse("[1, x]").expect_err("a name");
        assert_eq!(error.to_string(), "no Python literal: no value at byte 4");
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(parse(&deep).expect_err("deep").what, "nested too deep");
        let long = "'".repeat(MAX_LEN + 1);
        assert_eq!(parse(&long).expect_err("long").what, "more than 4 MiB");
    }

    /// As Python's `repr` writes it, non-ASCII and all.
    fn write(literal: &Literal) -> String {
        let all = |items: &[Literal]| items.iter().map(write).collect::<Vec<_>>().join(", ");
        match literal {
            Literal::None => "None".to_owned(),
            Literal::Bool(true) => "True".to_owned(),
            Literal::Bool(false) => "False".to_owned(),
            Literal::Number(number) => format!("{number:?}"),
            Literal::Text(text) => {
                let quote = if text.contains('\'') && !text.contains('"') {
                    '"'
                } else {
                    '\''
                };
                let escaped = text.chars().map(|c| match c {
                    '\\' => r"\\".to_owned(),
                    '\n' => r"\n".to_owned(),
                    '\r' => r"\r".to_owned(),
                    c if c == quote => format!("\\{c}"),
                    '\0'..' ' | '\u{80}'..='\u{ff}' => format!("\\x{:02x}", c as u32),
                    c if c > '\u{ffff}' => format!("\\U{:08x}", c as u32),
                    c => c.to_string(),
                });
                format!("{quote}{}{quote}", escaped.collect::<String>())
            }
            Literal::List(items) => format!("[{}]", all(items)),
            Literal::Tuple(items) if items.len() == 1 => format!("({},)", all(items)),
            Literal::Tuple(items) => format!("({})", all(items)),
            Literal::Set(items) if items.is_empty() => "set()".to_owned(),
            Literal::Set(items) => format!("{{{}}}", all(items)),
            Literal::Dict(entries) => {
                let entry = |(key, value): &(_, _)| format!("{}: {}", write(key), write(value));
                format!(
                    "{{{}}}",
                    entries.iter().map(entry).collect::<Vec<_>>().join(", ")
                )
            }
        }
    }

    fn literals() -> impl Strategy<Value = Literal> {
        let leaf = prop_oneof![
            Just(Literal::None),
            any::<bool>().prop_map(Literal::Bool),
            (-1e6_f64..1e6).prop_map(Literal::Number),
            any::<String>().prop_map(Literal::Text),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            let items = prop::collection::vec(inner.clone(), 0..5);
            let entries = prop::collection::vec((inner.clone(), inner), 0..4);
            prop_oneof![
                items.clone().prop_map(Literal::List),
                items.clone().prop_map(Literal::Tuple),
                items.prop_map(Literal::Set),
                entries.prop_map(Literal::Dict),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(literal in literals()) {
            prop_assert_eq!(parse(&write(&literal)), Ok(literal));
        }

        #[test]
        fn damaged_literals_never_panic(literal in literals(), at: usize, with: char) {
            let mut text: Vec<char> = write(&literal).chars().collect();
            let at = at % text.len();
            text[at] = with;
            let _ = parse(&text.iter().collect::<String>());
            let _ = parse(&text[..at].iter().collect::<String>());
        }

        #[test]
        fn random_texts_never_panic(any: String, near in r#"[\[\](){},:'"\\x0-9a-fuNeT.+ -]{0,40}"#) {
            let _ = parse(&any);
            let _ = parse(&near);
        }
    }
}
