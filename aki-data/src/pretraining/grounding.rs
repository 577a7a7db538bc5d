//! BLIP3-Grounding-50M: item `[0][0]` of a Python list.

use super::literal::{Literal, parse};
use super::plain;

/// The caption: the first item of the first item.
///
/// # Errors
/// If this is no Python literal of that shape. All of it must be sound, as
/// Python's `ast.literal_eval` wants it.
pub(super) fn caption(text: &str) -> Result<String, String> {
    let literal = parse(text).map_err(|error| error.to_string())?;
    let first = literal.items().and_then(<[_]>::first);
    match first.and_then(Literal::items).and_then(<[_]>::first) {
        Some(Literal::Text(caption)) => plain::caption(caption),
        _ => Err("item [0][0] is no text; expected [[caption, ..], ..]".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_the_first_is_the_caption() {
        let text = r#"[["It's a \"dog\"", {'boxes': [(0.5, 1)]}, True], ['b', None]]"#;
        assert_eq!(caption(text), Ok("It's a \"dog\"".to_owned()));
        assert_eq!(caption("(('a',),)"), Ok("a".to_owned()));
        for text in ["[]", "['a']", "[[1]]", "[['a']", "[['a'], f()]", "[['']]"] {
            assert!(caption(text).is_err(), "{text}");
        }
    }
}
