//! Four inks to RGB, in the integer arithmetic of libjpeg and Pillow.

/// Bits after the point of the factors in [`from_ycck`].
const POINT: u32 = 16;

/// A factor in fixed point, rounded.
const fn fixed(factor: f64) -> i32 {
    (factor * (1 << POINT) as f64 + 0.5) as i32
}

/// YCCK to CMYK in place: the first three become the complement of the RGB that
/// JFIF's equations give; black stays.
pub(super) fn from_ycck(pixels: &mut [u8]) {
    const HALF: i32 = 1 << (POINT - 1);
    for [y, cb, cr, _] in pixels.as_chunks_mut::<4>().0 {
        let (luma, blue, red) = (i32::from(*y), i32::from(*cb) - 128, i32::from(*cr) - 128);
        let r = luma + ((fixed(1.402) * red + HALF) >> POINT);
        let g = luma + ((-fixed(0.344_14) * blue - fixed(0.714_14) * red + HALF) >> POINT);
        let b = luma + ((fixed(1.772) * blue + HALF) >> POINT);
        [*y, *cb, *cr] = [r, g, b].map(|x| (255 - x).clamp(0, 255) as u8);
    }
}

/// What Pillow makes of four inks that are stored inverted, as in a JPEG by Adobe's
/// programs: each channel is the light that its ink and then black leave.
pub(super) fn to_rgb(pixels: &[u8]) -> Vec<u8> {
    let (pixels, _) = pixels.as_chunks::<4>();
    pixels
        .iter()
        .flat_map(|&[c, m, y, k]| {
            // `k` is stored inverted, so it is the light that black leaves.
            [c, m, y].map(|ink| k - times_over_255(255 - ink, k))
        })
        .collect()
}

/// `a * b / 255`, rounded to nearest; at most `b`.
fn times_over_255(a: u8, b: u8) -> u8 {
    let product = u32::from(a) * u32::from(b) + 128;
    (((product >> 8) + product) >> 8) as u8
}
