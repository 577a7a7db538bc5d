//! Which source pixels make an output pixel, and in what proportion.

/// Bits after the point of a weight: a `i32` less 8 bits of pixel and 2 of
/// headroom, since cubic weights overshoot 1.
const PRECISION_BITS: u32 = 32 - 8 - 2;

/// Half of the last kept bit, so that a shift rounds to nearest.
pub(super) const HALF: i32 = 1 << (PRECISION_BITS - 1);

/// Reach of the cubic kernel in source pixels, at scale 1.
const SUPPORT: f64 = 2.0;

/// The taps of every output pixel along one axis.
pub(super) struct Taps {
    /// Of each output pixel: the first source pixel, and where its weights end.
    pixels: Vec<(usize, usize)>,
    weights: Vec<i32>,
    most: usize,
}

impl Taps {
    /// The taps along an axis of `old` pixels that becomes `new`.
    pub(super) fn new(old: u32, new: u32) -> Self {
        let scale = f64::from(old) / f64::from(new);
        // Shrinking widens the kernel, which is the antialiasing; growing leaves it.
        let stretch = scale.max(1.0);
        let reach = SUPPORT * stretch;
        let shrink = 1.0 / stretch;
        let mut taps = Self {
            pixels: Vec::with_capacity(new as usize),
            weights: Vec::new(),
            most: 0,
        };
        let mut exact = Vec::new();
        for out in 0..new {
            let centre = (f64::from(out) + 0.5) * scale;
            // Casts of negative floats saturate at 0, the first pixel.
            let first = (centre - reach + 0.5) as u32;
            let end = ((centre + reach + 0.5) as u32).min(old);
            exact.clear();
            exact.extend((first..end).map(|x| cubic((f64::from(x) - centre + 0.5) * shrink)));
            let sum: f64 = exact.iter().sum();
            taps.weights
                .extend(exact.iter().map(|weight| fixed(weight / sum)));
            taps.pixels.push((first as usize, taps.weights.len()));
            taps.most = taps.most.max(exact.len());
        }
        taps
    }

    /// Output pixels.
    pub(super) fn len(&self) -> usize {
        self.pixels.len()
    }

    /// The most taps that an output pixel has.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// The first source pixel of output pixel `out`, and the weights from there on.
    #[inline(always)]
    pub(super) fn of(&self, out: usize) -> (usize, &[i32]) {
        let start = if out == 0 { 0 } else { self.pixels[out - 1].1 };
        let (first, end) = self.pixels[out];
        (first, &self.weights[start..end])
    }
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

/// Fixed point, rounded half away from zero.
fn fixed(weight: f64) -> i32 {
    (weight * f64::from(1 << PRECISION_BITS)).round() as i32
}

/// Back to bytes; overshoot is clipped.
#[inline(always)]
pub(super) fn to_bytes<const N: usize>(sums: &[i32; N]) -> [u8; N] {
    let mut bytes = [0; N];
    for (byte, sum) in bytes.iter_mut().zip(sums) {
        *byte = (sum >> PRECISION_BITS).clamp(0, 255) as u8;
    }
    bytes
}
