//! The scores of a tile, without those that the rule hides.

use cubecl::prelude::*;

use super::products::scores;
use super::rows::{Quad, Rows};
use super::tile::TileConfig;
use crate::attention::cube::rule::{FULL, HIDDEN, Table};

/// The unit's scaled scores of a tile that shows something, as [`scores`] lays them out; `found` is
/// what the search for the tile found. The rows are queries and the columns keys, or with
/// `transposed` the other way round.
#[cube]
pub fn visible_scores<F: Float, N: Size>(
    a: &[Vector<F, N>],
    a_rows: Rows,
    b: &[Vector<F, N>],
    b_rows: Rows,
    found: u32,
    table: Table,
    layout: &[i32],
    scale: f32,
    stage: &mut Shared<[Quad]>,
    #[comptime] transposed: bool,
    #[comptime] tile: TileConfig,
) -> Array<f32> {
    let mut values = scores::<F, N>(a, a_rows, b, b_rows, stage, tile);
    #[unroll]
    for at in 0..16usize {
        values[at] *= scale;
    }
    if found % 4 != FULL {
        hide(
            &mut values,
            table,
            layout,
            a_rows.start,
            b_rows.start,
            transposed,
            tile,
        );
    }
    values
}

/// Hides scores of the unit, `scores[4 i + j]` for row `i` and column `j`.
#[cube]
fn hide(
    scores: &mut Array<f32>,
    table: Table,
    layout: &[i32],
    first_row: usize,
    first_column: usize,
    #[comptime] transposed: bool,
    #[comptime] tile: TileConfig,
) {
    let (x, y) = (UNIT_POS_X as usize, UNIT_POS_Y as usize);
    let (row, column) = (first_row + y, first_column + x);
    let (query, key) = if transposed {
        (column, row)
    } else {
        (row, column)
    };
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
