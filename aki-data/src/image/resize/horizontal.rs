//! The horizontal pass: a tile of rows at a time, one row a group of lanes.

use super::CHANNELS;
use super::taps::{HALF, Taps, to_bytes};

/// Rows of a tile. Their pixels at the same x lie beside each other, so that one
/// weight meets all of them.
pub(super) const TILE_ROWS: usize = 8;

/// Bytes of a pixel in a tile; the fourth is padding.
const PADDED: usize = 4;

const LANES: usize = TILE_ROWS * PADDED;

/// The last rows that were resized horizontally, as a ring of strips of
/// [`TILE_ROWS`] rows.
pub(super) struct Strips {
    tile: Vec<[u8; LANES]>,
    ring: Vec<u8>,
    stride: usize,
    strip_bytes: usize,
    pushed: usize,
}

impl Strips {
    /// Room for any `window` rows that follow each other.
    pub(super) fn new(old_width: usize, across: &Taps, window: usize) -> Self {
        // Pixels are written as four bytes of which the next one overwrites the last.
        let stride = across.len() * CHANNELS + 1;
        let strip_bytes = stride * TILE_ROWS;
        // A window that starts at the last row of a strip reaches into one more.
        let strips = (window + TILE_ROWS - 2) / TILE_ROWS + 1;
        Self {
            tile: vec![[0; LANES]; old_width],
            ring: vec![0; strips * strip_bytes],
            stride,
            strip_bytes,
            pushed: 0,
        }
    }

    /// Rows so far.
    #[inline(always)]
    pub(super) fn pushed(&self) -> usize {
        self.pushed
    }

    /// What [`Strips::start`] points into.
    #[inline(always)]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.ring
    }

    /// Where a row starts.
    #[inline(always)]
    pub(super) fn start(&self, row: usize) -> usize {
        row * self.stride % self.ring.len()
    }

    /// Resizes the next rows: [`TILE_ROWS`], or at the end of a picture fewer.
    #[inline(always)]
    pub(super) fn push(&mut self, rows: &[u8], across: &Taps) {
        let row_bytes = self.tile.len() * CHANNELS;
        for (lane, row) in rows.chunks_exact(row_bytes).enumerate() {
            self.lay(lane * PADDED, row);
        }
        let start = self.start(self.pushed);
        let strip = &mut self.ring[start..][..self.strip_bytes];
        for x in 0..across.len() {
            let (first, weights) = across.of(x);
            let mut sums = [HALF; LANES];
            for (pixels, &weight) in self.tile[first..].iter().zip(weights) {
                for (sum, &value) in sums.iter_mut().zip(pixels) {
                    *sum += i32::from(value) * weight;
                }
            }
            let bytes = to_bytes(&sums);
            let (pixels, _) = bytes.as_chunks::<PADDED>();
            for (row, pixel) in strip.chunks_exact_mut(self.stride).zip(pixels) {
                row[x * CHANNELS..][..PADDED].copy_from_slice(pixel);
            }
        }
        self.pushed += rows.len() / row_bytes;
    }

    /// Puts a row into the tile, from lane `at` on.
    #[inline(always)]
    fn lay(&mut self, at: usize, row: &[u8]) {
        let (last, pixels) = self.tile.split_last_mut().expect("a row of pixels");
        for (x, pixel) in pixels.iter_mut().enumerate() {
            // Four bytes are one move; three would be two.
            pixel[at..at + PADDED].copy_from_slice(&row[x * CHANNELS..][..PADDED]);
        }
        last[at..at + CHANNELS].copy_from_slice(&row[row.len() - CHANNELS..]);
    }
}
