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
//! fixtures that `tests/reference/pillow_resize.py` writes.

use super::Picture;

/// Bits after the point of a weight: a `i32` less 8 bits of pixel and 2 of
/// headroom, since cubic weights overshoot 1.
const PRECISION_BITS: u32 = 32 - 8 - 2;

/// Half of the last kept bit, so that a shift rounds to nearest.
const HALF: i32 = 1 << (PRECISION_BITS - 1);

/// Reach of the cubic kernel in source pixels, at scale 1.
const SUPPORT: f64 = 2.0;

const CHANNELS: usize = 3;

/// The source pixels that one output pixel is made of.
struct Taps {
    first: usize,
    weights: Vec<i32>,
}

/// Resizes `picture`; each axis whose size stays is left alone.
pub(super) fn bicubic(picture: &Picture, width: u32, height: u32) -> Picture {
    let (old_width, old_height) = (picture.width as usize, picture.height as usize);
    assert_eq!(
        picture.rgb.len(),
        old_width * old_height * CHANNELS,
        "a picture of {old_width} x {old_height} pixels has three bytes a pixel"
    );
    let mut rgb = picture.rgb.clone();
    if width != picture.width {
        rgb = horizontal(&rgb, old_width, &taps(picture.width, width));
    }
    if height != picture.height {
        rgb = vertical(&rgb, width as usize, &taps(picture.height, height));
    }
    Picture { width, height, rgb }
}

/// Cubic convolution kernel with a = -0.5 (Keys 1981).
fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    // Horner form: the order of operations decides the last bit of a weight.
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

/// The taps of every output pixel along an axis of `old` pixels that becomes `new`.
fn taps(old: u32, new: u32) -> Vec<Taps> {
    let scale = f64::from(old) / f64::from(new);
    // Shrinking widens the kernel, which is the antialiasing; growing leaves it.
    let stretch = scale.max(1.0);
    let reach = SUPPORT * stretch;
    let shrink = 1.0 / stretch;
    (0..new)
        .map(|out| {
            let centre = (f64::from(out) + 0.5) * scale;
            // Casts of negative floats saturate at 0, the first pixel.
            let first = (centre - reach + 0.5) as u32;
            let end = ((centre + reach + 0.5) as u32).min(old);
            let exact: Vec<f64> = (first..end)
                .map(|x| cubic((f64::from(x) - centre + 0.5) * shrink))
                .collect();
            let sum: f64 = exact.iter().sum();
            Taps {
                first: first as usize,
                weights: exact.iter().map(|weight| fixed(weight / sum)).collect(),
            }
        })
        .collect()
}

/// Fixed point, rounded half away from zero.
fn fixed(weight: f64) -> i32 {
    (weight * f64::from(1 << PRECISION_BITS)).round() as i32
}

/// Back to a byte; overshoot is clipped.
fn to_byte(sum: i32) -> u8 {
    (sum >> PRECISION_BITS).clamp(0, 255) as u8
}

fn horizontal(rgb: &[u8], old_width: usize, taps: &[Taps]) -> Vec<u8> {
    let mut out = Vec::with_capacity(rgb.len() / old_width.max(1) * taps.len());
    for row in rgb.chunks_exact(old_width * CHANNELS) {
        for Taps { first, weights } in taps {
            let mut sum = [HALF; CHANNELS];
            let pixels = row[first * CHANNELS..].chunks_exact(CHANNELS);
            for (pixel, &weight) in pixels.zip(weights) {
                for channel in 0..CHANNELS {
                    sum[channel] += i32::from(pixel[channel]) * weight;
                }
            }
            out.extend(sum.map(to_byte));
        }
    }
    out
}

/// Whole rows are summed at a time, which the compiler turns into SIMD.
fn vertical(rgb: &[u8], width: usize, taps: &[Taps]) -> Vec<u8> {
    let row_bytes = width * CHANNELS;
    let mut out = Vec::with_capacity(row_bytes * taps.len());
    let mut sums = vec![HALF; row_bytes];
    for Taps { first, weights } in taps {
        sums.fill(HALF);
        for (offset, &weight) in weights.iter().enumerate() {
            let row = &rgb[(first + offset) * row_bytes..][..row_bytes];
            for (sum, &value) in sums.iter_mut().zip(row) {
                *sum += i32::from(value) * weight;
            }
        }
        out.extend(sums.iter().map(|&sum| to_byte(sum)));
    }
    out
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

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

    proptest! {
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
