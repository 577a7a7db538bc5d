//! The grammar of `${..}`.
//!
//! ```text
//! ${a.b[0]}                a value, from the top
//! ${.a}  ${..a}            a neighbour; a neighbour of the table around
//! ${oc.env:NAME,default}   an environment variable
//! \${                      just these two characters
//! ```

/// A piece of a text.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Piece<'a> {
    /// To be taken as it is.
    Text(String),
    /// What stands between `${` and its `}`.
    Expression(&'a str),
}

/// Cuts a text into pieces.
///
/// # Errors
///
/// The expression that has no end.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece<'_>>, &str> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let before = &rest[..start];
        let unslashed = before.trim_end_matches('\\');
        let slashes = before.len() - unslashed.len();
        plain += unslashed;
        plain += &before[unslashed.len()..][..slashes / 2];
        rest = &rest[start + 2..];
        if slashes % 2 == 1 {
            plain += "${";
            continue;
        }
        let end = closing(rest).ok_or(rest)?;
        if !plain.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut plain)));
        }
        pieces.push(Piece::Expression(&rest[..end]));
        rest = &rest[end + 1..];
    }
    plain += rest;
    if !plain.is_empty() {
        pieces.push(Piece::Text(plain));
    }
    Ok(pieces)
}

/// Where the `}` is that closes an expression.
fn closing(text: &str) -> Option<usize> {
    outermost(text, |c| c == '}')
}

/// The first character outside of quotes and of inner `${..}` that `wanted` is true of.
fn outermost(text: &str, wanted: impl Fn(char) -> bool) -> Option<usize> {
    let mut depth = 0_usize;
    let mut quote = None;
    let mut before = ' ';
    for (at, c) in text.char_indices() {
        match c {
            _ if quote == Some(c) => quote = None,
            _ if quote.is_some() => {}
            _ if depth == 0 && wanted(c) => return Some(at),
            '\'' | '"' => quote = Some(c),
            '{' if before == '$' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        before = c;
    }
    None
}

/// A resolver's name and arguments, if the expression calls one.
pub(super) fn call(expression: &str) -> Option<(&str, Vec<&str>)> {
    let colon = outermost(expression, |c| c == ':')?;
    let (name, mut rest) = (&expression[..colon], &expression[colon + 1..]);
    let mut arguments = Vec::new();
    while let Some(comma) = outermost(rest, |c| c == ',') {
        arguments.push(rest[..comma].trim());
        rest = &rest[comma + 1..];
    }
    arguments.push(rest.trim());
    Some((name.trim(), arguments))
}

/// An argument without its quotes.
pub(super) fn unquoted(argument: &str) -> Option<&str> {
    ['\'', '"']
        .into_iter()
        .find_map(|quote| argument.strip_prefix(quote)?.strip_suffix(quote))
}

/// The names that lead to a value: how many tables up from the top (none) or from the value itself
/// (1 for its own table), and the keys from there.
///
/// # Errors
///
/// What is wrong, in words.
pub(super) fn key(text: &str) -> Result<(usize, Vec<String>), String> {
    let keys = text.trim_start_matches('.');
    let up = text.len() - keys.len();
    let keys: Vec<_> = keys
        .replace('[', ".")
        .replace(']', "")
        .split('.')
        .map(|key| key.trim().to_owned())
        .collect();
    if keys.iter().any(String::is_empty) {
        return Err("names no key; write one such as ${a.b} or ${.a}".to_owned());
    }
    Ok((up, keys))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut() {
        let text = |text: &str| Piece::Text(text.to_owned());
        for (whole, expected) in [
            ("", vec![]),
            ("a", vec![text("a")]),
            ("${a}", vec![Piece::Expression("a")]),
            (
                "x${a}${b}y",
                vec![
                    text("x"),
                    Piece::Expression("a"),
                    Piece::Expression("b"),
                    text("y"),
                ],
            ),
            ("${a.${b}}/", vec![Piece::Expression("a.${b}"), text("/")]),
            ("${oc.env:A,'}'}", vec![Piece::Expression("oc.env:A,'}'")]),
            (r"\${a}", vec![text("${a}")]),
            (r"\\${a}", vec![text("\\"), Piece::Expression("a")]),
            ("$a {b} }", vec![text("$a {b} }")]),
        ] {
            assert_eq!(pieces(whole), Ok(expected), "{whole}");
        }
        for open in ["${a", "x${a.${b}", "${a'}"] {
            assert!(pieces(open).is_err(), "{open}");
        }
    }

    #[test]
    fn calls_and_keys() {
        assert_eq!(call("a.b"), None);
        assert_eq!(
            call("oc.env: A , ${b:c,d} "),
            Some(("oc.env", vec!["A", "${b:c,d}"]))
        );
        assert_eq!(call("${a:b}"), None);
        assert_eq!(unquoted("'a,b'"), Some("a,b"));
        assert_eq!(unquoted("'"), None);
        let keys = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>();
        assert_eq!(key("a.b[0].c"), Ok((0, keys(&["a", "b", "0", "c"]))));
        assert_eq!(key("..a"), Ok((2, keys(&["a"]))));
        for wrong in ["", ".", "a..b", "a.", "a[]"] {
            assert!(key(wrong).is_err(), "{wrong}");
        }
    }
}
