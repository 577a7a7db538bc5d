//! A text cut at special tokens, and put together from parts.

use std::borrow::Cow;
use std::collections::HashMap;

use super::tokenizer::Piece;

/// A part of a text between two added tokens, or such a token.
#[derive(Clone, Debug)]
pub(super) enum Segment<'a> {
    Text(Cow<'a, str>),
    Added(u32),
}

/// Pieces with neighbouring texts made one.
pub(super) fn segments<'a>(pieces: impl IntoIterator<Item = Piece<'a>>) -> Vec<Segment<'a>> {
    let mut joined: Vec<Segment> = Vec::new();
    for piece in pieces {
        match (piece, joined.last_mut()) {
            (Piece::Special(id), _) => joined.push(Segment::Added(id)),
            (Piece::Text(text), Some(Segment::Text(before))) => before.to_mut().push_str(text),
            (Piece::Text(text), _) => joined.push(Segment::Text(text.into())),
        }
    }
    joined
}

/// Cuts a text at tokens, each the longest that begins where it does.
pub(super) fn split<'a, 't>(
    text: &'a str,
    tokens: impl Iterator<Item = (&'t str, u32)>,
) -> Vec<Piece<'a>> {
    let mut by_head: HashMap<u8, Vec<(&str, u32)>> = HashMap::new();
    for (content, id) in tokens {
        by_head
            .entry(content.as_bytes()[0])
            .or_default()
            .push((content, id));
    }
    let mut pieces = Vec::new();
    let (mut start, mut at) = (0, 0);
    while let Some(head) = text.as_bytes().get(at) {
        let candidates = by_head.get(head).into_iter().flatten();
        let rest = &text.as_bytes()[at..];
        let found = candidates.filter(|(content, _)| rest.starts_with(content.as_bytes()));
        let Some((content, id)) = found.max_by_key(|(content, _)| content.len()) else {
            at += 1;
            continue;
        };
        pieces.push(Piece::Text(&text[start..at]));
        pieces.push(Piece::Special(*id));
        at += content.len();
        start = at;
    }
    pieces.push(Piece::Text(&text[start..]));
    pieces
}
