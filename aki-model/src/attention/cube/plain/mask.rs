//! Hiding what the rule hides in a partial tile.

use cubecl::prelude::*;

use super::tile::TileConfig;
use crate::attention::cube::rule::{HIDDEN, Table};

/// Hides scores of the unit, `scores[4 i + j]` for row `i` and column `j`. The rows are queries
/// and the columns keys, or with `transposed` the other way round.
#[cube]
pub fn hide(
    scores: &mut Array<f32>,
    table: Table,
    layout: &[i32],
    first_query: usize,
    first_key: usize,
    #[comptime] transposed: bool,
    #[comptime] tile: TileConfig,
) {
    let (x, y) = (UNIT_POS_X as usize, UNIT_POS_Y as usize);
    let (query, key) = if transposed { (x, y) } else { (y, x) };
    let query = first_query + query;
    let key = first_key + key;
    let (query_step, key_step) = comptime!(if transposed {
        (tile.units_x, tile.units_y)
    } else {
        (tile.units_y, tile.units_x)
    });

    let mut text_ends = Array::<i32>::new(4usize);
    #[unroll]
    for b in 0..4usize {
        text_ends[b] = table.text_end(layout, key + comptime!(b * key_step));
    }
    #[unroll]
    for a in 0..4usize {
        let rule = table.rule(layout, query + comptime!(a * query_step));
        #[unroll]
        for b in 0..4usize {
            let at = comptime!(if transposed { 4 * b + a } else { 4 * a + b });
            let visible = rule.visible(key + comptime!(b * key_step), text_ends[b]);
            scores[at] = select(visible, scores[at], HIDDEN);
        }
    }
}
