//! The vertical pass: rows are added up, each times its weight.

use super::taps::{HALF, to_bytes};

/// Bytes of a row summed at a time: the sums stay in vector registers.
const LANES: usize = 32;

/// Writes to `out` the sum of the rows of `bytes` at `starts`, weighted.
#[inline(always)]
pub(super) fn blend(bytes: &[u8], starts: &[usize], weights: &[i32], out: &mut [u8]) {
    let (blocks, rest) = out.as_chunks_mut::<LANES>();
    let done = blocks.len() * LANES;
    for (index, block) in blocks.iter_mut().enumerate() {
        let mut sums = [HALF; LANES];
        for (&start, &weight) in starts.iter().zip(weights) {
            let row: &[u8; LANES] = bytes[start + index * LANES..]
                .first_chunk()
                .expect("a row is as long as the output");
            for lane in 0..LANES {
                sums[lane] += i32::from(row[lane]) * weight;
            }
        }
        *block = to_bytes(&sums);
    }
    let mut sums = [HALF; LANES];
    for (&start, &weight) in starts.iter().zip(weights) {
        let row = &bytes[start + done..][..rest.len()];
        for (sum, &value) in sums.iter_mut().zip(row) {
            *sum += i32::from(value) * weight;
        }
    }
    rest.copy_from_slice(&to_bytes(&sums)[..rest.len()]);
}
