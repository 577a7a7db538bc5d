use proptest::prelude::*;

use super::*;

fn picture(layout: &AttentionLayout, row: usize) -> Vec<String> {
    (0..layout.query_len())
        .map(|i| {
            (0..layout.key_len())
                .map(|j| if layout.visible(row, i, j) { '1' } else { '.' })
                .collect()
        })
        .collect()
}

fn example(policy: Policy) -> Vec<String> {
    let document = Document {
        tokens: 0..8,
        media: vec![1..4],
        question_end: Some(6),
    };
    picture(
        &AttentionLayout::from_spans(policy, 8, &[vec![document]]).unwrap(),
        0,
    )
}

#[test]
fn the_pictures_in_the_docs() {
    assert_eq!(
        example(Policy::Mma),
        [
            "1.......", "11..11..", "111.11..", "111111..", "11111...", "111111..", "1111111.",
            "11111111"
        ]
    );
    assert_eq!(
        example(Policy::Causal),
        [
            "1.......", "11......", "111.....", "1111....", "11111...", "111111..", "1111111.",
            "11111111"
        ]
    );
    assert_eq!(
        example(Policy::Prefix),
        [
            "111111..", "111111..", "111111..", "111111..", "111111..", "111111..", "1111111.",
            "11111111"
        ]
    );
}

#[test]
fn two_pictures_do_not_see_each_other_ahead() {
    let document = Document {
        tokens: 0..7,
        media: vec![0..2, 3..5],
        question_end: Some(6),
    };
    let layout = AttentionLayout::from_spans(Policy::Mma, 8, &[vec![document]]).unwrap();
    assert_eq!(
        picture(&layout, 0),
        [
            "1.1..1..", "111..1..", "111.....", "1111.1..", "111111..", "111111..", "1111111.",
            "........"
        ]
    );
    assert!(layout.has_empty_rows());
}

#[test]
fn bad_spans_are_refused() {
    let lay = |document| AttentionLayout::from_spans(Policy::Mma, 8, &[vec![document]]);
    let outside = Document {
        tokens: 2..9,
        ..Document::default()
    };
    assert!(matches!(
        lay(outside),
        Err(LayoutError::Document { len: 8, .. })
    ));
    let media = vec![0..3, 2..4];
    let overlap = Document {
        tokens: 0..8,
        media,
        question_end: None,
    };
    assert!(matches!(
        lay(overlap),
        Err(LayoutError::Media { after: 3, .. })
    ));
    let late = Document {
        tokens: 0..4,
        media: vec![],
        question_end: Some(5),
    };
    assert!(matches!(
        lay(late),
        Err(LayoutError::Question {
            question_end: 5,
            ..
        })
    ));
}

#[test]
fn everything_sees_everything() {
    let layout = AttentionLayout::everything(2, 3, 5);
    assert!((0..3).all(|i| (0..5).all(|j| layout.visible(1, i, j))));
    assert_eq!(layout.positions(), [2, 3, 4, 2, 3, 4]);
    assert!(!layout.has_empty_rows());
}

/// A document drawn: lengths of its alternating text and media pieces, where its question ends,
/// and the padding behind it.
type Drawn = (Vec<(usize, usize)>, usize, usize);

fn documents() -> impl Strategy<Value = Vec<Drawn>> {
    let media = prop::sample::select(vec![0usize, 1, 4, 9, 16]);
    let document = (
        prop::collection::vec((0usize..5, media), 0..4),
        0usize..30,
        0usize..3,
    );
    prop::collection::vec(document, 0..4)
}

fn policies() -> impl Strategy<Value = Policy> {
    prop::sample::select(vec![
        Policy::Causal,
        Policy::Bidirectional,
        Policy::Prefix,
        Policy::Mma,
        Policy::Cca,
    ])
}

/// A token: its document, the span it belongs to if it is media, and its place in the order of
/// concentric causal attention.
#[derive(Clone, Copy)]
struct Token {
    document: usize,
    span: Option<usize>,
    place: u32,
}

/// The documents of a row and its tokens; `None` is padding.
fn lay_out(drawn: &[Drawn]) -> (Vec<Document>, Vec<Option<Token>>) {
    let mut tokens: Vec<Option<Token>> = Vec::new();
    let (mut laid, mut spans) = (Vec::new(), 0);
    for (document, (pieces, question, padding)) in drawn.iter().enumerate() {
        let start = tokens.len();
        let (mut media, mut place) = (Vec::new(), 0);
        for &(text, picture) in pieces {
            for _ in 0..text {
                tokens.push(Some(Token {
                    document,
                    span: None,
                    place,
                }));
                place += 1;
            }
            if picture > 0 {
                media.push(tokens.len()..tokens.len() + picture);
                // Distance from the grid's edge, in the order that the policy asks for.
                let side = picture.isqrt();
                let mut rings = 0;
                for raster in ring_order(side) {
                    let (y, x) = (raster / side, raster % side);
                    let ring = y.min(x).min(side - 1 - y).min(side - 1 - x) as u32;
                    rings = ring + 1;
                    let place = place + ring;
                    tokens.push(Some(Token {
                        document,
                        span: Some(spans),
                        place,
                    }));
                }
                place += rings;
                spans += 1;
            }
        }
        let end = tokens.len();
        let question_end = (start + question <= end).then_some(start + question);
        laid.push(Document {
            tokens: start..end,
            media,
            question_end,
        });
        tokens.extend(vec![None; *padding]);
    }
    (laid, tokens)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    /// The rule as the papers word it, token by token, against the intervals.
    #[test]
    fn the_rule_restated_by_brute_force(drawn in documents(), policy in policies()) {
        let (laid, tokens) = lay_out(&drawn);
        let layout = AttentionLayout::from_spans(policy, tokens.len(), std::slice::from_ref(&laid)).unwrap();
        for (i, query) in tokens.iter().enumerate() {
            let mut seen = 0;
            for (j, key) in tokens.iter().enumerate() {
                let expected = match (query, key) {
                    (Some(query), Some(key)) if query.document == key.document => {
                        let question = laid[query.document].question_end.unwrap_or(0);
                        let unlocked = match policy {
                            Policy::Causal => false,
                            Policy::Bidirectional => true,
                            Policy::Prefix => i < question && j < question,
                            Policy::Mma => {
                                query.span.is_some() && key.span.is_none() && j < question
                            }
                            Policy::Cca => key.place <= query.place,
                        };
                        j <= i || unlocked
                    }
                    _ => false,
                };
                seen += usize::from(expected);
                prop_assert_eq!(layout.visible(0, i, j), expected, "{} {} {:?}", i, j, policy);
            }
            prop_assert_eq!(query.is_none(), seen == 0);
        }
        prop_assert_eq!(layout.has_empty_rows(), tokens.iter().any(Option::is_none));
        let pairs = (0..tokens.len()).flat_map(|i| (0..tokens.len()).map(move |j| (i, j)));
        let visible = pairs.filter(|&(i, j)| layout.visible(0, i, j)).count();
        prop_assert_eq!(layout.visible_pairs(), visible);
        if policy == Policy::Cca {
            for (token, &position) in tokens.iter().zip(layout.positions()) {
                prop_assert_eq!(token.map_or(0, |token| token.place), position);
            }
        }
    }

    /// What the table calls a tile agrees with the pairs in it; only `Partial` may be too careful.
    #[test]
    fn tiles_are_called_by_their_pairs(
        drawn in documents(),
        policy in policies(),
        height in 1usize..4,
        width in 1usize..40,
        from in 0usize..20,
    ) {
        let (laid, tokens) = lay_out(&drawn);
        let len = tokens.len();
        let layout = AttentionLayout::from_spans(policy, len, &[vec![], laid]).unwrap();
        let layout = layout.queries(from.min(len)..len);
        let table = layout.table();
        for i in (0..layout.query_len()).step_by(height * SUMMARY_ROWS) {
            let queries = i..(i + height * SUMMARY_ROWS).min(layout.query_len());
            let summary = table.summary(1, &queries);
            for j in (0..len).step_by(width) {
                let keys = j..(j + width).min(len);
                let seen = queries
                    .clone()
                    .flat_map(|i| keys.clone().map(move |j| (i, j)))
                    .filter(|&(i, j)| layout.visible(1, i, j))
                    .count();
                match table.tile(1, &summary, &keys) {
                    Tile::Empty => prop_assert_eq!(seen, 0),
                    Tile::Full => prop_assert_eq!(seen, queries.len() * keys.len()),
                    Tile::Partial => {}
                }
            }
        }
    }

    /// What two texts have in common sees the same in both, and nothing behind it.
    #[test]
    fn what_texts_have_in_common_sees_the_same(
        one in documents(),
        two in documents(),
        policy in policies(),
        new in 0usize..9,
    ) {
        let lay = |drawn: &[Drawn]| {
            let (laid, tokens) = lay_out(drawn);
            AttentionLayout::from_spans(policy, tokens.len(), &[laid]).unwrap()
        };
        let (one, two) = (lay(&one), lay(&two));
        let len = one.query_len();
        prop_assert_eq!(one.common(&one.followed_by(new), usize::MAX), len);
        for (other, most) in [(&two, usize::MAX), (&one, len / 2)] {
            let common = one.common(other, most);
            prop_assert!(common <= most);
            prop_assert_eq!(&one.positions()[..common], &other.positions()[..common]);
            for (i, j) in (0..common).flat_map(|i| (0..len).map(move |j| (i, j))) {
                let seen = one.visible(0, i, j);
                prop_assert!(!seen || j < common);
                if j < common {
                    prop_assert_eq!(seen, other.visible(0, i, j));
                }
            }
        }
    }

    /// A part of the queries sees what it saw as part of the whole.
    #[test]
    fn a_part_of_the_queries_keeps_its_rules(
        drawn in documents(),
        policy in policies(),
        from in 0usize..50,
    ) {
        let (laid, tokens) = lay_out(&drawn);
        let len = tokens.len();
        let whole = AttentionLayout::from_spans(policy, len, &[laid.clone(), laid]).unwrap();
        let from = from.min(len);
        let part = whole.queries(from..len);
        for (i, j) in (from..len).flat_map(|i| (0..len).map(move |j| (i, j))) {
            prop_assert_eq!(part.visible(1, i - from, j), whole.visible(1, i, j));
        }
        prop_assert_eq!(&part.positions()[len - from..], &whole.positions()[len + from..]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Prompts padded on the left to one length keep their rules and positions, and padding is
    /// neither seen nor sees.
    #[test]
    fn left_padding_changes_nothing(
        one in documents(),
        two in documents(),
        policy in policies(),
    ) {
        let lay = |drawn: &[Drawn]| {
            let (laid, tokens) = lay_out(drawn);
            AttentionLayout::from_spans(policy, tokens.len(), &[laid]).unwrap()
        };
        let own = [lay(&one), lay(&two)];
        let batch = AttentionLayout::left_padded(&[&own[0], &own[1]]);
        let len = own[0].key_len().max(own[1].key_len());
        prop_assert_eq!([batch.batch(), batch.query_len(), batch.key_len()], [2, len, len]);
        for (row, own) in own.iter().enumerate() {
            let padding = len - own.key_len();
            for (i, j) in (0..len).flat_map(|i| (0..len).map(move |j| (i, j))) {
                let expected = i >= padding
                    && j >= padding
                    && own.visible(0, i - padding, j - padding);
                prop_assert_eq!(batch.visible(row, i, j), expected);
            }
            prop_assert_eq!(&batch.positions()[row * len + padding..(row + 1) * len], own.positions());
        }
        prop_assert_eq!(&AttentionLayout::left_padded(&[&own[0]]), &own[0]);
    }
}

#[test]
fn a_decoded_token_sees_its_row_of_the_cache() {
    let layout = AttentionLayout::decode(&[2..5, 0..4], &[3, 9], 6);
    assert_eq!(picture(&layout, 0), ["..111."]);
    assert_eq!(picture(&layout, 1), ["1111.."]);
    assert_eq!(layout.positions(), [3, 9]);
    assert!(!layout.is_everything());
    assert!(AttentionLayout::decode(&[0..6], &[5], 6).is_everything());
}

/// Causal tiles away from the diagonal need no look at their pairs, whatever the length.
#[test]
fn few_tiles_are_partial() {
    let document = Document {
        tokens: 0..2048,
        media: vec![40..184],
        question_end: Some(1500),
    };
    let layout = AttentionLayout::from_spans(Policy::Mma, 2048, &[vec![document]]).unwrap();
    let table = layout.table();
    let mut counts = [0; 3];
    for i in (0..2048).step_by(64) {
        let summary = table.summary(0, &(i..i + 64));
        for j in (0..2048).step_by(64) {
            counts[table.tile(0, &summary, &(j..j + 64)) as usize] += 1;
        }
    }
    // Full: the 496 tiles below the diagonal, and the 20 that the rows 64..128, media all of them,
    // see beyond it. Partial: 32 on the diagonal; 22 more of the rows 0..64 and 21 of 128..192,
    // which are media in part; two of 64..128, where the question begins and where it ends.
    assert_eq!(counts, [1024 - 516 - 77, 516, 77]);
}

#[test]
fn new_tokens_see_all_and_the_prompt_stays_as_it_was() {
    let document = |len: usize| Document {
        tokens: 0..len,
        media: vec![1..5],
        question_end: Some(8),
    };
    for policy in [Policy::Causal, Policy::Mma, Policy::Cca] {
        let layout =
            |len| AttentionLayout::from_spans(policy, len, &[vec![document(len)]]).unwrap();
        assert_eq!(layout(9).followed_by(4), layout(13), "{policy:?}");
        assert_eq!(layout(9).followed_by(0), layout(9), "{policy:?}");
    }
}
