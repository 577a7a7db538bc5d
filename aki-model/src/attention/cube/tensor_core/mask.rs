//! Hiding what the rule hides in a partial tile.

use cubecl::prelude::*;

use super::fragments::Accumulators;
use crate::attention::cube::rule::{HIDDEN, Table};

/// Hides scores of the plane's rows, which are queries, `first_query` being the plane's first.
#[cube]
pub fn hide_keys<P: Size>(
    scores: &mut Accumulators<P>,
    table: Table,
    layout: &[i32],
    first_query: usize,
    first_key: usize,
    #[comptime] row_tiles: usize,
    #[comptime] columns: usize,
) {
    let lane = UNIT_POS_PLANE as usize;
    let width = comptime!(columns / 8);
    let key = first_key + lane % 4 * 2;
    // One bit a column, as the registers are full.
    let mut text = 0u32;
    #[unroll]
    for j in 0..width {
        #[unroll]
        for pair in 0..2usize {
            let key = key + comptime!(8 * j + pair);
            let bit = comptime!(1u32 << (2 * j + pair));
            text |= select(table.text_end(layout, key) > key as i32, bit, 0u32);
        }
    }
    #[unroll]
    for i in 0..row_tiles {
        #[unroll]
        for half in 0..2usize {
            let rule = table.rule(
                layout,
                first_query + lane / 4 + comptime!(16 * i + 8 * half),
            );
            #[unroll]
            for j in 0..width {
                let score = scores.index_mut(comptime!(i * width + j));
                let mut pair = Vector::<f32, P>::empty();
                #[unroll]
                for at in 0..2usize {
                    let bit = comptime!(1u32 << (2 * j + at));
                    let seen = rule.sees(key + comptime!(8 * j + at), text & bit != 0);
                    pair.insert(at, select(seen, score[half].extract(at), HIDDEN));
                }
                score[half] = pair;
            }
        }
    }
}

/// Hides scores of the plane's rows, which are keys, `first_key` being the plane's first.
#[cube]
pub fn hide_queries<P: Size>(
    scores: &mut Accumulators<P>,
    table: Table,
    layout: &[i32],
    first_query: usize,
    first_key: usize,
    #[comptime] row_tiles: usize,
    #[comptime] columns: usize,
) {
    let lane = UNIT_POS_PLANE as usize;
    let width = comptime!(columns / 8);
    let key = first_key + lane / 4;
    let mut text = Array::<i32>::new(comptime!(2 * row_tiles));
    #[unroll]
    for row in 0..comptime!(2 * row_tiles) {
        text[row] = table.text_end(layout, key + comptime!(8 * row));
    }
    #[unroll]
    for j in 0..width {
        #[unroll]
        for at in 0..2usize {
            let query = first_query + lane % 4 * 2 + comptime!(8 * j + at);
            let rule = table.rule(layout, query);
            #[unroll]
            for row in 0..comptime!(2 * row_tiles) {
                let score = scores.index_mut(comptime!(row / 2 * width + j));
                let half = comptime!(row % 2);
                let seen = rule.visible(key + comptime!(8 * row), text[row]);
                let mut pair = score[half];
                pair.insert(at, select(seen, pair.extract(at), HIDDEN));
                score[half] = pair;
            }
        }
    }
}
