//! Pillow's antialiased bicubic, equal in every byte.
//!
//! The reference model was trained on pictures that Pillow resized; general
//! resizers differ from it in 9-21 % of the values. What makes the bytes equal:
//!
//! - two passes, horizontal first, rounded to `u8` in between;
//! - a cubic kernel with a = -0.5, stretched by the scale when shrinking;
//! - weights normalised in `f64`, then rounded to 22-bit fixed point.
//!
//! Our own code for the published algorithm, held to version 11.3.0 by the
//! fixtures that `tests/reference/pillow_resize.py` writes. The sums are of
//! integers, so their order is free, and plain loops over fixed numbers of lanes
//! become SIMD: `pulp` compiles them for each instruction set and picks one.

#![allow(
    clippy::inline_always,
    reason = "only what is inlined into `Arch::dispatch` is compiled for the machine's vectors"
)]

mod horizontal;
mod taps;
mod vertical;

use pulp::{Arch, NullaryFnOnce};

use self::horizontal::{Strips, TILE_ROWS};
use self::taps::Taps;
use super::Picture;

const CHANNELS: usize = 3;

/// Resizes `picture`; each axis whose size stays is left alone.
pub(super) fn bicubic(picture: &Picture, width: u32, height: u32) -> Picture {
    let (old_width, old_height) = (picture.width as usize, picture.height as usize);
    assert_eq!(
        picture.rgb.len(),
        old_width * old_height * CHANNELS,
        "a picture of {old_width} x {old_height} pixels has three bytes a pixel"
    );
    if width == 0 || height == 0 {
        let rgb = Vec::new();
        return Picture { width, height, rgb };
    }
    let taps = |old, new| (new != old).then(|| Taps::new(old, new));
    let rgb = Arch::new().dispatch(Passes {
        rgb: &picture.rgb,
        width: old_width,
        across: taps(picture.width, width),
        down: taps(picture.height, height),
    });
    Picture { width, height, rgb }
}

/// The passes that a picture needs. A type and no closure: calling a closure goes
/// through a function of its own, which is not compiled for the machine's vectors.
struct Passes<'a> {
    rgb: &'a [u8],
    width: usize,
    across: Option<Taps>,
    down: Option<Taps>,
}

impl NullaryFnOnce for Passes<'_> {
    type Output = Vec<u8>;

    #[inline(always)]
    fn call(self) -> Vec<u8> {
        let Self { rgb, width, .. } = self;
        match (&self.across, &self.down) {
            (None, None) => rgb.to_vec(),
            (None, Some(down)) => one_pass_down(rgb, width, down),
            (Some(across), None) => one_pass_across(rgb, width, across),
            (Some(across), Some(down)) => two_passes(rgb, width, across, down),
        }
    }
}

#[inline(always)]
fn one_pass_down(rgb: &[u8], width: usize, down: &Taps) -> Vec<u8> {
    let row_bytes = width * CHANNELS;
    let mut out = vec![0; row_bytes * down.len()];
    let mut starts = Vec::with_capacity(down.most());
    for (y, row) in out.chunks_exact_mut(row_bytes).enumerate() {
        let (first, weights) = down.of(y);
        starts.clear();
        starts.extend((first..first + weights.len()).map(|row| row * row_bytes));
        vertical::blend(rgb, &starts, weights, row);
    }
    out
}

#[inline(always)]
fn one_pass_across(rgb: &[u8], old_width: usize, across: &Taps) -> Vec<u8> {
    let mut strips = Strips::new(old_width, across, TILE_ROWS);
    let mut out = Vec::with_capacity(rgb.len() / old_width * across.len());
    for strip in rgb.chunks(TILE_ROWS * old_width * CHANNELS) {
        strips.push(strip, across);
        let rows = strip.len() / (old_width * CHANNELS);
        for row in strips.pushed() - rows..strips.pushed() {
            out.extend_from_slice(&strips.bytes()[strips.start(row)..][..across.len() * CHANNELS]);
        }
    }
    out
}

/// Rows are narrowed as the vertical pass comes to need them, and kept only as
/// long: the picture between the passes never exists as a whole.
#[inline(always)]
fn two_passes(rgb: &[u8], old_width: usize, across: &Taps, down: &Taps) -> Vec<u8> {
    let row_bytes = across.len() * CHANNELS;
    let mut strips = Strips::new(old_width, across, down.most());
    let mut waiting = rgb.chunks(TILE_ROWS * old_width * CHANNELS);
    let mut out = vec![0; row_bytes * down.len()];
    let mut starts = Vec::with_capacity(down.most());
    for (y, row) in out.chunks_exact_mut(row_bytes).enumerate() {
        let (first, weights) = down.of(y);
        let rows = first..first + weights.len();
        while strips.pushed() < rows.end {
            let strip = waiting.next().expect("taps lie within the picture");
            strips.push(strip, across);
        }
        starts.clear();
        starts.extend(rows.map(|row| strips.start(row)));
        vertical::blend(strips.bytes(), &starts, weights, row);
    }
    out
}
#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;
    use rand::RngExt;

    use super::*;

    /// Fixtures by `tests/reference/pillow_resize.py` (Pillow 11.3.0).
    #[test]
    fn every_byte_equals_pillow() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pillow");
        let list = std::fs::read_to_string(folder.join("cases.txt")).expect("list of cases");
        let open = |name: &str| Picture::open(&folder.join(name)).expect("fixture");
        assert!(list.lines().count() >= 8);
        for case in list.lines() {
            let (input, output) = case.split_once(' ').expect("input and output");
            let expected = open(output);
            let resized = open(input).resize(expected.width, expected.height);
            let different = (resized.rgb.iter().zip(&expected.rgb))
                .filter(|(ours, theirs)| ours != theirs)
                .count();
            assert_eq!(different, 0, "{case}: {different} values differ");
        }
    }

    #[test]
    fn the_same_size_is_a_copy() {
        let picture = Picture {
            width: 2,
            height: 3,
            rgb: (0..18).collect(),
        };
        assert_eq!(picture.resize(2, 3), picture);
    }

    /// Sums each output value on its own, as the definition has it.
    fn one_by_one(picture: &Picture, width: u32, height: u32) -> Vec<u8> {
        let pass = |rgb: &[u8], from: (usize, usize), taps: &Taps, across: bool| {
            let to = if across {
                (taps.len(), from.1)
            } else {
                (from.0, taps.len())
            };
            let mut out = Vec::new();
            for (y, x) in (0..to.1).flat_map(|y| (0..to.0).map(move |x| (y, x))) {
                let (first, weights) = taps.of(if across { x } else { y });
                for channel in 0..CHANNELS {
                    let sum = weights
                        .iter()
                        .zip(first..)
                        .fold(taps::HALF, |sum, (&w, at)| {
                            let (x, y) = if across { (at, y) } else { (x, at) };
                            sum + i32::from(rgb[(y * from.0 + x) * CHANNELS + channel]) * w
                        });
                    out.extend(taps::to_bytes(&[sum]));
                }
            }
            out
        };
        let (old_width, old_height) = (picture.width as usize, picture.height as usize);
        let mut rgb = picture.rgb.clone();
        if width != picture.width {
            let taps = Taps::new(picture.width, width);
            rgb = pass(&rgb, (old_width, old_height), &taps, true);
        }
        if height != picture.height {
            let taps = Taps::new(picture.height, height);
            rgb = pass(&rgb, (width as usize, old_height), &taps, false);
        }
        rgb
    }

    /// Sides at which tiles, blocks and rings begin and end.
    fn side() -> impl Strategy<Value = u32> {
        prop_oneof![1_u32..20, 1_u32..20, 20_u32..150]
    }

    proptest! {
        #[test]
        fn vectors_sum_what_the_definition_sums(
            from in (side(), side()), to in (side(), side()), seed: usize,
        ) {
            let mut rng = crate::item_rng(0, seed);
            let rgb = (0..from.0 * from.1 * 3).map(|_| rng.random()).collect();
            let picture = Picture { width: from.0, height: from.1, rgb };
            // An axis that stays takes another way.
            for (width, height) in [to, (from.0, to.1), (to.0, from.1)] {
                let expected = one_by_one(&picture, width, height);
                prop_assert!(picture.resize(width, height).rgb == expected, "{from:?} to {width} x {height}");
            }
        }

        #[test]
        fn one_colour_stays_one_colour(
            colour: [u8; 3], from in (1_u32..40, 1_u32..40), to in (1_u32..40, 1_u32..40),
        ) {
            let rgb = colour.repeat((from.0 * from.1) as usize);
            let picture = Picture { width: from.0, height: from.1, rgb };
            let resized = picture.resize(to.0, to.1);
            prop_assert_eq!(resized.rgb, colour.repeat((to.0 * to.1) as usize));
        }
    }
}
